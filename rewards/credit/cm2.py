"""CM2: checklist rewards compared turn by turn (CM2-RLCR-Tool-Agent, after the released code).

    A_t = r_t - mean of r at position t over the rollouts of the group that get that far        optionally / (sd + eps)

A turn's reward is the share of its checklist that holds. There is no suffix sum: a turn answers for itself. Positions
that at most ``small`` rollouts reach get 0 (4 in the released code). Rollouts whose judge or tools failed, named by the
extra column ``failed``, leave the statistics and get 0. sd is the sample's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, number, step_rewards
from agentgym.rewards.credit.groups import joint, partition, standardised
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    divide: bool = False,
    small: int = 4,
    eps: float = 1e-6,
) -> Float:
    """Position-wise group advantages, float64[n].

    Args:
        steps: n rows, one per turn; reads the extra column ``failed`` (bool[n]) where there is one.
        rewards: float[n] turn rewards; None: the environment's.
        divide: by the standard deviation.
        small: positions reached by so few rollouts, or fewer, get 0.
        eps: added to the standard deviation.

    Raises:
        ValueError: rewards not finite or of another length; an option out of range; ``failed`` not bool.
    """
    number("small", small, 0)
    number("eps", eps, 0.0, open_low=True)
    r = step_rewards(steps, rewards)
    if not len(steps):
        return np.zeros(0)
    failed = steps.extras.get("failed", np.zeros(len(steps), dtype=bool))
    if failed.dtype != np.bool_:
        raise ValueError(f"extra 'failed' must be bool, got {failed.dtype}")
    position = np.arange(len(steps)) - steps.starts[steps.segment]
    place = joint(partition(steps.group), position)
    kept = np.where(failed, 0.0, 1.0)
    reached = place.totals(kept)[place.code]
    advantage = standardised(r, place, divide=divide, eps=eps, weights=kept)
    return np.where((reached > small) & ~failed, advantage, 0.0)
