"""Consistency blend: where a group agrees, compare it with the other groups (after COPO; the blend is ours).

    A_i = (1 - c_g) A_local + c_g A_global
    A_local  = (s_i - mean_g) / (sd_g + eps)
    A_global = (mean_g - mean of group means) / (sd of group means + eps)
    c_g      = 1 - H_g / log n_g         H_g the entropy of the group's outcomes; 1: all alike

GRPO learns nothing from a group that agrees; here such a group is pushed up where it does better than the batch and
down where it does worse. With one group in the batch A_global is 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, number, trajectory_scores
from agentgym.rewards.credit.groups import Partition, deviations, joint, partition, standardised
from agentgym.steps import StepTable

__all__ = ["assign", "consistency"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    global_weight: float = 1.0,
    eps: float = 1e-6,
) -> Float:
    """Local and global advantages blended by consistency, float64[n].

    Args:
        steps: n rows, k trajectories that have steps.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        global_weight: of the global part.
        eps: added to standard deviations.

    Raises:
        ValueError: scores not finite or of another length; an option out of range.
    """
    number("global_weight", global_weight, -np.inf)
    number("eps", eps, 0.0, open_low=True)
    s = trajectory_scores(steps, rewards, score)
    if not len(steps):
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    local = standardised(s, groups, divide=True, eps=eps)
    means = deviations(s, groups).mean
    batch = standardised(means, Partition(np.zeros(groups.count, dtype=np.int64), 1), divide=True, eps=eps)
    c = consistency(s, groups)
    advantage = (1.0 - c)[groups.code] * local + global_weight * (c * batch)[groups.code]
    return advantage[steps.segment]


def consistency(scores: Float, groups: Partition) -> Float:
    """float64[groups]: 1 minus the entropy of equal scores over its largest value; 1 for a group of one."""
    alike = joint(groups, (scores + 0.0).view(np.int64))
    share = alike.size / groups.size[_owner(alike, groups)]
    entropy = np.bincount(_owner(alike, groups), weights=-share * np.log(share), minlength=groups.count)
    largest = np.log(np.maximum(groups.size, 2))
    return 1.0 - entropy / largest


def _owner(alike: Partition, groups: Partition) -> npt.NDArray[np.int64]:
    owner = np.empty(alike.count, dtype=np.int64)
    owner[alike.code] = groups.code
    return owner
