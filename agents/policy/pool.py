"""The key-value memory of the engine: one padded tensor per layer, one slot per row, written in place.

Layout: ``keys`` and ``values`` of a layer are ``[slots, heads, columns, head size]``; column ``i`` of a slot belongs to
token ``i`` of its row. New columns are written in place (no concatenation), so a decode step moves only what it adds;
when the slots of a batch lie side by side, attention reads a view and nothing is copied at all. The last column is
never read: padding, where a pass has any, is written there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers.cache_utils import Cache, DynamicLayer

__all__ = ["Pool", "Slot", "lcp"]

_STEP = 64  # columns are reserved in multiples of this many


@dataclass(eq=False, slots=True)
class Slot:
    """One line of the pool. ``tokens`` are those whose keys and values it holds; ``owner`` is a row, or None."""

    index: int
    owner: int | None = None
    tokens: list[int] = field(default_factory=list)
    used: int = 0


@dataclass(slots=True)
class _Aim:
    """Where the next forward pass writes and reads."""

    lines: torch.Tensor  # int64[B, 1] slot of each batch line
    columns: torch.Tensor  # int64[B, T] column of each new token
    rows: slice | torch.Tensor
    width: int


class _Layer(DynamicLayer):
    """One layer of the pool; also in the form Transformers models expect of a cache (`update`)."""

    def __init__(self, pool: Pool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # not annotated upstream
        self.pool = pool
        self.store: tuple[torch.Tensor, torch.Tensor] | None = None

    def write(self, lines: torch.Tensor, columns: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Put keys and values [*n, heads, head size] where the slots ``lines`` and ``columns`` (int64[*n]) say."""
        if self.store is None:
            # The first pass: the model has shown its number of heads, head size and dtype. Zeros, not garbage: a
            # masked column still enters attention as 0 times its value, and 0 times NaN is NaN.
            shape = len(self.pool.slots), keys.shape[-2], self.pool.columns
            self.store = keys.new_zeros(*shape, keys.shape[-1]), values.new_zeros(*shape, values.shape[-1])
        self.store[0][lines, :, columns] = keys
        self.store[1][lines, :, columns] = values

    def read(self, rows: slice | torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The first ``width`` keys and values [rows, heads, width, head size] of some slots (`Pool.place`)."""
        assert self.store is not None  # every pass writes before it reads
        keys, values = (store[:, :, :width] for store in self.store)
        if isinstance(rows, slice):
            return keys[rows], values[rows]
        return keys.index_select(0, rows), values.index_select(0, rows)

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write the new columns of every batch line and return all columns that attention may read."""
        aim = self.pool.aim
        self.write(aim.lines, aim.columns, key_states.transpose(1, 2), value_states.transpose(1, 2))
        return self.read(aim.rows, aim.width)

    def get_seq_length(self) -> int:
        """0: lengths differ by row; positions and masks are always passed to the model explicitly."""
        return 0


class Pool:
    """Slots, their owners, and the tensors behind them.

    Args:
        layers: number of decoder layers.
        max_tokens: slots times columns never exceed this, except that one slot always exists.
        device: where the index tensors live (the model's device).
    """

    def __init__(self, layers: int, max_tokens: int, device: torch.device) -> None:
        self.max_tokens, self.device = max_tokens, device
        self.columns = 0
        self.rows = 0  # most rows asked for at once
        self.slots: list[Slot] = []
        self.of_row: dict[int, Slot] = {}
        self.clock = 0
        self.aim: _Aim
        self.layers = [_Layer(self) for _ in range(layers)]
        self.cache = Cache(layers=list(self.layers))

    def room(self, columns: int) -> int:
        """How many rows of this many columns fit at once (at least 1)."""
        return max(1, self.max_tokens // max(self.columns, _round(columns + 1)))

    def reserve(self, rows: int, columns: int) -> None:
        """Make slots at least ``columns`` long, for ``rows`` of them; those that no longer fit are forgotten."""
        self.rows = max(rows, self.rows)
        if columns + 1 > self.columns:
            # Twice as much where memory allows it: growing moves everything, so it should be rare.
            ample = min(2 * self.columns, self.max_tokens // max(rows, len(self.slots)))
            grown = max(_round(columns + 1), ample // _STEP * _STEP)
            most = max(1, self.max_tokens // grown)
            keep = sorted(sorted(self.slots, key=_worth, reverse=True)[:most], key=lambda s: s.index)
            self._reshape(keep, len(keep), grown)

    def take(self, row: int, busy: set[Slot]) -> Slot:
        """A slot for ``row``: its own, a free one, a new one, or the one unused for longest; never a ``busy`` one."""
        slot = self.of_row.get(row)
        if slot is None:
            spare = [s for s in self.slots if s not in busy]
            oldest = min(spare, key=_worth, default=None)
            most = max(1, self.max_tokens // self.columns)
            if (oldest is None or oldest.owner is not None) and len(self.slots) < most:
                known = len(self.slots)
                self._reshape(self.slots, min(most, max(8, self.rows, 2 * known)), self.columns)
                slot = self.slots[known]
            elif oldest is not None:
                slot = oldest
            else:
                raise RuntimeError(f"{len(busy)} busy rows in a pool of {len(self.slots)} slots")
            self._disown(slot)
            slot.owner, slot.tokens = row, []
            self.of_row[row] = slot
        self.clock += 1
        slot.used = self.clock
        return slot

    def drop(self, row: int) -> None:
        """Free the slot of ``row``. What it holds may still serve as a prefix for others until it is overwritten."""
        slot = self.of_row.get(row)
        if slot is not None:
            self._disown(slot)

    def clear(self) -> None:
        """Forget every token; the memory stays."""
        for slot in self.slots:
            slot.tokens = []

    def copy(self, source: Slot, targets: Sequence[Slot], length: int) -> None:
        """Copy the first ``length`` columns of ``source`` to each target (whose tokens the caller sets)."""
        low = min(len(t.tokens) for t in targets)
        index = torch.tensor([t.index for t in targets], device=self.device)
        for store in self._stores():
            store[index, :, low:length] = store[source.index, :, low:length]

    def line_up(self, slots: Iterable[Slot]) -> None:
        """Swap slots so that the given ones lie side by side, with as few moves as possible."""
        wanted = set(slots)
        marks = [s in wanted for s in self.slots]
        span = len(wanted)
        inside = sum(marks[:span])
        best, start = inside, 0
        for first in range(1, len(marks) - span + 1):
            inside += marks[first + span - 1] - marks[first - 1]
            if inside > best:
                best, start = inside, first
        window = range(start, start + span)
        holes = [i for i in window if not marks[i]]
        strays = [i for i, mark in enumerate(marks) if mark and i not in window]
        if not holes:
            return
        width = max(len(self.slots[i].tokens) for i in holes + strays)
        to = torch.tensor(holes + strays, device=self.device)
        of = torch.tensor(strays + holes, device=self.device)
        for store in self._stores():
            store[to, :, :width] = store[of, :, :width]
        for hole, stray in zip(holes, strays, strict=True):
            self.slots[hole], self.slots[stray] = self.slots[stray], self.slots[hole]
            self.slots[hole].index, self.slots[stray].index = hole, stray

    def width(self, columns: int) -> int:
        """How many columns a pass reads that needs so many: on CUDA a multiple of 8, as its kernels want of masks."""
        return columns if self.device.type == "cpu" else min(self.columns, -(-columns // 8) * 8)

    def place(self, slots: Sequence[Slot]) -> slice | torch.Tensor:
        """Where the slots are, for `_Layer.read`: a slice (read as a view) when they lie side by side in this order."""
        first = slots[0].index
        if all(slot.index == first + i for i, slot in enumerate(slots)):
            return slice(first, first + len(slots))
        return torch.tensor([slot.index for slot in slots], device=self.device)

    def point(self, slots: Sequence[Slot], columns: torch.Tensor, width: int) -> None:
        """Say where the next pass of a Transformers model writes (``columns`` int64[B, T]) and reads (``width``)."""
        lines = torch.tensor([[slot.index] for slot in slots], device=self.device)
        self.aim = _Aim(lines, columns, self.place(slots), width)

    def _stores(self) -> Iterator[torch.Tensor]:
        for layer in self.layers:
            yield from layer.store or ()

    def _disown(self, slot: Slot) -> None:
        if slot.owner is not None:
            del self.of_row[slot.owner]
            slot.owner = None

    def _reshape(self, keep: list[Slot], size: int, columns: int) -> None:
        """Move the kept slots to the front of larger (or shorter) tensors."""
        kept = set(keep)
        for slot in self.slots:
            if slot not in kept:
                self._disown(slot)
        index = torch.tensor([s.index for s in keep], dtype=torch.int64, device=self.device)
        in_place = all(s.index == i for i, s in enumerate(keep))

        def moved(old: torch.Tensor) -> torch.Tensor:
            new = old.new_empty(size, old.shape[1], columns, old.shape[3])
            new[: len(keep), :, : old.shape[2]] = old[: len(keep)] if in_place else old[index]
            new[: len(keep), :, old.shape[2] :] = 0
            new[len(keep) :] = 0
            return new

        for layer in self.layers:
            if layer.store is not None:
                layer.store = moved(layer.store[0]), moved(layer.store[1])
        self.slots = [*keep, *(Slot(i) for i in range(len(keep), size))]
        for i, slot in enumerate(self.slots):
            slot.index = i
        self.columns = columns


def _worth(slot: Slot) -> tuple[bool, bool, int]:
    """Sort key: what to forget first. Empty before free before owned, old before new."""
    return (slot.owner is not None, bool(slot.tokens), slot.used)


def _round(columns: int) -> int:
    return -(-columns // _STEP) * _STEP


def lcp(a: Sequence[int], b: Sequence[int]) -> int:
    """Length of the longest common prefix of two sequences of one type."""
    high = min(len(a), len(b))
    if a[:high] == b[:high]:
        return high
    low = 0  # a[:low] == b[:low] and a[:high] != b[:high]
    while high - low > 1:
        middle = (low + high) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle
    return low
