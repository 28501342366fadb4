"""Forward passes: new tokens of many rows go through a model, behind the keys and values that a `Pool` keeps.

`ModelPasses` asks the model itself, padded; it serves every decoder that takes a prepared four-dimensional mask,
explicit positions and a cache. (`agents.policy.stock` computes the common decoders without padding.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import torch

from agentgym.agents.policy.pool import Pool, Slot
from agentgym.agents.policy.tree import Tree

__all__ = ["Grid", "Job", "ModelPasses", "Passes", "ints", "mask_of", "parts"]

PASS = 16384  # tokens, padding included, in one forward pass
_LEAST_CPU, _LEAST_GPU = 256, 4096  # tokens that keep the processor busy


@dataclass(slots=True)
class Job:
    """New tokens behind what a slot holds, and the tree of candidates behind them, if any.

    Features are wanted of the tokens from number ``first`` on, and of all nodes; by default of the last token.
    """

    slot: Slot
    tokens: list[int]
    nodes: Tree | None = None
    first: int = -1

    @property
    def length(self) -> int:
        """Lines of the pass: tokens, then nodes."""
        return len(self.tokens) + (len(self.nodes.tokens) if self.nodes else 0)

    @property
    def asked(self) -> int:
        """The first line whose features are wanted; from there on all are."""
        return self.first % len(self.tokens)


class Passes(Protocol):
    """How new tokens go through one model. Writes into the pool; `Slot.tokens` are the caller's business."""

    name: ClassVar[str]

    def __init__(self, decoder: Any, head: Any, pool: Pool) -> None:
        """For a decoder, its output embeddings, and the memory of its keys and values."""
        ...

    def feed(self, jobs: Sequence[Job]) -> list[torch.Tensor]:
        """Run the jobs (distinct slots); for each the features [asked lines, hidden size]."""
        ...

    def step(self, slots: Sequence[Slot], tokens: npt.NDArray[np.int64]) -> torch.Tensor:
        """One more token for every slot; features [slots, hidden size]."""
        ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """float32[n, vocabulary]."""
        ...

    def forget(self) -> None:
        """The weights have changed."""
        ...


class Grid:
    """Jobs side by side: a line each, as long as the longest.

    Attributes:
        lengths: int64[B], how much of each line is real.
        tokens, positions, columns: int64[B, T]; in the padding: 0, any position, and the column of the last real one.
        visible: bool[B, T, width], which columns each may attend to; in the padding the last real one's.
    """

    def __init__(self, jobs: Sequence[Job], width: int) -> None:
        base = np.array([len(job.slot.tokens) for job in jobs])
        self.lengths = np.array([job.length for job in jobs])
        size = int(self.lengths.max())
        self.tokens = np.zeros((len(jobs), size), dtype=np.int64)
        self.columns = base[:, None] + np.minimum(np.arange(size), self.lengths[:, None] - 1)
        self.positions = self.columns.copy()
        self.visible = np.arange(width) <= self.columns[:, :, None]
        for line, job in enumerate(jobs):
            end = len(job.tokens)
            self.tokens[line, :end] = job.tokens
            if job.nodes and job.nodes.tokens:
                nodes = slice(end, job.length)
                self.tokens[line, nodes] = job.nodes.tokens
                self.positions[line, nodes] = base[line] + end + job.nodes.depth
                self.positions[line, job.length :] = base[line]
                self.visible[line, nodes, base[line] + end : base[line] + job.length] = job.nodes.visible

    @property
    def real(self) -> npt.NDArray[np.bool_]:
        """bool[B, T], False in the padding."""
        return np.arange(self.tokens.shape[1]) < self.lengths[:, None]


class ModelPasses:
    """The model's own forward, on right-padded batches of rows of similar length."""

    name: ClassVar[str] = "model"

    def __init__(self, decoder: Any, head: Any, pool: Pool) -> None:
        self.decoder, self.head, self.pool = decoder, head, pool
        self.dtype: torch.dtype = decoder.get_input_embeddings().weight.dtype
        self.least = _LEAST_CPU if pool.device.type == "cpu" else _LEAST_GPU

    def feed(self, jobs: Sequence[Job]) -> list[torch.Tensor]:
        features: list[torch.Tensor] = [torch.empty(0)] * len(jobs)
        for part in parts([job.length for job in jobs], self.least):
            part.sort(key=lambda i: jobs[i].slot.index)
            hidden = self._pass([jobs[i] for i in part])
            for line, i in enumerate(part):
                features[i] = hidden[line, jobs[i].asked : jobs[i].length]
        return features

    def step(self, slots: Sequence[Slot], tokens: npt.NDArray[np.int64]) -> torch.Tensor:
        columns = ints([[len(slot.tokens)] for slot in slots], self.pool.device)
        width = self.pool.width(max(len(slot.tokens) for slot in slots) + 1)
        self.pool.point(slots, columns, width)
        visible = torch.arange(width, device=self.pool.device) <= columns[:, :, None]
        return self._model(ints(tokens[:, None], self.pool.device), columns, visible)[:, 0]

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(features)
        return logits.float()

    def forget(self) -> None:
        """Nothing is kept."""

    def _pass(self, jobs: Sequence[Job]) -> torch.Tensor:
        """One forward pass; hidden states [jobs, longest, F]."""
        width = self.pool.width(max(len(job.slot.tokens) + job.length for job in jobs))
        grid = Grid(jobs, width)
        columns = np.where(grid.real, grid.columns, self.pool.columns - 1)
        self.pool.point([job.slot for job in jobs], ints(columns, self.pool.device), width)
        visible = torch.from_numpy(grid.visible).to(self.pool.device)
        return self._model(ints(grid.tokens, self.pool.device), ints(grid.positions, self.pool.device), visible)

    def _model(self, tokens: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        hidden: torch.Tensor = self.decoder(
            input_ids=tokens,
            attention_mask=mask_of(visible, self.dtype)[:, None],
            position_ids=positions,
            past_key_values=self.pool.cache,
            use_cache=True,
        ).last_hidden_state
        return hidden


def ints(values: npt.ArrayLike, device: torch.device) -> torch.Tensor:
    """int64 tensor on the device."""
    return torch.from_numpy(np.asarray(values, dtype=np.int64)).to(device)


def mask_of(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """What is added to attention's scores: 0 where visible, else the lowest number."""
    mask = torch.zeros(visible.shape, dtype=dtype, device=visible.device)
    return mask.masked_fill_(~visible, torch.finfo(dtype).min)


def parts(lengths: Sequence[int], least: int, limit: int | None = None) -> Iterator[list[int]]:
    """Split a ragged batch, by index, into passes of at most ``limit`` (by default `PASS`) tokens with little padding.

    From ``least`` tokens on a pass is as fast per token as a larger one, so there it ends before a row that would leave
    more than a sixteenth of it padding; rows go from long to short.
    """
    limit = PASS if limit is None else limit
    part: list[int] = []
    real = 0
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        padded = lengths[part[0]] * (len(part) + 1) if part else 0
        if padded > limit or (real >= least and 16 * padded > 17 * (real + lengths[i])):
            yield part
            part, real = [], 0
        part.append(i)
        real += lengths[i]
    if part:
        yield part
