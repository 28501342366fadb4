"""A limit on danger, kept by a price that learns (Lagrangian relaxation, dual ascent).

    r'_t = r_t - price * danger_t        the rule "lagrangian"; `rewards.credit.constrained` prices danger apart
    after every batch, with d the danger rate, smoothed over batches:

        excess = clip(d / limit - 1, -1, most)
        price  <- clip(price * exp(rate * excess), lowest, highest)

The danger rate is the share of trajectories with at least one unsafe step. While it stays above the limit danger grows
dearer; below, it grows cheaper. The step is one of exponentiated gradient (Kivinen & Warmuth 1997): relative, so that a
price which early, unsafe batches drove up falls as fast as it rose, where a sum of excesses (price + rate (d - limit))
takes d / limit times as long to come down. The state is a value: `DangerLimit.updated` returns the next one, so that a
run that resumes has it in its checkpoint.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float, extra, finite, number
from agentgym.steps import StepTable

__all__ = ["DangerLimit", "combine"]


def combine(steps: StepTable, columns: Columns, *, multiplier: float | str) -> Float:
    """float64[n]: the sum of the terms minus ``multiplier`` on every unsafe step.

    Args:
        steps: n rows; reads ``danger``.
        columns: float64[n] by name.
        multiplier: price of one unsafe step, 0 or more, or the extra column that holds it; `DangerLimit` keeps it.

    Raises:
        ValueError: a column is missing, not finite or has another length; the multiplier is negative.
    """
    if not isinstance(multiplier, str):
        number("multiplier", multiplier, 0.0)
        return summed(steps, columns) - multiplier * steps.danger
    price = finite(multiplier, extra(steps, multiplier, "the rule 'lagrangian'"), (len(steps),))
    bad = np.flatnonzero(price < 0.0)
    if bad.size:
        raise ValueError(
            f"{multiplier!r} must be at least 0, row {bad[0]} is {price[bad[0]]}; danger is never paid for"
        )
    return summed(steps, columns) - price * steps.danger


@dataclass(frozen=True)
class DangerLimit:
    """The state of the constraint.

    Attributes:
        limit: danger rate that is aimed at, in (0, 1].
        rate: of the price's growth, a batch, above 0.
        lowest, highest: bounds of the price, above 0.
        most: bound of the relative excess: the price grows at most by exp(rate * most) a batch.
        smoothing: weight of the earlier batches in the danger rate, in [0, 1).
        multiplier: price of an unsafe step now.
        seen: the smoothed danger rate; None before the first batch.
    """

    limit: float
    rate: float = 0.1
    lowest: float = 0.05
    highest: float = 10.0
    most: float = 3.0
    smoothing: float = 0.5
    multiplier: float = 0.05
    seen: float | None = None

    def __post_init__(self) -> None:
        number("limit", self.limit, 0.0, 1.0, open_low=True)
        number("rate", self.rate, 0.0, open_low=True)
        number("lowest", self.lowest, 0.0, open_low=True)
        number("highest", self.highest, self.lowest)
        number("most", self.most, 0.0, open_low=True)
        number("smoothing", self.smoothing, 0.0, 1.0, open_high=True)
        number("multiplier", self.multiplier, 0.0)

    def updated(self, steps: StepTable) -> DangerLimit:
        """The state after a batch; unchanged by an empty one."""
        if not len(steps):
            return self
        now = float(np.mean(np.logical_or.reduceat(steps.danger, steps.starts)))
        seen = now if self.seen is None else self.smoothing * self.seen + (1.0 - self.smoothing) * now
        excess = min(max(seen / self.limit - 1.0, -1.0), self.most)
        price = self.multiplier * math.exp(self.rate * excess)
        return replace(self, multiplier=min(max(price, self.lowest), self.highest), seen=seen)
