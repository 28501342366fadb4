"""SALT: steps that many rollouts share are neutral, those that part them are decisive (after arXiv 2510.20022).

No code is public; the construction is ours where the paper is silent. The rollouts of a group form a graph: a node is
the anchor of a state together with the ``history`` anchors before it, an edge is (node, action, next state). An edge is
worth the mean of the trajectory advantages (GRPO) of all passages over it, and every step gets its edge's worth.

    A_t = mean over the passages of edge e_t of A_GRPO(trajectory of the passage)

Averaging over equal (state, action) pairs cannot change the gradient of a tabular policy; it lowers the variance of one
that generalises.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float, number
from agentgym.rewards.credit.groups import deviations, joint, partition
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    history: int = 0,
    normalise: grpo.Normalise = "mean_std",
    over: grpo.Over = "trajectories",
    single: grpo.Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """Trajectory advantages averaged over equal edges of the group's graph.

    Args:
        steps: n rows, k trajectories that have steps; reads ``group``, ``anchor``, ``action`` and ``next_anchor``.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        history: how many earlier anchors belong to a node.
        normalise, over, single, eps: of the trajectory advantage, as in `grpo.assign`.

    Returns:
        float64[n].

    Raises:
        ValueError: as `grpo.assign`; history negative.
    """
    number("history", history, 0)
    advantage = grpo.assign(steps, rewards, score=score, normalise=normalise, over=over, single=single, eps=eps)
    if not len(steps):
        return advantage
    edge = joint(joint(joint(partition(steps.group), steps.anchor), steps.action), steps.next_anchor)
    rows = np.arange(len(steps))
    age = rows - steps.starts[steps.segment]
    for k in range(1, int(history) + 1):
        # Rows that lack a k-th predecessor are told apart by how many they have.
        edge = joint(edge, np.minimum(age, k))
        edge = joint(edge, np.where(age >= k, steps.anchor[np.maximum(rows - k, 0)], 0))
    return advantage - deviations(advantage, edge).row
