"""Ensembles of reward models: trust the worst one, or distrust where they differ (Coste et al. 2024, arXiv 2310.02743).

    mean   mean_k s_k
    WCO    min_k s_k
    UWO    mean_k s_k - coefficient * var_k s_k

The authors take the population variance for best-of-n (``ddof=0``) and the sample variance in PPO (``ddof=1``).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, finite, number, one_of

__all__ = ["ensemble"]


def ensemble(
    scores: npt.ArrayLike,
    *,
    rule: Literal["mean", "wco", "uwo"] = "uwo",
    coefficient: float = 1.0,
    ddof: Literal[0, 1] = 1,
) -> Float:
    """float64[n]: one score of the scores of k models.

    Args:
        scores: float[k, n].
        rule: see above.
        coefficient: of the variance in "uwo", 0 or more.
        ddof: of that variance.

    Raises:
        ValueError: scores not finite or not of two dimensions; the sample variance of one model.
    """
    one_of("rule", rule, ("mean", "wco", "uwo"))
    one_of("ddof", ddof, (0, 1))
    number("coefficient", coefficient, 0.0)
    given = np.asarray(scores)
    if given.ndim != 2 or not len(given):
        raise ValueError(f"'scores' must have shape (models, samples) with at least one model, got {given.shape}")
    column = finite("scores", given, given.shape)
    if rule == "wco":
        return np.asarray(column.min(axis=0))
    mean: Float = np.asarray(column.mean(axis=0))
    if rule == "mean":
        return mean
    if len(column) <= ddof:
        raise ValueError("the sample variance of one model is undefined; give two models or use ddof=0")
    return np.asarray(mean - coefficient * column.var(axis=0, ddof=ddof))
