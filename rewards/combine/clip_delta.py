"""Clip and Delta: a process reward that cannot be farmed (after arXiv 2410.15115).

    clip    p_t <- min(p_t - eta, 0)         eta a quantile of the batch, so that most steps get 0
    delta   r_t  = p_t - p_{t+1}, the last step keeps p_T        the sum telescopes to p_1

Clip first, then delta, added to the terms (the outcome). The authors' notes disagree about indices; bounded sums are
what both agree on.
"""

from __future__ import annotations

import numpy as np

from agentgym.rewards.combine.columns import Columns, process_scores, summed
from agentgym.rewards.credit.checks import Float, number
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable,
    columns: Columns,
    *,
    process: str = "process_score",
    clip: bool = True,
    delta: bool = True,
    quantile: float = 0.9,
    weight: float = 1.0,
) -> Float:
    """float64[n]: the terms plus the tamed process score.

    Args:
        steps: n rows; reads the extra column ``process``.
        columns: float64[n] by name, added up.
        process: name of the extra column float[n], scores of a step judge.
        clip: take min(p - eta, 0).
        delta: take differences.
        quantile: of the batch's scores that is eta, in [0, 1].
        weight: of the process part.

    Raises:
        ValueError: the scores are missing or not finite; an option out of range.
    """
    number("quantile", quantile, 0.0, 1.0)
    p = process_scores(steps, process, "Clip and Delta")
    total = summed(steps, columns)
    if not len(steps):
        return total
    if clip:
        p = np.minimum(p - np.quantile(p, quantile), 0.0)
    if delta:
        following = np.append(p[1:], 0.0)
        following[steps.ends] = 0.0
        p = p - following
    return total + weight * p
