"""Hierarchical gating: a level pays only from the step on at which every level above has been reached.

    R_t = sum_l g_l(t) sum over i in level l of R_i(t)        g_l(t) = prod over terms j of the levels above of
                                                              1[sum of R_j up to and including t >= v_j]

Unlike G-RA (`gated`), whose gates look at whole trajectories, these look back alone: a step is never paid for what
comes later, and steps before the gate opened earn nothing of the lower levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from agentgym.rewards.combine.columns import Columns
from agentgym.rewards.credit.checks import Float, finite
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable, columns: Columns, *, levels: Sequence[Sequence[str]], thresholds: Mapping[str, float]
) -> Float:
    """float64[n]: the gated sum.

    Args:
        steps: n rows.
        columns: float64[n] by name.
        levels: names of the columns, level by level, the first one first.
        thresholds: v by name; a column without one gates nothing.

    Raises:
        ValueError: ``levels`` do not name every column once; a threshold names no column; a column is not finite.
    """
    named = [name for level in levels for name in level]
    if sorted(named) != sorted(columns):
        raise ValueError(f"'levels' must name every column once, got {[list(x) for x in levels]} for {sorted(columns)}")
    if not set(thresholds) <= set(columns):
        raise ValueError(f"a threshold is given for {sorted(set(thresholds) - set(columns))}, which is no column")
    total, open_ = np.zeros(len(steps)), np.ones(len(steps), dtype=bool)
    for level in levels:
        values = {name: finite(name, columns[name], total.shape) for name in level}
        for column in values.values():
            total += np.where(open_, column, 0.0)
        for name, column in values.items():
            if name in thresholds and len(steps):
                so_far = np.cumsum(column)
                before = so_far[steps.starts] - column[steps.starts]
                # sums that are equal up to rounding have reached the threshold
                open_ &= so_far - before[steps.segment] >= thresholds[name] - 1e-9
    return total
