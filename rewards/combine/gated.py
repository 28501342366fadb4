"""G-RA: a reward counts only where every reward of higher priority is good enough (after arXiv 2508.10548).

    R = sum_i R_i prod over j of higher priority 1[total of R_j over the trajectory >= v_j]

Gates are per trajectory, terms per step: a rollout that makes no valid patch keeps none of its step rewards. The
product form is ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable, columns: Columns, *, order: Sequence[str], thresholds: Mapping[str, float] | None = None
) -> Float:
    """float64[n]: the gated sum.

    Args:
        steps: n rows.
        columns: float64[n] by name.
        order: the names of all columns, highest priority first.
        thresholds: v by name; a column without one gates nothing.

    Raises:
        ValueError: ``order`` is not the columns' names; a threshold names no column; a column is not finite.
    """
    thresholds = thresholds or {}
    if sorted(order) != sorted(columns):
        raise ValueError(f"'order' must name every column once, got {list(order)} for {sorted(columns)}")
    if not set(thresholds) <= set(columns):
        raise ValueError(f"a threshold is given for {sorted(set(thresholds) - set(columns))}, which is no column")
    open_ = np.ones(len(steps.starts))
    kept = {}
    for name in order:
        kept[name] = columns[name] * open_[steps.segment]
        if name in thresholds and len(steps):
            open_ = open_ * (np.add.reduceat(columns[name], steps.starts) >= thresholds[name])
    return summed(steps, kept)
