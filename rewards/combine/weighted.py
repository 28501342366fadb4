"""The weighted sum of terms."""

from __future__ import annotations

import math
from collections.abc import Mapping

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(steps: StepTable, columns: Columns, *, weights: Mapping[str, float] | None = None) -> Float:
    """float64[n]: the sum of weight times column.

    Args:
        steps: n rows.
        columns: float64[n] by name.
        weights: by name; 1 where a name is missing.

    Raises:
        ValueError: a weight names no column or is not finite; a column is not finite or has another length.
    """
    weights = weights or {}
    for name, weight in weights.items():
        if name not in columns:
            raise ValueError(f"a weight is given for {name!r}, but the columns are {sorted(columns)}")
        if not math.isfinite(weight):
            raise ValueError(f"the weight of {name!r} must be finite, got {weight!r}")
    return summed(steps, {name: weights.get(name, 1.0) * column for name, column in columns.items()})
