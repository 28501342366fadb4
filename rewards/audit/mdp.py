"""Exact MDPs: a task as tables, so that its values and gradients can be known and not estimated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError

__all__ = ["MDP", "aliased", "corridor", "garnet", "slippery"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class MDP:
    """A finite task with S states, A actions and at most K outcomes of an action. Reward is 1 on entering success.

    Attributes:
        name: of the task, for tables.
        start: the state every rollout begins in.
        allowed: bool[S, A], the applicable actions; every state that goes on has one.
        target: int64[S, A, K], where an outcome leads.
        probability: float64[S, A, K], of the outcomes; sums to 1 over K where ``allowed``, else 0.
        success, dead: bool[S], states that end the episode, solved or not; both are absorbing.
        anchor: int64[S], what the process record says of the state; equal for states that are aliased.
        progress: float64[S], in [0, 1], 1 exactly where ``success``.
        milestones: int64[S, A, K], bits that the transition reaches.
        danger: bool[S, A, K], the transition is unsafe.
        labels: what the A columns are to the environment.
        place: float64[S, 2], where the agent stands, for progress that misleads; None where places mean nothing.
    """

    name: str
    start: int
    allowed: Bool
    target: Int
    probability: Float
    success: Bool
    dead: Bool
    anchor: Int
    progress: Float
    milestones: Int
    danger: Bool
    labels: tuple[Any, ...]
    place: Float | None = None

    def __len__(self) -> int:
        return len(self.success)

    @property
    def actions(self) -> int:
        """A, the number of actions."""
        return int(self.allowed.shape[1])

    @cached_property
    def over(self) -> Bool:
        """bool[S]: the episode ends here."""
        return self.success | self.dead

    @cached_property
    def distance(self) -> Float:
        """float64[S]: fewest steps to success if every action turned out as wished; inf where it is out of reach."""
        distance = np.where(self.success, 0.0, np.inf)
        possible = (self.probability > 0) & ~self.over[:, None, None]
        while True:
            nearest = np.where(possible, distance[self.target] + 1.0, np.inf).min(axis=(1, 2))
            if not np.any(nearest < distance):
                return distance
            distance = np.minimum(distance, nearest)


def slippery(mdp: MDP, slip: float) -> MDP:
    """The same task where an action is replaced, with probability ``slip``, by one drawn evenly from those allowed.

    Raises:
        UsageError: the task is random already, or ``slip`` is not in [0, 1].
    """
    if mdp.target.shape[2] != 1:
        raise UsageError(f"slips are added to a deterministic task, {mdp.name} has {mdp.target.shape[2]} outcomes")
    if not 0.0 <= slip <= 1.0:
        raise UsageError(f"slip must lie in [0, 1], got {slip!r}")
    shape = (len(mdp), mdp.actions, mdp.actions)
    even = mdp.allowed / np.maximum(mdp.allowed.sum(axis=1, keepdims=True), 1)
    probability = (1.0 - slip) * np.eye(mdp.actions)[None] + slip * even[:, None, :]
    probability = np.where(mdp.allowed[:, :, None], probability, 0.0)

    def spread(column: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
        return np.broadcast_to(column[:, :, 0][:, None, :], shape)

    return replace(
        mdp,
        name=f"{mdp.name} slip {slip:g}",
        target=np.asarray(spread(mdp.target), dtype=np.int64),
        probability=probability,
        milestones=np.asarray(spread(mdp.milestones), dtype=np.int64),
        danger=np.asarray(spread(mdp.danger), dtype=np.bool_),
    )


def corridor(length: int = 10) -> MDP:
    """``length`` cells in a row, start at the left end, success at the right: left, right, wait. A milestone halfway.

    Raises:
        UsageError: fewer than 3 cells.
    """
    if length < 3:
        raise UsageError(f"a corridor has at least 3 cells, got {length}")
    cell = np.arange(length)
    target = np.clip(cell[:, None] + np.array([-1, 1, 0]), 0, length - 1)[:, :, None]
    success = cell == length - 1
    bits = np.where(target >= length // 2, 1, 0) | np.where(success[target], 2, 0)
    return MDP(
        name=f"corridor {length}",
        start=0,
        allowed=np.ones((length, 3), dtype=np.bool_),
        target=target.astype(np.int64),
        probability=np.ones((length, 3, 1)),
        success=success,
        dead=np.zeros(length, dtype=np.bool_),
        anchor=cell.astype(np.int64),
        progress=cell / (length - 1),
        milestones=bits.astype(np.int64),
        danger=np.zeros((length, 3, 1), dtype=np.bool_),
        labels=("left", "right", "wait"),
        place=np.stack([cell, np.zeros(length)], axis=1).astype(np.float64),
    )


def garnet(states: int = 30, actions: int = 3, outcomes: int = 2, seed: int = 0) -> MDP:
    """A random graph (after Garnet, Bhatnagar et al. 2009): where every action leads is drawn once, by chance.

    Actions lead up to two states back and three ahead, so that the way is long; the first state is the start, the last
    the success, and one halfway is deadly. Progress is the share of the distance done. Nothing here has a place.

    Raises:
        UsageError: fewer than 4 states.
    """
    if states < 4:
        raise UsageError(f"a random graph needs at least 4 states, got {states}")
    rng = np.random.default_rng(seed)
    state = np.arange(states)
    target = np.clip(state[:, None, None] + rng.integers(-2, 4, size=(states, actions, outcomes)), 0, states - 1)
    success, dead = state == states - 1, state == states // 2
    target[:, 0, 0] = np.minimum(state + np.where(dead[np.minimum(state + 1, states - 1)], 2, 1), states - 1)
    made = MDP(
        name=f"garnet {states}",
        start=0,
        allowed=np.ones((states, actions), dtype=np.bool_),
        target=target,
        probability=rng.dirichlet(np.ones(outcomes), size=(states, actions)),
        success=success,
        dead=dead,
        anchor=state,
        progress=success.astype(np.float64),
        milestones=success[target].astype(np.int64),
        danger=dead[target],
        labels=tuple(range(actions)),
    )
    far = 1.0 + made.distance[~dead].max()
    return replace(made, progress=np.where(dead, 0.0, 1.0 - np.where(dead, 0.0, made.distance) / far))


def aliased(mdp: MDP, share: float, seed: int = 0) -> MDP:
    """The same task, but for a share of the states whose anchors are merged in pairs drawn at random.

    A record that confuses states; progress, policy and dynamics stay what they are.
    """
    if not 0.0 <= share <= 1.0:
        raise UsageError(f"share must lie in [0, 1], got {share!r}")
    rng = np.random.default_rng(seed)
    open_states = rng.permutation(np.flatnonzero(~mdp.over))
    pairs = int(share * len(open_states)) // 2
    anchor = mdp.anchor.copy()
    anchor[open_states[:pairs]] = anchor[open_states[pairs : 2 * pairs]]
    return replace(mdp, name=f"{mdp.name} aliased {share:g}", anchor=anchor)
