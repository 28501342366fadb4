"""ReNorm: the outcome decides whether, the process decides where (after PPR, arXiv 2509.25598; the form is ours).

    r_t = z_outcome / length + beta q_t

z_outcome is the trajectory's outcome (the sum of the terms) standardised in its group; q_t the process scores centred
in their trajectory and scaled to a largest size of 1. The q_t of a trajectory sum to 0: its total is the outcome's.
"""

from __future__ import annotations

import numpy as np

from agentgym.rewards.combine.columns import Columns, process_scores, summed
from agentgym.rewards.credit.checks import Float, number
from agentgym.rewards.credit.groups import Partition, deviations, partition, standardised
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable, columns: Columns, *, process: str = "process_score", beta: float = 0.5, eps: float = 1e-6
) -> Float:
    """float64[n]: outcome and process, jointly normalised.

    Args:
        steps: n rows; reads ``group`` and the extra column ``process``.
        columns: float64[n] by name; their sum over a trajectory is its outcome.
        process: name of the extra column float[n], scores of a step judge.
        beta: weight of the process part.
        eps: added to the standard deviation.

    Raises:
        ValueError: the scores are missing or not finite; an option out of range.
    """
    number("beta", beta, -np.inf)
    number("eps", eps, 0.0, open_low=True)
    p = process_scores(steps, process, "ReNorm")
    total = summed(steps, columns)
    if not len(steps):
        return total
    outcome = np.add.reduceat(total, steps.starts)
    z = standardised(outcome, partition(steps.trajectory_group), divide=True, eps=eps)
    centred = deviations(p, Partition(steps.segment, len(steps.starts))).row
    largest = np.maximum.reduceat(np.abs(centred), steps.starts)
    q = centred / np.where(largest > 0.0, largest, 1.0)[steps.segment]
    return (z / steps.lengths)[steps.segment] + beta * q
