"""GAE: generalised advantage estimation with a critic (Schulman et al. 2016, arXiv 1506.02438, Eq. 16).

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t)
    A_t     = sum_{k >= 0} (gamma lambda)^k delta_{t+k}        inside its trajectory

V(s_{t+1}) is the critic's value of the next row, and after the last row ``last_values``: 0 where the episode
terminated, the critic's value of the state it stood in where it was cut off.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, finite, number, step_rewards
from agentgym.rewards.credit.groups import suffix_sums
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    values: npt.ArrayLike,
    last_values: npt.ArrayLike | None = None,
    gamma: float = 0.99,
    lam: float = 0.95,
) -> Float:
    """Advantages under a critic.

    Args:
        steps: n rows, k trajectories that have steps.
        rewards: float[n]; None: the environment's.
        values: float[n], the critic's value of the state before every step.
        last_values: float[k], its value of the state after every trajectory's last step; not read where the
            trajectory terminated. None: 0 everywhere, so that a time-out counts as an end.
        gamma: discount in [0, 1].
        lam: lambda in [0, 1]; 0 is the one-step temporal difference, 1 is return-to-go minus value.

    Returns:
        float64[n], not normalised.

    Raises:
        ValueError: a column of another length, NaN or infinite; gamma or lam outside [0, 1].
    """
    number("gamma", gamma, 0.0, 1.0)
    number("lam", lam, 0.0, 1.0)
    reward = step_rewards(steps, rewards)
    value = finite("values", values, (len(steps),))
    if not len(steps):
        return np.zeros(0)
    following = np.append(value[1:], 0.0)
    following[steps.ends] = 0.0
    if last_values is not None:
        last = finite("last_values", last_values, (len(steps.ends),))
        following[steps.ends] = np.where(steps.terminated[steps.ends], 0.0, last)
    return suffix_sums(steps, reward + gamma * following - value, gamma * lam)
