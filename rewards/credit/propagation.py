"""Value propagation on the group's state graph (after RewardFlow; the estimator by differences is ours).

    V(x) = max over the group's paths from x through a rewarded step of decay^(steps) * its reward,   at least 0
    r_t  = V(x_{t+1}) - V(x_t)

Every state is worth its nearest success anywhere in the group, so a failed rollout learns where it left the way of
another. ``estimator="difference"`` returns r_t; ``"gigpo"`` gives r_t to GiGPO's step part, as the authors do. The
value after a terminating step is its reward (at least 0).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import gigpo
from agentgym.rewards.credit.checks import Float, number, one_of, step_rewards
from agentgym.rewards.credit.group_graph import group_graph
from agentgym.rewards.credit.grpo import Normalise
from agentgym.steps import StepTable

__all__ = ["assign", "state_values"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    decay: float = 0.95,
    estimator: Literal["difference", "gigpo"] = "difference",
    gamma: float = 0.95,
    normalise: Normalise = "mean_std",
    eps: float = 1e-6,
) -> Float:
    """Differences of propagated value, float64[n].

    Args:
        steps: n rows; reads ``group``, ``anchor``, ``next_anchor`` and ``terminated``.
        rewards: float[n]; None: the environment's. Only positive rewards propagate.
        decay: per step of distance, in [0, 1).
        estimator: see above.
        gamma, normalise, eps: of the "gigpo" estimator, as in `gigpo.step_part`.

    Raises:
        ValueError: rewards not finite or of another length; an option out of range.
    """
    one_of("estimator", estimator, ("difference", "gigpo"))
    before, after = state_values(steps, rewards, decay=decay)
    difference = after - before
    if estimator == "difference":
        return difference
    return gigpo.step_part(steps, difference, gamma=gamma, normalise=normalise, eps=eps)


def state_values(steps: StepTable, rewards: npt.ArrayLike | None = None, *, decay: float = 0.95) -> tuple[Float, Float]:
    """V before and after every step, float64[n] each; arguments as in `assign`."""
    number("decay", decay, 0.0, 1.0, open_high=True)
    reward = step_rewards(steps, rewards)
    if not len(steps):
        return np.zeros(0), np.zeros(0)
    graph = group_graph(steps)
    value = np.zeros(len(graph.block))
    np.maximum.at(value, graph.here, decay * reward)
    # Edges are numbered by source, so each node's edges lie together.
    sources, first = np.unique(graph.source, return_index=True)
    while len(sources):
        reached = np.maximum.reduceat(decay * value[graph.target], first)
        if not np.any(reached > value[sources]):
            break
        value[sources] = np.maximum(value[sources], reached)
    after = np.where(steps.terminated, np.maximum(reward, 0.0), value[graph.there])
    return value[graph.here], after
