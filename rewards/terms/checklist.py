"""A checklist: the share of its items that hold, or how much a step added to it (CM2 and other rubric rewards)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite
from agentgym.steps import StepTable

__all__ = ["term"]


def term(
    steps: StepTable, *, name: str = "checklist", weights: Sequence[float] | None = None, gain: bool = False
) -> npt.NDArray[np.float64]:
    """float64[n]: the weighted share of a step's items that hold, in [0, 1]; 0 for a step without items.

    Args:
        steps: n rows.
        name: extra column int[n, items]: 1 holds, 0 does not, -1 the step has no such item.
        weights: one per item, 0 or more, not all 0; None: all alike.
        gain: the change since the trajectory's step before (since nothing, on its first): sums to the last share.

    Raises:
        ValueError: the column is missing, of another shape or with other values; weights that do not fit.
    """
    given = extra(steps, name, "the term 'checklist'")
    if given.ndim != 2 or given.dtype.kind not in "iub":
        raise ValueError(f"extra {name!r} must be int[rows, items] of 1, 0 or -1, got {given.dtype}{given.shape}")
    items = given.astype(np.int64)
    bad = np.flatnonzero(~np.isin(items, (-1, 0, 1)).all(axis=1))
    if bad.size:
        raise ValueError(
            f"extra {name!r} must hold 1 (holds), 0 (does not) or -1 (no such item), row {bad[0]} is "
            f"{items[bad[0]].tolist()}; repair what the judge answered"
        )
    w = np.ones(items.shape[1]) if weights is None else finite("weights", weights, (items.shape[1],))
    if (w < 0.0).any() or not w.sum() > 0.0:
        raise ValueError(f"'weights' must be numbers of at least 0, not all 0, got {w.tolist()}")
    there = (items >= 0) @ w
    share = np.asarray(((items == 1) @ w) / np.where(there > 0.0, there, 1.0), dtype=np.float64)
    if not gain or not len(steps):
        return share
    before = np.append(0.0, share[:-1])
    before[steps.starts] = 0.0
    return np.asarray(share - before)
