"""The batched core of a language-model policy. It knows tokens only: no text, no environment.

Callers name each row (an episode) and pass the *whole* token sequence of its present segment; the engine finds out how
much of it is already computed. So its memory is a pure cache: after eviction, `Engine.drop`, a changed history or new
weights it computes more, and never something else. Four things save work:

- keys and values of every row are kept between calls, and only new tokens are fed;
- a prefix common to several rows is computed once, within a batch and against rows seen before;
- candidates are scored as one tree-masked pass behind the prompt, shared beginnings once;
- a scored (prompt, candidates) pair is remembered as long as the weights stay, and computed once in a batch.

Models: any Hugging Face causal language model. The common decoders are computed here (`stock`), others by their own
forward where it takes prepared masks and positions; one that does not is run on whole sequences, slower and equally
right. Which way gives a model's own answers is tried out at the start (`Engine.way`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentgym.agents.policy.cores import Core, core_for
from agentgym.agents.policy.sampling import check_sampling, choose
from agentgym.agents.policy.tree import Tree, tree
from agentgym.errors import UsageError

__all__ = ["Engine", "Generated", "Scored"]

_LOGITS = 1 << 26  # numbers of logits in memory at once when scoring (256 MiB)
_MEMO = 1 << 21  # prompt tokens remembered by the memo of `score`


@dataclass(frozen=True, slots=True)
class Generated:
    """What one row produced.

    Attributes:
        tokens: int64[a], the new tokens, the one that stopped it included.
        logprob: float64[a] under the raw model.
        logprob_behaviour: float64[a] under the distribution sampled from; 0 where greedy.
        value: the value head's answer at the last prompt token, NaN without one.
    """

    tokens: npt.NDArray[np.int64]
    logprob: npt.NDArray[np.float64]
    logprob_behaviour: npt.NDArray[np.float64]
    value: float = float("nan")


@dataclass(frozen=True, slots=True)
class Scored:
    """Raw log-probabilities of K candidates after one prompt.

    Attributes:
        logprobs: K arrays float64[a_k], one number per token.
        totals: float64[K], their sums.
        value: as in `Generated`.
    """

    logprobs: tuple[npt.NDArray[np.float64], ...]
    totals: npt.NDArray[np.float64]
    value: float = float("nan")


class Engine:
    """Batched generation and candidate scoring with kept keys and values.

    Args:
        model: a Hugging Face causal language model. It is used as it is, never modified; while the engine runs it is in
            evaluation mode.
        device: moves the model there first; None leaves it.
        dtype: converts the model first; None leaves it.
        max_cached_tokens: bound on slots x columns of the key-value memory. Rows beyond it are evicted, the longest
            unused first, and computed again when they come back. A single row may exceed it.
        value_head: module from the hidden state [n, hidden] of the last prompt token to [n, 1]; fills ``value``.

    Attributes:
        way: how the model is run: "stock" (a common decoder, computed by `StockPasses`; on a CPU in float32 it keeps a
            second copy of the weights, see `Product`), "model" (its own forward behind kept keys and values) or
            "whole" (whole sequences, nothing kept).
        memo_hits: scored requests that were answered from memory.

    Call `flush` whenever the weights have changed. Most changes in place (``load_state_dict``, a plain optimiser's
    step) are noticed all the same, by autograd's write counters; a fused optimiser's are not. Not thread-safe.
    """

    def __init__(
        self,
        model: Any,
        *,
        device: str | torch.device | None = None,
        dtype: torch.dtype | None = None,
        max_cached_tokens: int = 131_072,
        value_head: nn.Module | None = None,
    ) -> None:
        if max_cached_tokens < 1:
            raise UsageError(f"expected max_cached_tokens of at least 1, got {max_cached_tokens}")
        if device is not None or dtype is not None:
            model = model.to(device=device, dtype=dtype)
        self.model = model
        self.value_head = value_head
        self.weights_version = 0
        self.memo_hits = 0
        self.max_length: int = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 2**31
        with self._running(check=False):
            self._core: Core = core_for(model, max_cached_tokens)
        self._memo: OrderedDict[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], Scored] = OrderedDict()
        self._memo_size = 0
        modules = [*model.modules(), *(() if value_head is None else value_head.modules())]
        # Walking the modules at every call would take a tenth of a small model's time.
        self._parameters: list[dict[str, nn.Parameter | None]] = [m._parameters for m in modules if m._parameters]
        self._seen = self._fingerprint()

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        device: torch.device = next(self.model.parameters()).device
        return device

    @property
    def way(self) -> str:
        """How the model is run."""
        return self._core.way

    @property
    def fed_tokens(self) -> int:
        """Tokens that went through the model so far, padding left out: the measure of work done."""
        return self._core.fed

    def generate(
        self,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        *,
        max_new_tokens: int,
        stop_ids: Collection[int] = (),
        stop_when: Callable[[list[int]], bool] | None = None,
        temperature: float = 1.0,
        top_p: float = 1.0,
        greedy: bool | Sequence[bool] = False,
        uniforms: npt.NDArray[np.float64] | None = None,
    ) -> list[Generated]:
        """Continue every row until it stops.

        Args:
            rows: distinct row names.
            prompts: the whole token sequence of each row so far, not empty.
            max_new_tokens: at least 1; less where the model's number of positions ends.
            stop_ids: tokens that end a row (and belong to it).
            stop_when: asked after every token with the new tokens of a row so far; True ends it.
            temperature: of the behaviour distribution, above 0.
            top_p: nucleus of the behaviour distribution, in (0, 1].
            greedy: take the most probable token; for all rows or for each.
            uniforms: float64[n, max_new_tokens] in [0, 1), one number per token to sample; needed unless all greedy.

        Raises:
            UsageError: for arguments that make no sense, or a prompt as long as the model's positions.
        """
        check_sampling(temperature, top_p)
        self._check(rows, prompts)
        if max_new_tokens < 1:
            raise UsageError(f"expected max_new_tokens of at least 1, got {max_new_tokens}")
        plain = [greedy] * len(rows) if isinstance(greedy, bool) else list(greedy)
        if uniforms is None and not all(plain):
            raise UsageError("sampling needs uniforms[n, max_new_tokens]; pass them, or greedy=True")
        draws = np.zeros((len(rows), max_new_tokens)) if uniforms is None else uniforms
        if draws.shape != (len(rows), max_new_tokens) or len(plain) != len(rows):
            raise UsageError(f"expected uniforms of shape {(len(rows), max_new_tokens)}, got {draws.shape}")
        result: dict[int, Generated] = {}
        with self._running():
            for part in self._core.batches([len(p) for p in prompts], max_new_tokens):
                batch = _Batch(
                    [rows[i] for i in part],
                    [list(prompts[i]) for i in part],
                    np.array([plain[i] for i in part]),
                    draws[part],
                )
                answers = self._generate(batch, max_new_tokens, frozenset(stop_ids), stop_when, temperature, top_p)
                result.update(zip(part, answers, strict=True))
        return [result[i] for i in range(len(rows))]

    def score(
        self,
        rows: Sequence[int],
        prompts: Sequence[Sequence[int]],
        candidates: Sequence[tuple[tuple[int, ...], ...]],
    ) -> list[Scored]:
        """Raw log-probability of every token of every candidate, in one pass behind the kept prefix.

        Args:
            rows: distinct row names.
            prompts: the whole token sequence of each row so far, not empty.
            candidates: for every row its candidates, each a non-empty tuple of tokens.

        Raises:
            UsageError: for an empty prompt or candidate, or one that runs past the model's positions.
        """
        self._check(rows, prompts)
        for prompt, options in zip(prompts, candidates, strict=True):
            if not options or not all(options):
                raise UsageError("expected at least one candidate of at least one token for every row")
            if len(prompt) + max(map(len, options)) > self.max_length:
                raise UsageError(self._too_long(len(prompt) + max(map(len, options))))
        with self._running():
            keys = [(tuple(p), c) for p, c in zip(prompts, candidates, strict=True)]
            answers = {key: self._memo[key] for key in keys if key in self._memo}
            self.memo_hits += sum(key in answers for key in keys)
            for key in answers:
                self._memo.move_to_end(key)
            todo: dict[tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], int] = {}
            for row, key in zip(rows, keys, strict=True):
                if key not in answers:
                    todo.setdefault(key, row)
            missing = list(todo.items())
            trees = [tree(options) for (_, options), _ in missing]
            room = max((len(t.tokens) for t in trees), default=0)
            for part in self._core.batches([len(prompt) for (prompt, _), _ in missing], room):
                scored = self._score([missing[i][1] for i in part], [missing[i][0][0] for i in part], trees, part)
                for i, answer in zip(part, scored, strict=True):
                    answers[missing[i][0]] = answer
                    self._remember(missing[i][0], answer)
        return [answers[key] for key in keys]

    def hidden(self, rows: Sequence[int], prompts: Sequence[Sequence[int]], first: Sequence[int]) -> list[torch.Tensor]:
        """Last hidden states of the ends of prompts, which are kept: what is generated behind them costs no more.

        Args:
            rows: distinct row names.
            prompts: the whole token sequence of each row so far, not empty.
            first: for every row the number of the first token that is asked for.

        Returns:
            For every row its hidden states [len(prompt) - first, hidden size], before the head, on the model's device.

        Raises:
            UsageError: for an empty prompt, one as long as the model's positions, or a ``first`` that is not in it.
        """
        self._check(rows, prompts)
        for prompt, start in zip(prompts, first, strict=True):
            if not 0 <= start < len(prompt):
                raise UsageError(f"expected the number of one of the prompt's {len(prompt)} tokens, got {start}")
        result: dict[int, torch.Tensor] = {}
        with self._running():
            for part in self._core.batches([len(p) for p in prompts], 0):
                chosen = [list(prompts[i]) for i in part]
                features = self._core.read([rows[i] for i in part], chosen, [first[i] for i in part])
                result.update(zip(part, map(self._core.hidden, features), strict=True))
        return [result[i] for i in range(len(rows))]

    def flush(self) -> None:
        """Forget everything computed: call it when the weights have changed."""
        self._core.clear()
        self._memo.clear()
        self._memo_size = 0
        self.weights_version += 1
        self._seen = self._fingerprint()

    def drop(self, row: int) -> None:
        """Forget one row; unknown rows are ignored."""
        self._core.drop(row)

    # -- inside -------------------------------------------------------------------------------------------------------

    def _generate(
        self,
        batch: _Batch,
        max_new_tokens: int,
        stop_ids: frozenset[int],
        stop_when: Callable[[list[int]], bool] | None,
        temperature: float,
        top_p: float,
    ) -> list[Generated]:
        features = self._core.open(batch.rows, batch.prompts, max_new_tokens)
        values = self._values(features)
        new: list[list[int]] = [[] for _ in batch.rows]
        raw: list[list[float]] = [[] for _ in batch.rows]
        own: list[list[float]] = [[] for _ in batch.rows]
        alive = list(range(len(batch.rows)))
        for step in range(max_new_tokens):
            token, logprob, behaviour = choose(
                self._core.logits(features),
                torch.from_numpy(batch.greedy[alive]).to(features.device),
                torch.from_numpy(batch.uniforms[alive, step]).to(features.device),
                temperature=temperature,
                top_p=top_p,
                all_greedy=bool(batch.greedy[alive].all()),
            )
            # One transfer: tokens are below 2**53, so float64 holds them exactly.
            tokens, logprobs, behaviours = torch.stack([token.double(), logprob.double(), behaviour]).tolist()
            going = []
            for i, t, lp, lb in zip(alive, map(int, tokens), logprobs, behaviours, strict=True):
                new[i].append(t)
                raw[i].append(lp)
                own[i].append(lb)
                ended = t in stop_ids or len(batch.prompts[i]) + len(new[i]) >= self.max_length
                if not ended and not (stop_when is not None and stop_when(new[i])):
                    going.append(i)
            alive = going
            if not alive or step + 1 == max_new_tokens:
                break
            features = self._core.advance([new[i][-1] for i in alive], alive)
        return [
            Generated(np.array(t, dtype=np.int64), np.array(r), np.array(b), v)
            for t, r, b, v in zip(new, raw, own, values, strict=True)
        ]

    def _score(
        self, rows: list[int], prompts: list[tuple[int, ...]], trees: list[Tree], part: list[int]
    ) -> Iterator[Scored]:
        nodes = [trees[i] for i in part]
        features = self._core.trees(rows, [list(p) for p in prompts], nodes)
        values = self._values(torch.stack([f[0] for f in features]))
        where, token = [], []
        start = 0
        for one, feature in zip(nodes, features, strict=True):
            where += [start + at for at, _ in one.edges]
            token += [t for _, t in one.edges]
            start += len(feature)
        logprobs = self._gather(torch.cat(features), np.array(where), np.array(token))
        start = 0
        for one, value in zip(nodes, values, strict=True):
            mine = logprobs[start : start + len(one.edges)]
            start += len(one.edges)
            yield Scored(
                tuple(mine[path] for path in one.paths), np.array([mine[path].sum() for path in one.paths]), value
            )

    def _gather(
        self, features: torch.Tensor, where: npt.NDArray[np.int64], token: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Log-probability of ``token[j]`` at feature ``where[j]`` (ascending per tree), a bounded piece at a time."""
        result = np.empty(len(where))
        size = max(1, _LOGITS // int(self.model.config.get_text_config().vocab_size))
        for start in range(0, len(features), size):
            logits = self._core.logits(features[start : start + size])
            inside = np.flatnonzero((where >= start) & (where < start + size))
            lines = torch.from_numpy(where[inside] - start).to(logits.device)
            columns = torch.from_numpy(token[inside]).to(logits.device)
            picked = logits[lines, columns] - torch.logsumexp(logits, dim=-1)[lines]
            result[inside] = picked.double().cpu().numpy()
        return result

    def _values(self, features: torch.Tensor) -> list[float]:
        if self.value_head is None:
            return [float("nan")] * len(features)
        values: list[float] = self.value_head(self._core.hidden(features).float())[:, 0].tolist()
        return values

    def _remember(self, key: tuple[tuple[int, ...], tuple[tuple[int, ...], ...]], answer: Scored) -> None:
        self._memo[key] = answer
        self._memo_size += len(key[0])
        while self._memo_size > _MEMO:
            (prompt, _), _ = self._memo.popitem(last=False)
            self._memo_size -= len(prompt)

    def _check(self, rows: Sequence[int], prompts: Sequence[Sequence[int]]) -> None:
        if len(set(rows)) != len(rows) or len(rows) != len(prompts):
            raise UsageError(f"expected one prompt for each of {len(set(rows))} distinct rows, got {len(prompts)}")
        for prompt in prompts:
            if not prompt:
                raise UsageError("expected a prompt of at least one token; begin the segment with a start token")
            if len(prompt) >= self.max_length:
                raise UsageError(self._too_long(len(prompt) + 1))

    def _too_long(self, length: int) -> str:
        return (
            f"a sequence of {length} tokens does not fit the model's {self.max_length} positions;"
            " use a context policy that drops old turns (LastK, Summarise)"
        )

    def _fingerprint(self) -> tuple[int, ...]:
        """Changes when a parameter is written in place: autograd counts the writes of a tensor (not fused ones).

        Of the modules that there were when the engine was made; layers put in later need a `flush`, or a new engine.
        """
        return tuple(p._version for table in self._parameters for p in table.values() if p is not None)

    @contextmanager
    def _running(self, check: bool = True) -> Iterator[None]:
        if check and self._fingerprint() != self._seen:
            self.flush()
        training = self.model.training
        if training:
            self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            if training:
                self.model.train()


@dataclass(slots=True)
class _Batch:
    rows: list[int]
    prompts: list[list[int]]
    greedy: npt.NDArray[np.bool_]
    uniforms: npt.NDArray[np.float64]
