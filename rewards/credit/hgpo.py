"""HGPO: hierarchy of groups, by how much of the recent history agrees (ICLR 2026, arXiv 2602.22817).

    level k = 1 .. K + 1: the rows of a group whose last k states are equal (rows with k - 1 predecessors only)
    A_k     = (R - mean) / (sd_0 + eps)          inside the level's class; classes of one row are left out
    A       = sum_k w_k A_k / (sum_k w_k + eps)  over the levels with A_k != 0

R is the discounted return-to-go, sd_0 the population standard deviation (GiGPO divides by the sample's), a state is an
``anchor``.

Departures and disagreements. The paper's Eq. 7 weighs level k by k^alpha (1, 2, 3, ..; ``weights="paper"``, the
default), the released code by (k + 1)^alpha (2, 3, 4, ..; ``weights="code"``). By default there is no episode-level
term at all; ``base_group=True`` adds GiGPO's episode advantage as one more level of weight 1, as the code does. The
test for A_k != 0 is discontinuous; in float64 with equal classes at exactly 0 it is at least reproducible.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import gigpo
from agentgym.rewards.credit.checks import Float, number, one_of, step_rewards
from agentgym.rewards.credit.groups import Partition, joint, standardised, suffix_sums
from agentgym.rewards.credit.grpo import Normalise, Over, Single
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    history: int = 2,
    alpha: float = 1.0,
    weights: Literal["paper", "code"] = "paper",
    base_group: bool = False,
    gamma: float = 0.95,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """Weighted mean of step advantages over levels of shared history.

    Args:
        steps: n rows, k trajectories that have steps; reads ``group`` and ``anchor``.
        rewards: float[n]; None: the environment's.
        score: float[k] episode scores; read with ``base_group`` only.
        history: K, how many earlier states the last level compares (2 or 4 in the paper).
        alpha: exponent of the weights; 0 weighs all levels alike.
        weights: numbering of the levels in their weights.
        base_group: add the episode advantage as a level.
        gamma: discount in [0, 1].
        normalise: "mean_std", or "mean" for no division.
        over: what has one entry in the episode statistics of the base group.
        single: what a group of one entry gets as episode advantage in the base group.
        eps: added to standard deviations and to the sum of weights.

    Returns:
        float64[n]; 0 where no level compares the row with another.

    Raises:
        ValueError: columns not finite or of another length; an option out of range.
    """
    one_of("normalise", normalise, ("mean", "mean_std"))
    one_of("weights", weights, ("paper", "code"))
    number("history", history, 0)
    number("alpha", alpha, -np.inf)
    number("gamma", gamma, 0.0, 1.0)
    number("eps", eps, 0.0, open_low=True)
    if score is not None and not base_group:
        raise ValueError("'score' makes the base group, which is off; use base_group=True or leave it out")
    returns = suffix_sums(steps, step_rewards(steps, rewards), gamma)
    n = len(steps)
    total, weight = np.zeros(n), np.zeros(n)
    if base_group:
        base = gigpo.episode_part(steps, rewards, score=score, normalise=normalise, over=over, single=single, eps=eps)
        total += base
        weight += base != 0.0
    if not n:
        return total
    states = gigpo.state_groups(steps)
    level, rows = states, np.arange(n)
    age = rows - steps.starts[steps.segment]
    for k in range(1, int(history) + 2):
        if k > 1:
            rows = np.flatnonzero(age >= k - 1)
            if not rows.size:
                break
            # A row's last k states: its own last k - 1, and what its predecessor saw k - 2 steps before that.
            level = joint(level, states.code[rows - (k - 1)])
        advantage = standardised(returns[rows], level, divide=normalise == "mean_std", eps=eps, ddof=0)
        w = (k if weights == "paper" else k + 1) ** float(alpha)
        total[rows] += w * advantage
        weight[rows] += w * (advantage != 0.0)
        level = _longer(level, rows, age, k)
    return total / (weight + eps)


def _longer(level: Partition, rows: npt.NDArray[np.int64], age: npt.NDArray[np.int64], k: int) -> Partition:
    """The level's classes on the rows that have k predecessors."""
    return Partition(level.code[age[rows] >= k], level.count)
