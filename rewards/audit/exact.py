"""Finite-horizon values, advantages and the policy gradient of a tabular policy, by dynamic programming."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError
from agentgym.rewards.audit.mdp import MDP

__all__ = ["Solution", "behaviour", "shortest", "softmax", "solve"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Solution:
    """What is true of a policy on a task within a horizon. The objective is J = P(success within H), undiscounted.

    Attributes:
        mdp: the task.
        policy: float64[S, A], 0 where an action is not allowed.
        horizon: H in steps.
        value: float64[H + 1, S], the probability of success from a state with so many steps left; 1 in success.
    """

    mdp: MDP
    policy: Float
    horizon: int
    value: Float

    @property
    def success_rate(self) -> float:
        """J."""
        return float(self.value[self.horizon, self.mdp.start])

    @cached_property
    def advantage(self) -> Float:
        """float64[H + 1, S, A]: Q - V with so many steps left; 0 for 0 steps, after the end and where not allowed."""
        q = np.zeros((self.horizon + 1, *self.policy.shape))
        for left in range(1, self.horizon + 1):
            q[left] = _q(self.mdp, self.value[left - 1])
        open_actions = self.mdp.allowed & ~self.mdp.over[:, None]
        found = np.where(open_actions, q - self.value[:, :, None], 0.0)
        found[0] = 0.0
        return found

    @cached_property
    def gradient(self) -> Float:
        """float64[S, A]: the derivative of J by the logits, sum over t of P(s_t = s) pi(a|s) A_{H-t}(s, a)."""
        total = np.zeros_like(self.policy)
        here = np.zeros(len(self.mdp))
        here[self.mdp.start] = 1.0
        for t in range(self.horizon):
            taken = here[:, None] * self.policy
            total += taken * self.advantage[self.horizon - t]
            flow = taken[:, :, None] * self.mdp.probability
            arrived = np.bincount(self.mdp.target.ravel(), weights=flow.ravel(), minlength=len(self.mdp))
            here = np.where(self.mdp.over, 0.0, arrived)
        return total


def softmax(logits: Float, allowed: npt.NDArray[np.bool_]) -> Float:
    """float64[S, A]: softmax over the allowed actions; 0 elsewhere, and in states without actions."""
    masked = np.where(allowed, logits, -np.inf)
    highest = masked.max(axis=1, keepdims=True)
    weights = np.exp(masked - np.where(np.isfinite(highest), highest, 0.0))
    policy: Float = weights / np.maximum(weights.sum(axis=1, keepdims=True), 1e-300)
    return policy


def solve(mdp: MDP, policy: Float, horizon: int) -> Solution:
    """Values by backward induction.

    Args:
        mdp: the task.
        policy: float64[S, A], rows sum to 1 in states that go on.
        horizon: at least 1.
    """
    if horizon < 1:
        raise UsageError(f"horizon must be at least 1, got {horizon}")
    value = np.zeros((horizon + 1, len(mdp)))
    value[:, mdp.success] = 1.0
    open_states = ~mdp.over
    for left in range(1, horizon + 1):
        value[left, open_states] = (policy * _q(mdp, value[left - 1])).sum(axis=1)[open_states]
    return Solution(mdp, policy, horizon, value)


def _q(mdp: MDP, following: Float) -> Float:
    found: Float = (mdp.probability * following[mdp.target]).sum(axis=2)
    return found


def behaviour(
    mdp: MDP, success_rate: float, horizon: int, *, noise: float = 1.0, seed: int = 0, tolerance: float = 1e-3
) -> Solution:
    """A policy of a given competence: logits = -beta E[distance to go after the action] + fixed noise.

    beta is found by bisection. The distance after an action is counted at most 2 above that before it, so that death is
    as bad as a detour of two steps and not infinitely bad.

    Args:
        mdp: the task.
        success_rate: wanted J, in (0, 1).
        horizon: H.
        noise: standard deviation of the logits' noise, drawn once for every (state, action).
        seed: of that noise.
        tolerance: on J.

    Raises:
        UsageError: no beta gives that J (too short a horizon, too much slipping).
    """
    if not 0.0 < success_rate < 1.0:
        raise UsageError(f"success_rate must lie in (0, 1), got {success_rate!r}")
    rng = np.random.default_rng(seed)
    fixed = noise * rng.standard_normal((len(mdp), mdp.actions))
    far = 2.0 + (mdp.distance[np.isfinite(mdp.distance)].max() if np.isfinite(mdp.distance).any() else 0.0)
    distance = np.where(np.isfinite(mdp.distance), mdp.distance, far)
    after = np.minimum(distance[mdp.target], distance[:, None, None] + 2.0)
    change = (mdp.probability * after).sum(axis=2) - distance[:, None]
    low, high = -30.0, 30.0
    for _ in range(60):
        beta = (low + high) / 2
        found = solve(mdp, softmax(fixed - beta * change, mdp.allowed), horizon)
        if abs(found.success_rate - success_rate) <= tolerance:
            return found
        low, high = (beta, high) if found.success_rate < success_rate else (low, beta)
    raise UsageError(
        f"{mdp.name}: no policy of this family succeeds at {success_rate:g} within {horizon} steps "
        f"(nearest {found.success_rate:.3g}); choose another rate or horizon"
    )


def shortest(mdp: MDP) -> int:
    """Fewest steps from the start to success.

    Raises:
        UsageError: there is no way.
    """
    steps = float(mdp.distance[mdp.start])
    if not math.isfinite(steps):
        raise UsageError(f"{mdp.name} cannot be solved from its start")
    return int(steps)
