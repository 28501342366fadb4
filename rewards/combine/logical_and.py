"""Logical AND: all or (nearly) nothing, with a gradient (the sum of log-sigmoids).

    R = scale sum_i log sigmoid((R_i - v_i) / T)          R_i the trajectory's total of term i, on its last step

R is the log-probability that all hold, if each holds with probability sigmoid((R_i - v_i) / T): near 0 when all do, as
low as the worst one when one fails, however good the others are.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from agentgym.rewards.combine.columns import Columns
from agentgym.rewards.credit.checks import Float, finite, number
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable,
    columns: Columns,
    *,
    thresholds: Mapping[str, float] | None = None,
    temperature: float = 0.1,
    scale: float = 1.0,
) -> Float:
    """float64[n]: the AND of the terms, on the last row of every trajectory.

    Args:
        steps: n rows.
        columns: float64[n] by name; each is summed over its trajectory.
        thresholds: v by name: the total at which a term half holds; 0.5 where a name is missing.
        temperature: T, above 0: how sharply it is told.
        scale: of the result, above 0.

    Raises:
        ValueError: no column; a column is not finite; a threshold names no column; an option out of range.
    """
    if not columns:
        raise ValueError("the AND of no columns says nothing; give at least one term")
    number("temperature", temperature, 0.0, open_low=True)
    number("scale", scale, 0.0, open_low=True)
    thresholds = thresholds or {}
    if not set(thresholds) <= set(columns):
        raise ValueError(f"a threshold is given for {sorted(set(thresholds) - set(columns))}, which is no column")
    reward = np.zeros(len(steps))
    for name, column in columns.items():
        values = finite(name, column, reward.shape)
        if len(steps):
            total = np.add.reduceat(values, steps.starts) - thresholds.get(name, 0.5)
            reward[steps.ends] -= scale * np.logaddexp(0.0, -total / temperature)
    return reward
