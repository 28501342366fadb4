"""Blending a designer's rewards into the primary one, as far as they pull the same way (after BARFI, arXiv 2310.19007).

    R = R_primary + sum_i w_i R_i
    after every batch:  w_i <- clip(w_i + rate cos(g_i, g_primary), 0, highest)

BARFI learns how much of a designer's heuristic reward to keep by a bi-level problem whose outer objective is the
primary return, with implicit gradients. To first order the outer gradient is the inner product of the two policy
gradients, and that alone is used here. A reward that pulls where the primary return pulls gains weight; one that pulls
elsewhere loses it, down to nothing.

Gradients come from columns, not from a policy: those of a tabular softmax policy over (anchor, action), with the
frequencies of the batch as its probabilities; `cosine` says how. The state is a value: `Blend.updated` gives the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float, extra, finite, number
from agentgym.rewards.credit.groups import joint, partition
from agentgym.steps import StepTable

__all__ = ["Blend", "combine", "cosine"]


def combine(steps: StepTable, columns: Columns, *, primary: str = "outcome", prefix: str = "weight_") -> Float:
    """float64[n]: the primary term plus every other one times its weight.

    Args:
        steps: n rows; reads an extra column ``prefix`` + name, float[n], for every term but the primary one.
        columns: float64[n] by name.
        primary: the name of the reward that is truly wanted.
        prefix: of the extra columns of weights; `Blend` keeps them.

    Raises:
        ValueError: ``primary`` is no column; a column or a weight is missing or not finite.
    """
    if primary not in columns:
        raise ValueError(f"'primary' must be one of the columns {sorted(columns)}, got {primary!r}")
    weighed = {
        name: column
        if name == primary
        else column * finite(prefix + name, extra(steps, prefix + name, "the rule 'blended'"), (len(steps),))
        for name, column in columns.items()
    }
    return summed(steps, weighed)


@dataclass(frozen=True)
class Blend:
    """Weights of the designer's rewards.

    Attributes:
        weights: by name, in [0, highest].
        rate: step of a weight for gradients that agree wholly, above 0.
        highest: largest weight.
    """

    weights: Mapping[str, float]
    rate: float = 0.1
    highest: float = 1.0

    def __post_init__(self) -> None:
        number("rate", self.rate, 0.0, open_low=True)
        number("highest", self.highest, 0.0, open_low=True)
        for name, weight in self.weights.items():
            number(f"weight of {name}", weight, 0.0, self.highest)

    def updated(self, steps: StepTable, primary: npt.ArrayLike, others: Mapping[str, npt.ArrayLike]) -> Blend:
        """The state after a batch.

        Args:
            steps: n rows.
            primary: float[n], advantages of the primary reward alone.
            others: float[n] by name, advantages of every designer's reward alone.

        Raises:
            ValueError: the names are not those of the weights; advantages are not finite or of another length.
        """
        if set(others) != set(self.weights):
            raise ValueError(f"'others' must name {sorted(self.weights)}, got {sorted(others)}")
        moved = {
            name: min(max(weight + self.rate * cosine(steps, others[name], primary), 0.0), self.highest)
            for name, weight in self.weights.items()
        }
        return replace(self, weights=moved)


def cosine(steps: StepTable, first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """The cosine of two policy gradients of a tabular softmax policy; 0 where one of them is 0.

    The gradient of a state's logits is sum_t A_t (1[a = a_t] - p(a | s)) over the steps taken there, with p the share
    of the steps taken there that took a.

    Args:
        steps: n rows; reads ``anchor`` and ``action``.
        first, second: float[n], advantages.

    Raises:
        ValueError: advantages are not finite or of another length.
    """
    given = [finite(name, a, (len(steps),)) for name, a in (("first", first), ("second", second))]
    if not len(steps):
        return 0.0
    state = partition(steps.anchor)
    pair = joint(state, steps.action)
    owner = np.zeros(pair.count, dtype=np.int64)
    owner[pair.code] = state.code
    share = pair.size / state.size[owner]
    gradients = [pair.totals(a) - share * state.totals(a)[owner] for a in given]
    sizes = [float(np.linalg.norm(g)) for g in gradients]
    if min(sizes) <= 1e-12 * max(1.0, *(float(np.abs(a).sum()) for a in given)):
        return 0.0
    return float(gradients[0] @ gradients[1] / (sizes[0] * sizes[1]))
