"""Terms side by side, for methods that take several named rewards (GDPO)."""

from __future__ import annotations

import numpy as np

from agentgym.rewards.combine.columns import Columns
from agentgym.rewards.credit.checks import Float, finite
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(steps: StepTable, columns: Columns) -> Float:
    """float64[n, k]: the columns in the order of the recipe.

    Raises:
        ValueError: no column; a column is not finite or has another length.
    """
    if not columns:
        raise ValueError("there are no columns to stack; give at least one term")
    return np.stack([finite(name, column, (len(steps),)) for name, column in columns.items()], axis=1)
