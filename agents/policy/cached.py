"""The engine's core for models that take a cache: rows keep keys and values, common prefixes are computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from agentgym.agents.policy.passes import Job, Passes
from agentgym.agents.policy.pool import Pool, Slot, lcp
from agentgym.agents.policy.tree import Tree

__all__ = ["CachedCore"]

_SHARE = 16  # a prefix shorter than this is computed again rather than looked for and copied
_PIECE = 2048  # longest stretch of one row in one forward pass (bounds the mask)


class CachedCore:
    """Feeds only what is new. Rows live in the slots of a `Pool`; ``passes`` runs the new tokens.

    Args:
        model: the causal language model.
        max_tokens: bound on slots x columns of the pool.
        passes: the kind of forward pass.
    """

    def __init__(self, model: Any, max_tokens: int, passes: type[Passes]) -> None:
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.device: torch.device = next(model.parameters()).device
        self.pool = Pool(inner.config.get_text_config().num_hidden_layers, max_tokens, self.device)
        self.passes: Passes = passes(getattr(inner, inner.base_model_prefix), inner.get_output_embeddings(), self.pool)
        self.way = passes.name
        self.fed = 0
        self._line: list[Slot] = []  # the open batch in slot order, some of it finished
        self._slots: list[Slot] = []  # the open batch in the caller's order

    # -- the batch that is being generated ------------------------------------------------------------------------

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        slots = self._prepare(rows, prompts, room)
        self.pool.line_up(slots)
        jobs = [Job(s, p[len(s.tokens) :]) for s, p in zip(slots, prompts, strict=True)]
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
        index = [place[slot] for slot in slots]
        fed = np.zeros(len(self._line), dtype=np.int64)
        fed[index] = tokens
        features = self.passes.step(self._line, fed)
        for slot, token in zip(slots, tokens, strict=True):
            slot.tokens.append(token)
        self.fed += len(slots)
        in_order = index == list(range(len(self._line)))
        return features if in_order else features[torch.tensor(index, device=self.device)]

    # -- candidates -------------------------------------------------------------------------------------------------

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        slots = self._prepare(rows, prompts, max(len(t.tokens) for t in trees))
        jobs = [Job(s, p[len(s.tokens) :], t) for s, p, t in zip(slots, prompts, trees, strict=True)]
        features = self._feed(jobs)
        for slot, prompt in zip(slots, prompts, strict=True):
            slot.tokens = list(prompt)  # the nodes' columns are not valid afterwards: the next pass overwrites them
        return features

    # -- places in the prompts ----------------------------------------------------------------------------------------

    def read(self, rows: Sequence[int], prompts: Sequence[list[int]], first: Sequence[int]) -> list[torch.Tensor]:
        slots = self._prepare(rows, prompts, 0)
        jobs = []
        for slot, prompt, start in zip(slots, prompts, first, strict=True):
            slot.tokens = slot.tokens[:start]  # what is asked for is computed, known or not
            known = len(slot.tokens)
            jobs.append(Job(slot, prompt[known:], first=start - known))
        features = self._feed(jobs)
        for slot, prompt in zip(slots, prompts, strict=True):
            slot.tokens = list(prompt)
        return features

    # -- the rest of the contract -----------------------------------------------------------------------------------

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return self.passes.logits(features)

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
        self.passes.forget()

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
            self._feed([Job(s, p[len(s.tokens) :]) for s, p, _ in leads if len(s.tokens) < len(p)])
            for lead, prefix, cluster in leads:
                lead.tokens = prefix if len(lead.tokens) < len(prefix) else lead.tokens
                targets = [(s, p) for s, p in cluster if s is not lead and len(s.tokens) < len(prefix)]
                self.pool.copy(lead, [s for s, _ in targets], len(prefix))
                for slot, prompt in targets:
                    slot.tokens = prompt[: min(len(prefix), len(prompt) - 1)]
                lead_prompt = next(p for s, p in cluster if s is lead)
                lead.tokens = lead.tokens[: len(lead_prompt) - 1]
            clusters = deeper

    def _feed(self, jobs: list[Job]) -> list[torch.Tensor]:
        """Run the jobs; for each the features of its last prompt token and of its nodes."""
        if not jobs:
            return []
        for job in jobs:
            while len(job.tokens) > _PIECE:
                self._run([Job(job.slot, job.tokens[:_PIECE])])
                job.slot.tokens = job.slot.tokens + job.tokens[:_PIECE]
                job.tokens = job.tokens[_PIECE:]
        return self._run(jobs)

    def _run(self, jobs: list[Job]) -> list[torch.Tensor]:
        self.fed += sum(job.length for job in jobs)
        return self.passes.feed(jobs)
