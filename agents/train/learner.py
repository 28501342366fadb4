"""The learner: PPO-clip on the action tokens of the behaviour distribution, and supervised warm starts.

One update in numbered points:

1. Every step's tokens (`TokenTable.steps`) carry the step's advantage. Tokens were either *generated* (the behaviour
   distribution is the model's softmax at a temperature) or *scored* (a softmax over candidates); the new probability is
   computed under the same distribution, never under another.
2. A policy is frozen while it collects, so equal (prefix, action) pairs have equal old probabilities. Their clipped
   losses differ only in the advantage, and ``min(r A, clip(r) A)`` is linear in A on each side of zero: the positive
   and the negative advantages of equal pairs are summed *exactly* before the model runs. In small worlds thousands of
   steps become hundreds of sequences.
3. Each occurrence has a weight given by the named aggregation, fixed before the update is split, so micro-batches
   accumulate to the same gradient however they are cut.
4. A sequence whose advantages are all zero adds nothing to the surrogate and is left out (unless entropy, divergence or
   value terms need it); an update without any is skipped and counted.

Departures from Schulman et al. 2017 (arXiv 1707.06347): the advantage comes from a credit assigner; the value loss is
not clipped; no early stop on divergence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentgym.agents.policy.pointing import Pointer
from agentgym.agents.train.config import Aggregation
from agentgym.agents.train.examples import Example, build_examples, parted, step_weights
from agentgym.agents.train.forward import forward, packs
from agentgym.agents.train.muon import Muon
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep, TokenTable

__all__ = ["MICRO_TOKENS", "Learner", "UpdateStats", "hidden_matrices"]

Float = npt.NDArray[np.float64]
MICRO_TOKENS = {"cpu": 2048, "cuda": 16384}
"""Tokens in one forward pass, by kind of device; elsewhere as on CUDA. More of them leave a CPU's caches, and put
together sequences whose lengths differ: with 16384 an update of a small model on pages took twice as long."""


@dataclass
class UpdateStats:
    """What one update did; means over the last epoch's occurrences unless said otherwise."""

    loss: float = 0.0
    entropy: float = 0.0
    kl: float = 0.0
    value_loss: float = 0.0
    clip_fraction: float = 0.0
    grad_norm: float = 0.0
    steps: int = 0
    sequences: int = 0
    skipped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return dict(vars(self))


class Learner:
    """Owns the optimiser of one causal language model (and its value head).

    Args:
        model: a Hugging Face causal language model.
        value_head: maps the last hidden state of a prefix to a value, or None.
        lr, weight_decay, max_grad_norm, clip, clip_high, entropy, kl, value_weight: see `TrainConfig`.
        temperature: of the behaviour distribution.
        micro_tokens: tokens in one forward pass, padding included; by default `MICRO_TOKENS`.
        seed: orders the minibatches.
        pointer: of a policy that points at its candidates (`PointingPolicy.pointer`).
        muon: learning rate of the hidden matrices, which Muon then moves (Jordan et al. 2024; a small model finds
            copying sooner), AdamW the rest; 0 for AdamW alone.
    """

    def __init__(
        self,
        model: Any,
        *,
        value_head: nn.Module | None = None,
        lr: float = 5e-4,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        clip: float = 0.2,
        clip_high: float | None = None,
        entropy: float = 0.0,
        kl: float = 0.0,
        value_weight: float = 0.5,
        temperature: float = 1.0,
        micro_tokens: int | None = None,
        seed: int = 0,
        pointer: Pointer | None = None,
        muon: float = 0.0,
    ) -> None:
        if pointer is not None and value_head is not None:
            raise UsageError("a learner of a policy that points has no value head")
        self.pointer = pointer
        self.model, self.value_head = model, value_head
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if value_head is not None:
            self.parameters += list(value_head.parameters())
        inner = hidden_matrices(model) if muon else []
        mine = {id(p) for p in inner}
        others = [p for p in self.parameters if id(p) not in mine]
        self.optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(others, lr=lr, weight_decay=weight_decay, fused=True)
        ]
        if inner:
            self.optimizers.append(Muon(inner, lr=muon, weight_decay=weight_decay))
        self._muon_ratio = muon / lr
        self.max_grad_norm = max_grad_norm
        self.clip_low, self.clip_high = clip, clip if clip_high is None else clip_high
        self.entropy, self.kl, self.value_weight = entropy, kl, value_weight
        self.temperature, self.seed = temperature, seed
        self.reference: Any = None
        self.device = next(model.parameters()).device
        kind = "cpu" if self.device.type == "cpu" else "cuda"
        self.micro_tokens = MICRO_TOKENS[kind] if micro_tokens is None else micro_tokens

    # ------------------------------------------------------------------ updates

    def set_lr(self, lr: float) -> None:
        """Learning rate of the next optimiser steps; Muon's changes by the same factor."""
        for optimizer, ratio in zip(self.optimizers, (1.0, self._muon_ratio), strict=False):
            for group in optimizer.param_groups:
                group["lr"] = lr * ratio

    def fit_demonstrations(
        self,
        tokens: Sequence[TokenStep] | Callable[[int], Sequence[TokenStep]],
        *,
        epochs: int,
        batch: int,
        smoothing: float = 0.0,
    ) -> Iterator[float]:
        """Supervised warm start: raise the probability of the demonstrated actions; yields each epoch's mean loss.

        Equal steps are summed, so ``batch`` counts distinct prefixes.

        Args:
            tokens: the steps, each counting the same; or a function that draws the steps of a pass, given its number
                (`Lessons`). Of drawn steps each *token* counts the same, so that the loss is the likelihood of whole
                actions and its minimum the distribution they are drawn from, however many tokens spell an action.
            smoothing: share of the target that goes to every candidate alike; for scored steps.
        """
        examples = None
        if not callable(tokens):
            tokens, _ = parted(tokens)
            examples = build_examples(tokens, np.ones(len(tokens)), step_weights(tokens, "step-mean"))
            for e in examples if smoothing else ():
                _smooth(e, smoothing)
        for epoch in range(epochs):
            if callable(tokens):
                drawn, _ = parted(tokens(epoch))
                examples = build_examples(drawn, np.ones(len(drawn)), step_weights(drawn, "token-mean"))
            assert examples is not None  # built above, or just now
            order = np.random.default_rng([self.seed, 0xD0, epoch]).permutation(len(examples))
            total = 0.0
            for part in _chunks(order, batch):
                chosen = [examples[i] for i in part]
                scale = 1.0 / sum(e.weight for e in chosen)
                for micro in self._micro(chosen):
                    loss = self._likelihood_loss(micro) * scale
                    torch.autograd.backward(loss)
                    total += float(loss.detach()) / scale
                self._step()
            yield total / sum(e.weight for e in examples)

    def update(
        self,
        tokens: TokenTable | Sequence[TokenStep],
        advantages: Float,
        *,
        aggregation: Aggregation = "step-mean",
        epochs: int = 2,
        minibatches: int = 1,
        horizon: int = 1,
        value_targets: Float | None = None,
        number: int = 0,
    ) -> UpdateStats:
        """One policy-gradient update.

        Args:
            tokens: the steps' tokens.
            advantages: float64[k], in the order of ``tokens.steps()``.
            horizon: the most action tokens of an episode, for ``aggregation="horizon"``.
            value_targets: float64[k] for the value head.
            number: of the update; with the learner's seed it orders the minibatches.
        """
        steps = list(tokens.steps()) if isinstance(tokens, TokenTable) else list(tokens)
        if len(steps) != len(advantages):
            raise ValueError(f"need one advantage per step with tokens ({len(steps)}), got {len(advantages)}")
        count = len(steps)
        if value_targets is None:
            steps, (advantages,) = parted(steps, advantages)
        else:
            steps, (advantages, value_targets) = parted(steps, advantages, value_targets)
        examples = build_examples(
            steps, advantages, step_weights(steps, aggregation, horizon), value_targets=value_targets
        )
        if self.entropy == 0.0 and self.kl == 0.0 and value_targets is None:
            examples = [e for e in examples if e.active]
        stats = UpdateStats(steps=count, sequences=sum(len(e.sequences) for e in examples))
        if not any(e.active for e in examples):
            stats.skipped = True
            return stats
        for epoch in range(epochs):
            order = np.random.default_rng([self.seed, number, epoch]).permutation(len(examples))
            stats.loss = stats.entropy = stats.kl = stats.value_loss = stats.clip_fraction = 0.0
            for part in np.array_split(order, min(minibatches, len(examples))):
                for micro in self._micro([examples[i] for i in part]):
                    # a minibatch is a share of the update: scaling by their number keeps the step size
                    loss = self._policy_loss(micro, stats) * minibatches
                    torch.autograd.backward(loss)
                stats.grad_norm = self._step()
        return stats

    def state_dict(self) -> dict[str, Any]:
        """Optimiser state, for checkpoints."""
        return {"optimizers": [optimizer.state_dict() for optimizer in self.optimizers]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The inverse of `state_dict`."""
        for optimizer, kept in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(kept)

    # ------------------------------------------------------------------ inside

    def _step(self) -> float:
        norm = nn.utils.clip_grad_norm_(self.parameters, self.max_grad_norm)
        for optimizer in self.optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return float(norm)

    def _micro(self, examples: list[Example]) -> Iterator[list[Example]]:
        """Cut into parts of at most `micro_tokens` padded tokens, similar lengths together."""
        if self.pointer is not None and len(kinds := {e.candidates is None for e in examples}) > 1:
            for written in sorted(kinds):  # they are computed in different ways
                yield from self._micro([e for e in examples if (e.candidates is None) == written])
            return
        packed = self._packed(examples)
        sizes = [(1, len(e.prefix)) if self._points(e) else e.size(packed) for e in examples]
        part: list[Example] = []
        rows = 0
        for k in sorted(range(len(examples)), key=lambda k: sizes[k][1]):
            more, length = sizes[k]
            if part and (rows + more) * length > self.micro_tokens:
                yield part
                part, rows = [], 0
            part.append(examples[k])
            rows += more
        if part:
            yield part

    def _points(self, example: Example) -> bool:
        return self.pointer is not None and example.candidates is not None

    def _packed(self, examples: list[Example]) -> bool:
        """Whether the actions behind one prefix can share it in a forward pass, and there are any to share."""
        if self._points(examples[0]):
            return False
        return not all(e.single for e in examples) and self._takes_masks

    @cached_property
    def _takes_masks(self) -> bool:
        return packs(self.model)

    def _likelihood_loss(self, examples: list[Example]) -> torch.Tensor:
        out = forward(self.model, examples, packed=self._packed(examples), pointer=self.pointer)
        return -(out.logprob * out.numbers()[0]).sum()

    def _policy_loss(self, examples: list[Example], stats: UpdateStats) -> torch.Tensor:
        hidden = self.value_head is not None
        options: dict[str, Any] = {"temperature": self.temperature, "packed": self._packed(examples)}
        options["pointer"] = self.pointer
        out = forward(self.model, examples, hidden=hidden, **options)
        up, down, weight = out.numbers()
        ratio = torch.exp(out.logprob - out.old())
        clipped = ratio.clamp(1.0 - self.clip_low, 1.0 + self.clip_high)
        # min(r A, clip(r) A) with all A > 0 summed in `up` and all A < 0 in `down`
        loss: torch.Tensor = -(up * torch.minimum(ratio, clipped) + down * torch.maximum(ratio, clipped)).sum()
        with torch.no_grad():
            outside = ((up > 0) & (ratio > clipped)) | ((down < 0) & (ratio < clipped))
            stats.loss += float(loss)
            stats.clip_fraction += float((weight * outside).sum())
        mass = torch.tensor([e.weight for e in examples], dtype=torch.float32, device=self.device)
        entropy = (mass * out.entropy).sum()
        stats.entropy += float(entropy.detach())
        if self.entropy:
            loss = loss - self.entropy * entropy
        if self.kl:
            with torch.no_grad():
                base = forward(self.reference, examples, **options)
            gap = base.logprob - out.logprob
            kl = (weight * (torch.exp(gap) - gap - 1.0)).sum()
            loss = loss + self.kl * kl
            stats.kl += float(kl.detach())
        if self.value_head is not None and any(e.value_weight for e in examples):
            target = torch.tensor([e.value_target for e in examples], dtype=torch.float32, device=self.device)
            mass = torch.tensor([e.value_weight for e in examples], dtype=torch.float32, device=self.device)
            value: torch.Tensor = self.value_head(out.hidden).squeeze(-1).float()
            value_loss = (mass * (value - target) ** 2).sum()
            loss = loss + self.value_weight * value_loss
            stats.value_loss += float(value_loss.detach())
        return loss


def hidden_matrices(model: Any) -> list[nn.Parameter]:
    """The matrices of a causal language model between embedding and output: what Muon is for."""
    ends = {id(m.weight) for m in (model.get_input_embeddings(), model.get_output_embeddings()) if m is not None}
    return [p for p in model.parameters() if p.requires_grad and p.ndim == 2 and id(p) not in ends]


def _smooth(example: Example, smoothing: float) -> None:
    """Spread a share of the example's weight evenly over its candidates."""
    candidates = example.candidates
    if candidates is None:
        raise UsageError("smoothing generated demonstrations needs their applicable actions: draw them with `Lessons`")
    for entry in example.actions.values():
        entry[1] *= 1.0 - smoothing
    for c in candidates:
        entry = example.actions.setdefault(c, [np.zeros(len(c)), 0.0, 0.0, 0.0])
        entry[1] += smoothing * example.weight / len(candidates)


def _chunks(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    for k in range(0, len(order), size):
        yield order[k : k + size]
