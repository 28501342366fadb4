"""Examples: the distinct (prefix, action) pairs of an update, with equal ones summed exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.agents.policy.tree import Tree, tree
from agentgym.agents.train.config import Aggregation
from agentgym.errors import UsageError
from agentgym.tokens import CandidateSet, TokenStep

__all__ = ["Example", "build_examples", "parted", "step_weights"]

Float = npt.NDArray[np.float64]


@dataclass(eq=False)
class Example:
    """One distinct (prefix, candidates) and what was done there.

    Attributes:
        prefix: int64[p] tokens before the action.
        candidates: the scored token sequences, or None when generated.
        weight: number of occurrences, weighted by the aggregation (for entropy and divergence).
        actions: action tokens -> [old log-probabilities float64[a], sum of positive weighted advantages, sum of
            negative ones, weight].
        value_target, value_weight: weighted mean of the value targets at this prefix.
    """

    prefix: npt.NDArray[np.int64]
    candidates: CandidateSet | None
    weight: float = 0.0
    actions: dict[tuple[int, ...], list[Any]] = field(default_factory=dict)
    value_target: float = 0.0
    value_weight: float = 0.0

    @property
    def active(self) -> bool:
        """Some action here has an advantage."""
        return any(a[1] != 0.0 or a[2] != 0.0 for a in self.actions.values())

    @property
    def sequences(self) -> list[tuple[int, ...]]:
        """The token sequences to run behind the prefix: all candidates, or the actions that were generated."""
        return list(self.actions) if self.candidates is None else list(self.candidates)

    @property
    def tree(self) -> Tree:
        """The sequences as a tree, shared beginnings once."""
        return tree(tuple(self.sequences))

    @property
    def single(self) -> bool:
        """Scored, and every candidate is one token: the logits behind the prefix say it all."""
        return self.candidates is not None and all(len(c) == 1 for c in self.candidates)

    def size(self, packed: bool) -> tuple[int, int]:
        """Sequences in a forward pass, and the tokens of the longest; ``packed``: all in one row."""
        if self.single:
            return 1, len(self.prefix)
        if packed:
            return 1, len(self.prefix) + len(self.tree.tokens)
        return len(self.sequences), len(self.prefix) + max(map(len, self.sequences)) - 1


def parted(tokens: Sequence[TokenStep], *columns: Float) -> tuple[list[TokenStep], list[Float]]:
    """Steps that chose a candidate and wrote on behind it become two: the choice, and the text.

    Args:
        tokens: k steps.
        columns: float64[k] each.

    Returns:
        The steps, and the columns with a number for every one of them.
    """
    steps: list[TokenStep] = []
    rows: list[int] = []
    for k, s in enumerate(tokens):
        size = len(s.action) if s.candidates is None or s.chosen < 0 else len(s.candidates[s.chosen])
        parts = [s]
        if size < len(s.action):
            head, tail = slice(size), slice(size, None)
            choice = replace(
                s,
                action=s.action[head],
                logprob=s.logprob[head],
                logprob_behaviour=s.logprob_behaviour[head],
            )
            text = replace(
                s,
                prefix=np.concatenate((s.prefix, s.action[head])),
                action=s.action[tail],
                logprob=s.logprob[tail],
                logprob_behaviour=s.logprob_behaviour[tail],
                candidates=None,
                chosen=-1,
                start=s.start + size,
            )
            parts = [choice, text]
        steps += parts
        rows += [k] * len(parts)
    return steps, [c[rows] for c in columns]


def step_weights(tokens: Sequence[TokenStep], aggregation: Aggregation, horizon: int = 1) -> list[float]:
    """Weight of every *token* of each step in the update's loss; see `Aggregation`.

    Args:
        horizon: the constant of ``aggregation="horizon"``: the most action tokens an episode can have.
    """
    scored = [s.candidates is not None for s in tokens]
    # a scored choice is one decision, whatever number of tokens spells it
    sizes = [1 if c else len(s.action) for s, c in zip(tokens, scored, strict=True)]
    if aggregation == "step-mean":
        return [1.0 / (len(tokens) * n) for n in sizes]
    if aggregation == "token-mean":
        total = sum(sizes)
        return [1.0 / total] * len(tokens)
    per_trajectory: dict[int, int] = {}
    for s, n in zip(tokens, sizes, strict=True):
        per_trajectory[s.trajectory] = per_trajectory.get(s.trajectory, 0) + n
    m = len(per_trajectory)
    if aggregation == "trajectory-mean":
        return [1.0 / (m * per_trajectory[s.trajectory]) for s in tokens]
    if aggregation == "horizon":
        return [1.0 / (m * horizon)] * len(tokens)
    raise UsageError(f"aggregation must be step-mean, token-mean, trajectory-mean or horizon, got {aggregation!r}")


def build_examples(
    tokens: Sequence[TokenStep],
    advantages: Float,
    weights: Sequence[float],
    *,
    value_targets: Float | None = None,
) -> list[Example]:
    """Sum equal (prefix, candidates, action) steps into distinct examples (point 2 of the module's docstring).

    Args:
        tokens: k steps.
        advantages: float64[k], one per step.
        weights: k weights per token (`step_weights`).
        value_targets: float64[k] or None.

    Raises:
        ValueError: an advantage is not finite.
    """
    bad = np.flatnonzero(~np.isfinite(advantages))
    if bad.size:
        s = tokens[bad[0]]
        raise ValueError(f"advantage of trajectory {s.trajectory}, t={s.t} is {advantages[bad[0]]}; must be finite")
    examples: dict[tuple[bytes, CandidateSet | None], Example] = {}
    for k, (s, a, w) in enumerate(zip(tokens, advantages.tolist(), weights, strict=True)):
        key = (s.prefix.tobytes(), s.candidates)
        example = examples.get(key)
        if example is None:
            example = examples[key] = Example(s.prefix, s.candidates)
        example.weight += w
        action = tuple(s.action.tolist())
        entry = example.actions.get(action)
        if entry is None:
            entry = example.actions[action] = [s.logprob_behaviour, 0.0, 0.0, 0.0]
        entry[1 if a > 0 else 2] += w * a
        entry[3] += w
        if value_targets is not None:
            example.value_target += w * float(value_targets[k])
            example.value_weight += w
    for example in examples.values():
        if example.value_weight:
            example.value_target /= example.value_weight
    return list(examples.values())
