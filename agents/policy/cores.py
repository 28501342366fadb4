"""Two ways to run a causal language model over rows of tokens: with kept keys and values, and without.

Both answer with *features*, one line for each asked position, which `logits` turns into float32 logits. `CachedCore`
works with any decoder that takes a prepared four-dimensional mask and explicit positions; `FullCore` runs whole
sequences and works with every causal model. `fits` tells which one a model can have, by trying.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentgym.agents.policy.pool import Pool, Slot, lcp
from agentgym.agents.policy.tree import Tree, tree

__all__ = ["CachedCore", "Core", "FullCore", "fits"]

_SHARE = 16  # a prefix shorter than this is computed again rather than looked for and copied
_PIECE = 2048  # longest stretch of one row in one forward pass (bounds the mask)
_PASS = 16384  # tokens, padding included, in one forward pass
_LEAST_CPU, _LEAST_GPU = 256, 4096  # tokens that keep the processor busy


class Core(Protocol):
    """What the engine needs of a model. ``last`` is the hidden state (or logits) of one position per row."""

    fed: int

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        """Start a batch; return the features [n, F] of the last prompt token of every row."""
        ...

    def advance(self, tokens: Sequence[int], alive: Sequence[int]) -> torch.Tensor:
        """Append one token to each of the rows ``alive`` (indices into the batch); return [alive, F]."""
        ...

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        """For every row the features [1 + nodes, F] of its last prompt token and of its tree's nodes."""
        ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """float32[n, vocabulary]."""
        ...

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """The last hidden states [n, hidden size] (before the head) of the features."""
        ...

    def batches(self, lengths: Sequence[int], room: int) -> Iterator[list[int]]:
        """Split a batch, by index, into parts that fit the memory."""
        ...

    def drop(self, row: int) -> None:
        """Forget a row."""
        ...

    def clear(self) -> None:
        """Forget all rows."""
        ...


@dataclass(slots=True)
class _Job:
    """New tokens of one slot, and the tree of candidates behind them, if any."""

    slot: Slot
    tokens: list[int]
    nodes: Tree | None = None

    @property
    def length(self) -> int:
        return len(self.tokens) + (len(self.nodes.tokens) if self.nodes else 0)


class CachedCore:
    """Feeds only what is new: keys and values of every row stay in a `Pool`, common prefixes are computed once."""

    def __init__(self, model: Any, max_tokens: int) -> None:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.decoder = getattr(inner, inner.base_model_prefix)
        self.head: nn.Module = inner.get_output_embeddings()
        self.device: torch.device = next(model.parameters()).device
        self.dtype: torch.dtype = self.decoder.get_input_embeddings().weight.dtype
        self.lowest = torch.finfo(self.dtype).min
        self.least = _LEAST_CPU if self.device.type == "cpu" else _LEAST_GPU
        self.pool = Pool(inner.config.get_text_config().num_hidden_layers, max_tokens, self.device)
        self.fed = 0
        self._line: list[Slot] = []  # the open batch in slot order, some of it finished
        self._slots: list[Slot] = []  # the open batch in the caller's order
        self._columns = np.arange(0)

    # -- the batch that is being generated ------------------------------------------------------------------------

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        slots = self._prepare(rows, prompts, room)
        self.pool.line_up(slots)
        jobs = [_Job(s, p[len(s.tokens) :]) for s, p in zip(slots, prompts, strict=True)]
        features = torch.cat(self._feed(jobs))
        for slot, prompt in zip(slots, prompts, strict=True):
            slot.tokens = list(prompt)
        self._slots = slots
        self._line = sorted(slots, key=lambda s: s.index)
        return features

    def advance(self, tokens: Sequence[int], alive: Sequence[int]) -> torch.Tensor:
        slots = [self._slots[i] for i in alive]
        # A finished row runs along idly (its write lands on a column that is not valid) until enough have finished
        # to make moving the others together worth it.
        if 4 * len(slots) <= 3 * len(self._line):
            self.pool.line_up(slots)
            self._line = sorted(slots, key=lambda s: s.index)
        place = {slot: i for i, slot in enumerate(self._line)}
        lengths = np.array([len(s.tokens) for s in self._line])
        at = torch.from_numpy(lengths).to(self.device)[:, None]
        index = [place[s] for s in slots]
        fed = np.zeros((len(self._line), 1), dtype=np.int64)
        fed[index, 0] = tokens
        width = self.pool.point(self._line, at, int(lengths.max()) + 1)
        visible = torch.arange(width, device=self.device) <= at[:, :, None]
        hidden = self._model(torch.from_numpy(fed).to(self.device), at, visible)
        for slot, token in zip(slots, tokens, strict=True):
            slot.tokens.append(token)
        self.fed += len(slots)
        return hidden[torch.tensor(index, device=self.device), 0]

    # -- candidates -------------------------------------------------------------------------------------------------

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        slots = self._prepare(rows, prompts, max(len(t.tokens) for t in trees))
        jobs = [_Job(s, p[len(s.tokens) :], t) for s, p, t in zip(slots, prompts, trees, strict=True)]
        features = self._feed(jobs)
        for slot, prompt in zip(slots, prompts, strict=True):
            slot.tokens = list(prompt)  # the nodes' columns are not valid afterwards: the next pass overwrites them
        return features

    # -- the rest of the contract -----------------------------------------------------------------------------------

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(features)
        return logits.float()

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        return features

    def batches(self, lengths: Sequence[int], room: int) -> Iterator[list[int]]:
        size = self.pool.room(max(lengths, default=0) + room)
        for start in range(0, len(lengths), size):
            yield list(range(start, min(start + size, len(lengths))))

    def drop(self, row: int) -> None:
        self.pool.drop(row)

    def clear(self) -> None:
        self.pool.clear()

    # -- prefixes -----------------------------------------------------------------------------------------------------

    def _prepare(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> list[Slot]:
        """Give every row a slot that holds as long a beginning of its prompt as is known, or soon shared."""
        pool = self.pool
        pool.reserve(len(rows), max(map(len, prompts)) + room)
        own = [pool.of_row.get(row) for row in rows]
        known = [lcp(slot.tokens, prompt) if slot else 0 for slot, prompt in zip(own, prompts, strict=True)]
        donors = self._donors(prompts, known)
        busy = {slot for slot in own if slot} | {slot for slot in donors if slot}
        slots: list[Slot] = []
        for row in rows:
            # Donors that a full pool cannot spare are given up: their rows then compute the prefix themselves.
            if len(busy) >= max(1, pool.max_tokens // pool.columns):
                busy = {slot for slot in own if slot} | set(slots)
            slots.append(pool.take(row, busy))
            busy.add(slots[-1])
        for i, (slot, donor, prompt) in enumerate(zip(slots, donors, prompts, strict=True)):
            if donor is not None and donor is not slot:
                length = lcp(donor.tokens, prompt)  # again: the donor may have been overwritten since
                if length > known[i]:
                    slot.tokens = slot.tokens[: known[i]]
                    pool.copy(donor, [slot], length)
                    slot.tokens, known[i] = prompt[:length], length
        for slot, prompt, length in zip(slots, prompts, known, strict=True):
            slot.tokens = prompt[: min(length, len(prompt) - 1)]  # one token is left to feed, for its features
        self._share(list(zip(slots, prompts, strict=True)))
        return slots

    def _donors(self, prompts: Sequence[list[int]], known: Sequence[int]) -> list[Slot | None]:
        """For every prompt the slot with the longest common prefix, where that saves enough.

        In lexicographic order the longest common prefix is with a neighbour, so one sort finds all.
        """
        best: list[tuple[int, Slot | None]] = [(k + _SHARE - 1, None) for k in known]
        if all(len(p) <= least + 1 for p, (least, _) in zip(prompts, best, strict=True)):
            return [None] * len(prompts)
        line: list[tuple[list[int], Slot | int]] = [(s.tokens, s) for s in self.pool.slots if s.tokens]
        line += [(prompt, i) for i, prompt in enumerate(prompts)]
        line.sort(key=lambda entry: entry[0])
        for walk in (line, reversed(line)):
            near: Slot | None = None
            for tokens, who in walk:
                if isinstance(who, Slot):
                    near = who
                elif near is not None:
                    length = lcp(near.tokens, tokens)
                    if length > best[who][0]:
                        best[who] = (length, near)
        return [slot for _, slot in best]

    def _share(self, items: list[tuple[Slot, list[int]]]) -> None:
        """Compute prefixes common to several rows of the batch once: level by level down the tree of prompts."""
        clusters = [sorted(items, key=lambda item: item[1])]
        while clusters:
            leads: list[tuple[Slot, list[int], list[tuple[Slot, list[int]]]]] = []
            deeper: list[list[tuple[Slot, list[int]]]] = []
            for cluster in clusters:
                if len(cluster) < 2:
                    continue
                first, last = cluster[0][1], cluster[-1][1]
                length = lcp(first, last)
                behind = sum(max(0, length - len(slot.tokens)) for slot, _ in cluster)
                lead, prompt = max(cluster, key=lambda item: min(length, len(item[0].tokens)))
                if behind - max(0, length - len(lead.tokens)) >= 2 * _SHARE:
                    leads.append((lead, prompt[:length], cluster))
                if first != last:
                    groups: dict[int, list[tuple[Slot, list[int]]]] = {}
                    for item in cluster:
                        if len(item[1]) > length:
                            groups.setdefault(item[1][length], []).append(item)
                    deeper += [g for g in groups.values() if sum(len(p) - length for _, p in g) > 2 * _SHARE]
            # A lead that is the whole prompt is fed whole here, so that copies of it feed one token each.
            self._feed([_Job(s, p[len(s.tokens) :]) for s, p, _ in leads if len(s.tokens) < len(p)])
            for lead, prefix, cluster in leads:
                lead.tokens = prefix if len(lead.tokens) < len(prefix) else lead.tokens
                targets = [(s, p) for s, p in cluster if s is not lead and len(s.tokens) < len(prefix)]
                self.pool.copy(lead, [s for s, _ in targets], len(prefix))
                for slot, prompt in targets:
                    slot.tokens = prompt[: min(len(prefix), len(prompt) - 1)]
                lead_prompt = next(p for s, p in cluster if s is lead)
                lead.tokens = lead.tokens[: len(lead_prompt) - 1]
            clusters = deeper

    # -- forward passes -----------------------------------------------------------------------------------------------

    def _feed(self, jobs: list[_Job]) -> list[torch.Tensor]:
        """Run the jobs; for each the features of its last prompt token and of its nodes."""
        for job in jobs:
            job_tokens = job.tokens
            while len(job_tokens) > _PIECE:
                self._pass([_Job(job.slot, job_tokens[:_PIECE])])
                job.slot.tokens = job.slot.tokens + job_tokens[:_PIECE]
                job_tokens = job_tokens[_PIECE:]
            job.tokens = job_tokens
        features: list[torch.Tensor] = [torch.empty(0)] * len(jobs)
        for part in _parts([job.length for job in jobs], self.least):
            part.sort(key=lambda i: jobs[i].slot.index)
            hidden = self._pass([jobs[i] for i in part])
            for line, i in enumerate(part):
                features[i] = hidden[line, len(jobs[i].tokens) - 1 : jobs[i].length]
        return features

    def _pass(self, jobs: list[_Job]) -> torch.Tensor:
        """One forward pass, right-padded; hidden states [jobs, longest, F]."""
        lengths = np.array([job.length for job in jobs])
        base = np.array([len(job.slot.tokens) for job in jobs])
        size = int(lengths.max())
        tokens = np.zeros((len(jobs), size), dtype=np.int64)
        step = np.minimum(np.arange(size), lengths[:, None] - 1)
        at = base[:, None] + step
        positions = at.copy()
        for line, job in enumerate(jobs):
            end = len(job.tokens)
            tokens[line, :end] = job.tokens
            if job.nodes and job.nodes.tokens:
                tokens[line, end : job.length] = job.nodes.tokens
                positions[line, end : job.length] = base[line] + end + job.nodes.depth
                positions[line, job.length :] = base[line]
        columns = np.where(np.arange(size) < lengths[:, None], at, self.pool.columns - 1)
        width = self.pool.point(
            [job.slot for job in jobs], torch.from_numpy(columns).to(self.device), int((base + lengths).max())
        )
        visible = torch.arange(width) <= torch.from_numpy(at)[:, :, None]
        for line, job in enumerate(jobs):
            if job.nodes and job.nodes.tokens:
                first, last = len(job.tokens), job.length
                visible[line, first:last, base[line] + first : base[line] + last] = torch.from_numpy(job.nodes.visible)
        self.fed += int(lengths.sum())
        return self._model(
            torch.from_numpy(tokens).to(self.device),
            torch.from_numpy(positions).to(self.device),
            visible.to(self.device),
        )

    def _model(self, tokens: torch.Tensor, positions: torch.Tensor, visible: torch.Tensor) -> torch.Tensor:
        mask = torch.zeros(visible.shape, dtype=self.dtype, device=self.device)
        mask.masked_fill_(~visible, self.lowest)
        hidden: torch.Tensor = self.decoder(
            input_ids=tokens,
            attention_mask=mask[:, None],
            position_ids=positions,
            past_key_values=self.pool.cache,
            use_cache=True,
        ).last_hidden_state
        return hidden


class FullCore:
    """Runs whole sequences, right-padded, and keeps nothing: slow, and right for every causal model."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = next(model.parameters()).device
        self.hidden_size = int(model.config.get_text_config().hidden_size)
        self.fed = 0
        self._rows: list[list[int]] = []

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        self._rows = [list(prompt) for prompt in prompts]
        return torch.cat(self._run(self._rows))

    def advance(self, tokens: Sequence[int], alive: Sequence[int]) -> torch.Tensor:
        for i, token in zip(alive, tokens, strict=True):
            self._rows[i].append(token)
        return torch.cat(self._run([self._rows[i] for i in alive]))

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        sequences = list(map(list, prompts))
        for prompt, nodes in zip(prompts, trees, strict=True):
            sequences += [prompt + [nodes.tokens[a] for a in np.flatnonzero(line)] for line in nodes.visible]
        features = self._run(sequences)
        result, at = [], len(prompts)
        for i, nodes in enumerate(trees):
            result.append(torch.cat([features[i], *features[at : at + len(nodes.tokens)]]))
            at += len(nodes.tokens)
        return result

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, self.hidden_size :]

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, : self.hidden_size]

    def batches(self, lengths: Sequence[int], room: int) -> Iterator[list[int]]:
        yield list(range(len(lengths)))

    def drop(self, row: int) -> None:
        """Nothing is kept."""

    def clear(self) -> None:
        """Nothing is kept."""

    def _run(self, sequences: Sequence[list[int]]) -> list[torch.Tensor]:
        """Features [1, F] of the last position of every sequence: hidden state and logits, float32, side by side."""
        features: list[torch.Tensor] = [torch.empty(0)] * len(sequences)
        for part in _parts([len(s) for s in sequences], _LEAST_CPU, limit=_PIECE):
            size = max(len(sequences[i]) for i in part)
            tokens = torch.zeros(len(part), size, dtype=torch.int64)
            real = torch.zeros(len(part), size, dtype=torch.int64)
            for line, i in enumerate(part):
                tokens[line, : len(sequences[i])] = torch.tensor(sequences[i])
                real[line, : len(sequences[i])] = 1
            out = self.model(
                input_ids=tokens.to(self.device), attention_mask=real.to(self.device), output_hidden_states=True
            )
            for line, i in enumerate(part):
                last = len(sequences[i]) - 1
                both = out.hidden_states[-1][line, last].float(), out.logits[line, last].float()
                features[i] = torch.cat(both)[None]
            self.fed += sum(len(sequences[i]) for i in part)
        return features


def _parts(lengths: Sequence[int], least: int, limit: int = _PASS) -> Iterator[list[int]]:
    """Split a ragged batch, by index, into passes of at most ``limit`` tokens with little padding.

    From ``least`` tokens on a pass is as fast per token as a larger one, so there it ends before a row that would leave
    more than a sixteenth of it padding; rows go from long to short.
    """
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


@torch.inference_mode()
def fits(model: Any) -> bool:
    """Whether `CachedCore` gives this model's own logits: tried on a ragged batch with a tree, against whole runs."""
    config = model.config.get_text_config()
    kinds: npt.NDArray[Any] = np.array(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    if windowed or (kinds != "full_attention").any():
        return False  # a window longer than the probe would not show in it
    vocabulary = int(config.vocab_size)
    prompts = [[i % vocabulary for i in range(1, 8)], [i % vocabulary for i in range(9, 12)]]
    nodes = [tree(((1, 2 % vocabulary, 0), (1, 3 % vocabulary, 0), (4 % vocabulary, 0)))] * 2
    full = FullCore(model)
    try:
        cached = CachedCore(model, 1024)
        got = [cached.logits(f) for f in cached.trees([0, 1], prompts, nodes)]
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # the model takes no prepared mask, positions or cache: that is the answer, not a fault
    wanted = [full.logits(f) for f in full.trees([0, 1], prompts, nodes)]
    # Rounding, also in half precision, is far below what a wrong mask or position does to a model that uses them.
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.05
    return all(
        bool(((a - b).abs().max() <= tolerance * b.abs().max()).item()) for a, b in zip(got, wanted, strict=True)
    )
