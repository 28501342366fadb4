"""The weighted sum of terms."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable, columns: Mapping[str, npt.NDArray[np.float64]], *, weights: Mapping[str, float] | None = None
) -> npt.NDArray[np.float64]:
    """float64[n]: the sum of weight times column.

    Args:
        steps: n rows.
        columns: float64[n] by name.
        weights: by name; 1 where a name is missing.

    Raises:
        ValueError: a weight names no column or is not finite, or a column has another length.
    """
    weights = weights or {}
    for name, weight in weights.items():
        if name not in columns:
            raise ValueError(f"a weight is given for {name!r}, but the columns are {sorted(columns)}")
        if not math.isfinite(weight):
            raise ValueError(f"the weight of {name!r} must be finite, got {weight!r}")
    total = np.zeros(len(steps))
    for name, column in columns.items():
        if column.shape != total.shape:
            raise ValueError(f"column {name!r} must have shape {total.shape}, got {column.shape}")
        total += weights.get(name, 1.0) * column
    return total
