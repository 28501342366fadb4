"""Can a shaped reward be farmed? Exact answers on small MDPs.

Three questions. Is there a loop that pays every time round (`cycle_gain`)? Does a rollout that never succeeds earn more
than one that goes straight to the goal (`best_return`)? And how far is the shaped reward from the true one, once all
that does not change the order of policies is taken out (`starc_distance`)?
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError
from agentgym.rewards.audit.exact import shortest
from agentgym.rewards.audit.mdp import MDP
from agentgym.rewards.recipes import Recipe
from agentgym.steps import StepTable

__all__ = [
    "SHAPED",
    "Farming",
    "best_return",
    "cycle_gain",
    "farming",
    "starc_distance",
    "transition_rewards",
    "true_rewards",
]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Farming:
    """What can be had from a shaped reward.

    Attributes:
        cycle_gain: the most that a loop pays a step; above 0 it can be farmed for ever.
        failing: the largest return within the horizon of a rollout that never succeeds.
        solving: the largest return of a rollout that succeeds as soon as can be. Below ``failing``: failing pays.
        starc: distance to the true reward, in [0, 1].
    """

    cycle_gain: float
    failing: float
    solving: float
    starc: float


def transition_rewards(mdp: MDP, recipe: Recipe, progress: Float | None = None) -> Float:
    """float64[S, A, K]: the recipe's step reward of every transition; 0 where there is none.

    Milestones count as reached before (they are latched, so a loop cannot earn them twice); progress, danger and
    outcome are those of the transition.

    Args:
        mdp: the task.
        recipe: combines row by row.
        progress: float64[S] that is reported; None: the task's own.

    Raises:
        UsageError: the recipe combines over whole trajectories, so that transitions have no reward of their own.
    """
    if not recipe.stepwise:
        raise UsageError(f"recipe {recipe.name!r} combines whole trajectories; a transition has no reward in it")
    phi = mdp.progress if progress is None else progress
    state, action, outcome = np.nonzero((mdp.probability > 0) & ~mdp.over[:, None, None])
    after = mdp.target[state, action, outcome]
    bits = mdp.milestones[state, action, outcome]
    solved = mdp.success[after].astype(np.float64)
    rows = StepTable.from_columns(
        trajectory=np.arange(len(state)),
        reward=solved,
        milestones_before=bits,
        milestones=bits,
        progress_before=phi[state],
        progress=phi[after],
        danger=mdp.danger[state, action, outcome],
        terminated=mdp.over[after],
        anchor=mdp.anchor[state],
        next_anchor=mdp.anchor[after],
        action=action,
        outcome=solved,
    )
    found = np.zeros(mdp.target.shape)
    found[state, action, outcome] = recipe.step_rewards(rows)
    return found


def true_rewards(mdp: MDP) -> Float:
    """float64[S, A, K]: 1 on a transition into success, else 0."""
    moves = (mdp.probability > 0) & ~mdp.over[:, None, None]
    return np.where(moves & mdp.success[mdp.target], 1.0, 0.0)


GAMMA = 0.99
"""Discount of the potential, and of the distance to the true reward."""


def _change(mdp: MDP) -> Float:
    return mdp.progress[mdp.target] - mdp.progress[:, None, None]


def _potential(mdp: MDP) -> Float:
    """gamma phi' - phi with the potential of states that end the episode counted as 0: policy-invariant."""
    after = np.where(mdp.over, 0.0, mdp.progress)[mdp.target]
    return GAMMA * after - mdp.progress[:, None, None]


SHAPED: dict[str, Callable[[MDP], Float]] = {
    "outcome": true_rewards,
    "outcome + potential": lambda mdp: true_rewards(mdp) + _open(mdp, _potential(mdp)),
    "outcome + change": lambda mdp: true_rewards(mdp) + _open(mdp, _change(mdp)),
    "outcome + gains only": lambda mdp: true_rewards(mdp) + _open(mdp, np.maximum(_change(mdp), 0.0)),
    "outcome + level": lambda mdp: true_rewards(mdp) + _open(mdp, mdp.progress[mdp.target]),
}
"""Five ways to pay for progress, from the harmless to the farmed: by name, float64[S, A, K]."""


def _open(mdp: MDP, reward: Float) -> Float:
    return np.where((mdp.probability > 0) & ~mdp.over[:, None, None], reward, 0.0)


def cycle_gain(mdp: MDP, reward: Float) -> float:
    """The largest mean reward a step over all loops of the task, -inf where there is no loop.

    Karp's theorem (1978): with D_k(v) the largest sum over walks of k steps from the start to v,
    max over v of min over k < n of (D_n(v) - D_k(v)) / (n - k). Of random outcomes the loop takes the ones it likes.
    """
    inner = (mdp.probability > 0) & ~mdp.over[:, None, None] & ~mdp.over[mdp.target]
    source, action, outcome = np.nonzero(inner)
    target, weight = mdp.target[source, action, outcome], reward[source, action, outcome]
    order = np.argsort(target, kind="stable")
    source, target, weight = source[order], target[order], weight[order]
    nodes, first = np.unique(target, return_index=True)
    n = len(mdp)
    best = np.full((n + 1, n), -np.inf)
    best[0, mdp.start] = 0.0
    for k in range(1, n + 1):
        if len(nodes):
            best[k, nodes] = np.maximum.reduceat(best[k - 1, source] + weight, first)
    ends = np.isfinite(best[n])
    if not ends.any():
        return float("-inf")
    left = (n - np.arange(n))[:, None]
    means = np.where(np.isfinite(best[:n, ends]), (best[n, ends] - best[:n, ends]) / left, np.inf)
    gain = float(means.min(axis=0).max())
    return 0.0 if abs(gain) < 1e-12 else gain


def best_return(mdp: MDP, reward: Float, horizon: int, *, succeed: bool) -> float:
    """The largest summed reward within the horizon of all ways that succeed, or of all that do not; -inf for none.

    Of random outcomes the agent gets the ones it likes.
    """
    value = np.where(mdp.success == succeed, 0.0, -np.inf)
    open_moves = (mdp.probability > 0) & ~mdp.over[:, None, None]
    for _ in range(horizon):
        best = np.where(open_moves, reward + value[mdp.target], -np.inf).max(axis=(1, 2))
        value = np.where(mdp.over, value, best)
    return float(value[mdp.start])


def starc_distance(mdp: MDP, a: Float, b: Float, gamma: float = GAMMA) -> float:
    """Distance of two rewards that is 0 exactly where they order all policies alike (Skalse et al., 2309.15257).

    Both are canonicalised by value-adjusted levelling with the uniform policy,
    C(R)(s, a) = E_{s'}[R + gamma V(s')] - V(s), and scaled to unit length; half their Euclidean distance, in [0, 1].
    States that end the episode count as absorbing without reward. A reward whose canonical form is 0 keeps it.

    Args:
        mdp: the task.
        a, b: float64[S, A, K].
        gamma: discount, in [0, 1).
    """
    first, second = _canonical(mdp, a, gamma), _canonical(mdp, b, gamma)
    return float(np.linalg.norm(first - second) / 2.0)


def _canonical(mdp: MDP, reward: Float, gamma: float) -> Float:
    open_actions = mdp.allowed & ~mdp.over[:, None]
    uniform = open_actions / np.maximum(open_actions.sum(axis=1, keepdims=True), 1)
    expected = (mdp.probability * reward).sum(axis=2)
    moves = np.zeros((len(mdp), len(mdp)))
    flow = uniform[:, :, None] * mdp.probability
    states = np.broadcast_to(np.arange(len(mdp))[:, None, None], mdp.target.shape)
    np.add.at(moves, (states.ravel(), mdp.target.ravel()), flow.ravel())
    moves[mdp.over] = 0.0
    value = np.linalg.solve(np.eye(len(mdp)) - gamma * moves, (uniform * expected).sum(axis=1))
    after = (mdp.probability * np.where(mdp.over, 0.0, value)[mdp.target]).sum(axis=2)
    canonical = np.where(open_actions, expected + gamma * after - value[:, None], 0.0)
    size = np.linalg.norm(canonical)
    found: Float = canonical / size if size > 1e-9 else np.zeros_like(canonical)
    return found


def farming(mdp: MDP, shaped: Float, horizon: int) -> Farming:
    """All three answers for a reward float64[S, A, K]."""
    return Farming(
        cycle_gain(mdp, shaped),
        best_return(mdp, shaped, horizon, succeed=False),
        best_return(mdp, shaped, shortest(mdp), succeed=True),
        starc_distance(mdp, shaped, true_rewards(mdp)),
    )
