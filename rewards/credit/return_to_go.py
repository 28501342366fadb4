"""Return-to-go: every step is credited with the discounted reward that follows it.

    R_t = sum_{k >= 0} gamma^k r_{t+k}        inside its trajectory

The plainest credit there is (REINFORCE, Williams 1992, with causality); no baseline, no group.
"""

from __future__ import annotations

import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, number, step_rewards
from agentgym.rewards.credit.groups import suffix_sums
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(steps: StepTable, rewards: npt.ArrayLike | None = None, *, gamma: float = 1.0) -> Float:
    """Discounted return-to-go of every step.

    Args:
        steps: n rows.
        rewards: float[n]; None: the environment's.
        gamma: discount in [0, 1].

    Returns:
        float64[n], in units of reward.

    Raises:
        ValueError: rewards of another length, NaN or infinite; gamma outside [0, 1].
    """
    number("gamma", gamma, 0.0, 1.0)
    return suffix_sums(steps, step_rewards(steps, rewards), gamma)
