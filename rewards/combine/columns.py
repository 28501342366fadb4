"""What every rule checks of the terms it is given."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite
from agentgym.steps import StepTable

__all__ = ["Columns", "process_scores", "summed"]

Columns = Mapping[str, npt.NDArray[np.float64]]
"""Terms by name, float64[n] each, in the order of the recipe."""


def summed(steps: StepTable, columns: Columns) -> Float:
    """float64[n]: the sum of all columns.

    Raises:
        ValueError: a column has another length or is not finite.
    """
    total = np.zeros(len(steps))
    for name, column in columns.items():
        total += finite(name, column, total.shape)
    return total


def process_scores(steps: StepTable, name: str, why: str) -> Float:
    """float64[n]: the extra column of a step judge."""
    return finite(name, extra(steps, name, why), (len(steps),))
