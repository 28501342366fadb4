"""Forward passes of the common decoders (Llama, Mistral without a window, Qwen2, Qwen3), computed here.

The same weights and mathematics as the model's own forward, up to rounding; what differs is the work around them:

- tokens of ragged rows are packed, so that no product is spent on padding; only attention goes row by row (on a CPU) or
  over padded groups of similar rows (on CUDA, where starting a kernel costs more than padding);
- keys and values go straight into the pool, and attention reads views of it; heads that share keys are lines of one
  query, so keys are never repeated;
- behind the last layer's keys and values, only the asked lines go on;
- products of one input are one product, with weights that are arranged once (`Product`).

A model qualifies by its exact class, with plain linear layers and no hooks: adapters, quantised or patched models go
through `ModelPasses`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional

from agentgym.agents.policy import passes
from agentgym.agents.policy.passes import Grid, Job, ints, mask_of, parts
from agentgym.agents.policy.pool import Pool, Slot
from agentgym.agents.policy.products import Product, packable

__all__ = ["StockPasses"]

_KNOWN = ("LlamaModel", "MistralModel", "Qwen2Model", "Qwen3Model")
_ATTENTION, _FEED_FORWARD = ("q_proj", "k_proj", "v_proj", "o_proj"), ("gate_proj", "up_proj", "down_proj")
_PACKED_BYTES = 4 << 30  # models whose weights are larger are not packed: the copy would cost too much memory
_LEAST = 4096  # tokens that keep a GPU busy


@dataclass(frozen=True, slots=True)
class _Block:
    """Rows whose attention is one call: B rows of T query lines each, of which some may be padding.

    Attributes:
        rows: their slots, for the pool's `read`; width: columns that are read.
        query: which of the pass's query lines, B x T of them.
        size: (B, T).
        back: int64[m], the lines of B x T that are no padding, or None for all.
        mask: [B, 1, T x group, width].
    """

    rows: slice | torch.Tensor
    width: int
    query: slice | torch.Tensor
    size: tuple[int, int]
    back: torch.Tensor | None
    mask: torch.Tensor


class _Products:
    """The four products of one layer."""

    def __init__(self, layer: Any, packed: bool) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self.qkv = Product(attention.q_proj, attention.k_proj, attention.v_proj, packed=packed)
        self.out = Product(attention.o_proj, packed=packed)
        self.gate_up = Product(mlp.gate_proj, mlp.up_proj, packed=packed)
        self.down = Product(mlp.down_proj, packed=packed)

    def forget(self) -> None:
        for product in (self.qkv, self.out, self.gate_up, self.down):
            product.forget()


class StockPasses:
    """See the module.

    Raises:
        NotImplementedError: the decoder is not one of those, or not as it comes.
    """

    name: ClassVar[str] = "stock"

    def __init__(self, decoder: Any, head: Any, pool: Pool) -> None:
        if not _is_stock(decoder, head):
            raise NotImplementedError(f"{type(decoder).__name__} is not a stock decoder")
        weights = [*decoder.parameters(), head.weight]
        small = sum(w.numel() * w.element_size() for w in weights) <= _PACKED_BYTES
        packed = small and packable(head)
        self.decoder, self.pool = decoder, pool
        self.alone = pool.device.type == "cpu"  # attention row by row
        self.layers = list(decoder.layers)
        self.products = [_Products(layer, packed) for layer in self.layers]
        self.head = Product(head, packed=packed)
        attention = self.layers[0].self_attn
        self.head_size, self.scale = int(attention.head_dim), float(attention.scaling)
        self.kv_heads = attention.k_proj.out_features // self.head_size
        self.group = attention.q_proj.out_features // attention.k_proj.out_features
        self.dtype: torch.dtype = head.weight.dtype

    def feed(self, jobs: Sequence[Job]) -> list[torch.Tensor]:
        features: list[torch.Tensor] = [torch.empty(0)] * len(jobs)
        for groups in self._passes(jobs):
            order = [i for group in groups for i in group]
            found = self._pass([[jobs[i] for i in group] for group in groups])
            pieces = torch.split(found, [jobs[i].length - jobs[i].asked for i in order])
            for i, piece in zip(order, pieces, strict=True):
                features[i] = piece
        return features

    def step(self, slots: Sequence[Slot], tokens: npt.NDArray[np.int64]) -> torch.Tensor:
        device = self.pool.device
        columns = ints([len(slot.tokens) for slot in slots], device)
        width = self.pool.width(max(len(slot.tokens) for slot in slots) + 1)
        visible = torch.arange(width, device=device) <= columns[:, None, None]
        whole = slice(0, len(slots))
        block = _Block(self.pool.place(slots), width, whole, (len(slots), 1), None, self._mask(visible))
        lines = ints([slot.index for slot in slots], device)
        return self._forward(ints(tokens, device), columns, lines, columns, [block])

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.head(features)[0].float()

    def forget(self) -> None:
        self.head.forget()
        for products in self.products:
            products.forget()

    # -- what goes into one pass ------------------------------------------------------------------------------------

    def _passes(self, jobs: Sequence[Job]) -> Iterator[list[list[int]]]:
        """The jobs, by index, as passes of groups (see `_Block`)."""
        lengths = [job.length for job in jobs]
        now: list[list[int]] = []
        size = 0
        for group in [[i] for i in range(len(jobs))] if self.alone else parts(lengths, _LEAST):
            group.sort(key=lambda i: jobs[i].slot.index)
            more = sum(lengths[i] for i in group)
            if now and size + more > passes.PASS:
                yield now
                now, size = [], 0
            now.append(group)
            size += more
        yield now

    def _pass(self, groups: Sequence[Sequence[Job]]) -> torch.Tensor:
        """One forward pass; the features of all asked lines, group by group and job by job."""
        device = self.pool.device
        tokens, positions, columns, lines, asked = [], [], [], [], []
        blocks, last = [], []
        start = 0
        for group in groups:
            grid = Grid(group, self.pool.width(max(len(job.slot.tokens) + job.length for job in group)))
            real = grid.real
            tokens.append(grid.tokens[real])
            positions.append(grid.positions[real])
            columns.append(grid.columns[real])
            lines.append(np.repeat([job.slot.index for job in group], grid.lengths))
            first = np.array([job.asked for job in group])
            offsets = start + np.cumsum(grid.lengths) - grid.lengths
            asked += [np.arange(o + f, o + n) for o, f, n in zip(offsets, first, grid.lengths, strict=True)]
            blocks.append(self._block(group, grid, offsets, np.zeros_like(first)))
            last.append(self._block(group, grid, offsets, first))
            start += int(grid.lengths.sum())
        t, p, w, c, a = (ints(np.concatenate(part), device) for part in (tokens, positions, lines, columns, asked))
        return self._forward(t, p, w, c, blocks, last, a)

    def _block(
        self, group: Sequence[Job], grid: Grid, offsets: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
    ) -> _Block:
        """The group's attention from line ``first`` of each row on."""
        counts = grid.lengths - first
        size = int(counts.max())
        pick = first[:, None] + np.minimum(np.arange(size), counts[:, None] - 1)
        index = (offsets[:, None] + pick).ravel()
        unbroken = bool((np.diff(index) == 1).all())
        query = slice(int(index[0]), int(index[-1]) + 1) if unbroken else ints(index, self.pool.device)
        real = np.arange(size) < counts[:, None]
        back = None if real.all() else ints(np.flatnonzero(real), self.pool.device)
        visible = torch.from_numpy(grid.visible[np.arange(len(group))[:, None], pick]).to(self.pool.device)
        rows = self.pool.place([job.slot for job in group])
        return _Block(rows, visible.shape[-1], query, (len(group), size), back, self._mask(visible))

    def _mask(self, visible: torch.Tensor) -> torch.Tensor:
        mask = mask_of(visible, self.dtype)
        return (mask if self.group == 1 else mask.repeat_interleave(self.group, dim=1))[:, None]

    # -- the decoder --------------------------------------------------------------------------------------------------

    def _forward(
        self,
        tokens: torch.Tensor,
        positions: torch.Tensor,
        lines: torch.Tensor,
        columns: torch.Tensor,
        blocks: Sequence[_Block],
        last: Sequence[_Block] | None = None,
        asked: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Hidden states [n, hidden] of n packed tokens (all arguments int64[n]), or of the ``asked`` ones alone.

        ``lines`` and ``columns`` say where in the pool keys and values go; ``last`` are the blocks of the asked lines.
        """
        x = self.decoder.embed_tokens(tokens)
        cos, sin = (part[0, :, None] for part in self.decoder.rotary_emb(x, positions[None]))
        half = self.head_size // 2
        signed = torch.cat((-sin[..., :half], sin[..., half:]), dim=-1)

        def turned(heads: torch.Tensor, norm: Any) -> torch.Tensor:
            """Rotary positions: (a, b) -> (a cos - b sin, b cos + a sin) for the halves of every head."""
            heads = heads.view(len(heads), -1, self.head_size)
            heads = heads if norm is None else _normed(heads, norm)
            return torch.addcmul(heads * cos, heads.roll(half, dims=-1), signed)

        for layer, products, memory in zip(self.layers, self.products, self.pool.layers, strict=True):
            attention = layer.self_attn
            q, k, v = products.qkv(_normed(x, layer.input_layernorm))
            q, k = turned(q, getattr(attention, "q_norm", None)), turned(k, getattr(attention, "k_norm", None))
            memory.write(lines, columns, k, v.view(len(v), -1, self.head_size))
            if last is not None and layer is self.layers[-1]:
                blocks, x = last, x[asked]
            seen = [self._attend(q, *memory.read(block.rows, block.width), block) for block in blocks]
            x = x + products.out(seen[0] if len(seen) == 1 else torch.cat(seen))[0]
            gate, up = products.gate_up(_normed(x, layer.post_attention_layernorm))
            x = x + products.down(functional.silu(gate).mul_(up))[0]
        return _normed(x, self.decoder.norm)

    def _attend(self, q: torch.Tensor, keys: torch.Tensor, values: torch.Tensor, block: _Block) -> torch.Tensor:
        """Attention of one block: [its real lines, heads x head size]."""
        rows, size = block.size
        shape = rows, size, self.kv_heads, self.group, self.head_size
        lines = q[block.query].view(shape).transpose(1, 2).flatten(2, 3)
        seen = functional.scaled_dot_product_attention(lines, keys, values, attn_mask=block.mask, scale=self.scale)
        seen = seen.view(rows, self.kv_heads, size, self.group, -1).transpose(1, 2).reshape(rows * size, -1)
        return seen if block.back is None else seen[block.back]


def _normed(x: torch.Tensor, norm: Any) -> torch.Tensor:
    return functional.rms_norm(x, norm.weight.shape, norm.weight, norm.variance_epsilon)


def _is_stock(decoder: Any, head: Any) -> bool:
    """Whether `StockPasses` knows all that this decoder does."""
    kind = type(decoder)
    if kind.__name__ not in _KNOWN or not kind.__module__.startswith("transformers.models."):
        return False
    linear = [head]
    for layer in decoder.layers:
        linear += [getattr(layer.self_attn, name) for name in _ATTENTION]
        linear += [getattr(layer.mlp, name) for name in _FEED_FORWARD]
    modules = [head, *decoder.modules()]
    hooks = [hook for m in modules for hook in (*m._forward_hooks.values(), *m._forward_pre_hooks.values())]
    # Those of Transformers itself only record what passes, when asked to.
    changed = any("forward" in vars(m) for m in modules) or any(
        not getattr(hook, "__module__", "").startswith("transformers.") for hook in hooks
    )
    weights = [*decoder.parameters(), head.weight]
    return (
        not changed
        and all(type(layer) is nn.Linear for layer in linear)
        and decoder.config.hidden_act == "silu"
        and len({(w.dtype, w.device) for w in weights}) == 1
    )
