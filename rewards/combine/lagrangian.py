"""A limit on danger, kept by a multiplier that learns (Lagrangian relaxation, dual ascent).

    r'_t   = r_t - multiplier * danger_t
    after every batch:  multiplier <- max(0, multiplier + rate (danger rate - limit))

The danger rate is the share of trajectories with at least one unsafe step. While it stays above the limit danger grows
dearer; below, it grows cheaper, down to free. The state is a value: `DangerLimit.updated` returns the next one, so that
a run that resumes has it in its checkpoint.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float, number
from agentgym.steps import StepTable

__all__ = ["DangerLimit", "combine", "updated"]


def combine(steps: StepTable, columns: Columns, *, multiplier: float, limit: float = 0.0, rate: float = 1.0) -> Float:
    """float64[n]: the sum of the terms minus ``multiplier`` on every unsafe step.

    Args:
        steps: n rows; reads ``danger``.
        columns: float64[n] by name.
        multiplier: price of one unsafe step, 0 or more; `updated` keeps it.
        limit, rate: see `DangerLimit`; they decide the next batch's price, not this one's.

    Raises:
        ValueError: a column is not finite or has another length; an option out of range.
    """
    state = DangerLimit(limit, rate, multiplier)
    return summed(steps, columns) - state.multiplier * steps.danger


def updated(steps: StepTable, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of `combine` for the next batch."""
    return {**options, "multiplier": DangerLimit(**{"limit": 0.0, **options}).updated(steps).multiplier}


@dataclass(frozen=True)
class DangerLimit:
    """The state of the constraint.

    Attributes:
        limit: danger rate allowed, in [0, 1].
        rate: step of the dual ascent, above 0.
        multiplier: price of an unsafe step now.
    """

    limit: float
    rate: float = 1.0
    multiplier: float = 0.0

    def __post_init__(self) -> None:
        number("limit", self.limit, 0.0, 1.0)
        number("rate", self.rate, 0.0, open_low=True)
        number("multiplier", self.multiplier, 0.0)

    def updated(self, steps: StepTable) -> DangerLimit:
        """The state after a batch; unchanged by an empty one."""
        if not len(steps):
            return self
        rate = float(np.mean(np.logical_or.reduceat(steps.danger, steps.starts)))
        return replace(self, multiplier=max(0.0, self.multiplier + self.rate * (rate - self.limit)))
