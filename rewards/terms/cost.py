"""Costs: tokens, seconds, money, unsafe events of several kinds; what a step used up, as a negative reward."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite
from agentgym.steps import StepTable

__all__ = ["term"]


def term(
    steps: StepTable, *, name: str = "duration", weights: Sequence[float] | None = None
) -> npt.NDArray[np.float64]:
    """float64[n]: minus the (weighted) cost of every step. A positive weight of the term therefore punishes.

    Args:
        steps: n rows.
        name: "duration", or an extra column float[n] or float[n, kinds] of costs, 0 or more.
        weights: price of every kind, 0 or more; None: 1 each.

    Raises:
        ValueError: the column is missing, not finite or negative; weights that do not fit.
    """
    given = steps.duration if name == "duration" else extra(steps, name, "the term 'cost'")
    costs = finite(name, given, given.shape if given.ndim == 2 else (len(steps),))
    costs = costs if costs.ndim == 2 else costs[:, None]
    bad = np.flatnonzero((costs < 0.0).any(axis=1))
    if bad.size:
        raise ValueError(
            f"costs in {name!r} must be at least 0, row {bad[0]} is {costs[bad[0]].tolist()}; turn the sign"
        )
    w = np.ones(costs.shape[1]) if weights is None else finite("weights", weights, (costs.shape[1],))
    if (w < 0.0).any():
        raise ValueError(f"'weights' must be at least 0, got {w.tolist()}; a cost is paid, not earned")
    return -(costs @ w)
