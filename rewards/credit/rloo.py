"""RLOO: the score against the mean of the others (Ahmadian et al. 2024, arXiv 2402.14740).

    A_i = s_i - mean_{j != i} s_j = n / (n - 1) (s_i - mean_g)

Departures and disagreements. n counts trajectories (the paper, ``over="trajectories"``) or rows (verl-agent's
default, ``over="rows"``). A group of one keeps its raw score in the loop version of the public code
(``single="raw"``, the default here), and gets 0 in its vectorised version (``"zero"``). No division, so scores keep
their unit.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, one_of, trajectory_scores
from agentgym.rewards.credit.groups import deviations, partition
from agentgym.rewards.credit.grpo import Over, Single
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    over: Over = "trajectories",
    single: Single = "raw",
) -> Float:
    """Leave-one-out advantages, one value per trajectory, repeated on its steps.

    Args:
        steps: n rows, k trajectories that have steps; ``group`` says which are compared.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        over: what counts as one of the n members.
        single: what a group of one entry gets.

    Returns:
        float64[n], in units of the score.

    Raises:
        ValueError: scores not finite or of another length; an unknown option.
    """
    one_of("over", over, ("trajectories", "rows"))
    one_of("single", single, ("raw", "zero"))
    s = trajectory_scores(steps, rewards, score)
    if not len(steps):
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    d = deviations(s, groups, weights=steps.lengths if over == "rows" else None)
    n = d.weight[groups.code]
    advantage = d.row * (n / np.maximum(n - 1.0, 1.0))
    if single == "raw":
        advantage[n == 1] = s[n == 1]
    return advantage[steps.segment]
