"""Groups of rollouts drawn from an exact MDP as a `StepTable`, with the truth kept beside it and out of reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError
from agentgym.rewards.audit.exact import Solution
from agentgym.rewards.audit.mdp import MDP
from agentgym.steps import StepTable, TrajectoryTable

__all__ = ["PROGRESS", "Critic", "Progress", "Sample", "View", "draw", "progress_of"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

Progress = Literal["exact", "noisy", "manhattan", "reversed", "none"]
PROGRESS: tuple[Progress, ...] = get_args(Progress)

_SPREAD = np.uint64(0x9E3779B97F4A7C15)  # odd: multiplication by it is a bijection on 64 bits


@dataclass(frozen=True, eq=False)
class Critic:
    """Values of anchors fitted on other rollouts of the same policy: every-visit Monte-Carlo means of the outcome.

    Attributes:
        anchor: int64[m], ascending. value: float64[m]. unknown: of an anchor never met, the mean outcome.
    """

    anchor: Int
    value: Float
    unknown: float

    @classmethod
    def fit(cls, steps: StepTable) -> Critic:
        """From rollouts; the mean outcome counts as one more visit everywhere."""
        anchor, code, visits = np.unique(steps.anchor, return_inverse=True, return_counts=True)
        mean = float(steps.outcome.mean())
        return cls(anchor, (np.bincount(code, weights=steps.outcome[steps.segment]) + mean) / (visits + 1.0), mean)

    def __call__(self, anchor: Int) -> Float:
        """float64[n]."""
        at = np.minimum(np.searchsorted(self.anchor, anchor), len(self.anchor) - 1)
        return np.where(self.anchor[at] == anchor, self.value[at], self.unknown)


@dataclass(frozen=True, eq=False)
class View:
    """What an assigner is given, and what the audit's yardsticks may look at beside it.

    Attributes:
        steps: n rows; all that an assigner sees.
        advantage: float64[n], the true one, with the steps that were left.
        critic: float64[n, 2], a fitted critic's value before and after every step; None where none was fitted.
    """

    steps: StepTable
    advantage: Float
    critic: Float | None = None

    @classmethod
    def join(cls, views: Sequence[View]) -> View:
        """One batch of several, in ascending order of their trajectories; critics only where all have one."""
        critics = [v.critic for v in views if v.critic is not None]
        return cls(
            StepTable.concat([v.steps for v in views]),
            np.concatenate([v.advantage for v in views]),
            np.concatenate(critics) if len(critics) == len(views) else None,
        )


@dataclass(frozen=True, eq=False)
class Sample:
    """A batch of groups and what is true of it.

    Attributes:
        view: what assigners are given.
        solution: the policy that drew it, and its values.
        state, action: int64[n], rows and columns of the tables.
    """

    view: View
    solution: Solution
    state: Int
    action: Int

    @property
    def steps(self) -> StepTable:
        """The rollouts."""
        return self.view.steps

    @property
    def advantage(self) -> Float:
        """float64[n], the true one."""
        return self.view.advantage

    def groups(self) -> list[Sample]:
        """Every group on its own."""
        found = []
        for group in np.unique(self.steps.group):
            mask = self.steps.group == group
            critic = None if self.view.critic is None else self.view.critic[mask]
            view = View(self.steps[mask], self.advantage[mask], critic)
            found.append(Sample(view, self.solution, self.state[mask], self.action[mask]))
        return found


def progress_of(mdp: MDP, kind: Progress, seed: int = 0) -> Float:
    """float64[S]: the progress that is reported, in [0, 1], 1 exactly in success.

    ``exact``: the task's own. ``noisy``: with normal noise of standard deviation 0.15, drawn once for every state.
    ``manhattan``: by the distance in cells to the nearest solved place, which knows neither walls, keys nor lava.
    ``reversed``: 1 minus the task's own. ``none``: 0 until solved.

    Raises:
        UsageError: "manhattan" where states have no place.
    """
    below_one = 1.0 - 1e-9
    if kind == "exact":
        return mdp.progress
    if kind == "noisy":
        noise = np.random.default_rng(seed).normal(0.0, 0.15, len(mdp))
        found = np.clip(mdp.progress + noise, 0.0, below_one)
    elif kind == "manhattan":
        if mdp.place is None:
            raise UsageError(f"{mdp.name} has no places, so progress cannot be 'manhattan'; choose one of {PROGRESS}")
        goals = mdp.place[mdp.success]
        far = np.abs(mdp.place[:, None, :] - goals[None]).sum(axis=2).min(axis=1)
        found = np.clip(1.0 - far / max(float(far[mdp.start]), 1.0), 0.0, below_one)
    elif kind == "reversed":
        found = np.clip(1.0 - mdp.progress, 0.0, below_one)
    elif kind == "none":
        found = np.zeros(len(mdp))
    else:
        raise UsageError(f"progress must be one of {PROGRESS}, got {kind!r}")
    return np.where(mdp.success, 1.0, found)


def draw(
    solution: Solution,
    rng: np.random.Generator,
    *,
    groups: int,
    size: int = 8,
    dilution: int = 1,
    progress: Float | None = None,
    critic: Critic | None = None,
    first: int = 0,
) -> Sample:
    """Rollouts of the policy, all from the start, all at once.

    Args:
        solution: policy, task and horizon.
        rng: the caller's.
        groups: how many.
        size: rollouts a group.
        dilution: values of a nuisance that is drawn anew at every step, is part of the anchor and changes nothing else;
            1 for none.
        progress: float64[S] that is reported; None: the task's own.
        critic: values anchors for those who need one.
        first: number of the first group and trajectory, so that samples can be joined.
    """
    if groups < 1 or size < 1 or dilution < 1:
        raise UsageError(f"groups, size and dilution must be at least 1, got {groups}, {size}, {dilution}")
    mdp, horizon, n = solution.mdp, solution.horizon, groups * size
    phi = mdp.progress if progress is None else progress
    chances, outcomes = np.cumsum(solution.policy, axis=1), np.cumsum(mdp.probability, axis=2)
    state = np.full((n, horizon + 1), mdp.start, dtype=np.int64)
    action = np.zeros((n, horizon), dtype=np.int64)
    outcome = np.zeros((n, horizon), dtype=np.int64)
    alive = np.zeros((n, horizon), dtype=np.bool_)
    for t in range(horizon):
        here = state[:, t]
        alive[:, t] = ~mdp.over[here]
        a = _pick(chances[here], rng)
        k = _pick(outcomes[here, a], rng) if mdp.target.shape[2] > 1 else np.zeros(n, dtype=np.int64)
        action[:, t], outcome[:, t] = a, k
        state[:, t + 1] = np.where(alive[:, t], mdp.target[here, a, k], here)
    nuisance = rng.integers(dilution, size=(n, horizon + 1)) if dilution > 1 else np.zeros_like(state)
    anchor = _mixed(mdp.anchor[state], nuisance)
    before, after, took = state[:, :-1][alive], state[:, 1:][alive], action[alive]
    reached = np.where(alive, mdp.milestones[state[:, :-1], action, outcome], 0)
    latched = np.bitwise_or.accumulate(reached, axis=1)
    earlier = np.concatenate([np.zeros((n, 1), dtype=np.int64), latched[:, :-1]], axis=1)
    rollout, time = np.nonzero(alive)
    last = time == alive.sum(axis=1)[rollout] - 1
    solved = mdp.success[state[:, -1]]
    ids = first * size + np.arange(n)
    steps = StepTable.from_columns(
        trajectory=ids[rollout],
        group=first + rollout // size,
        t=time.astype(np.int32),
        reward=mdp.success[after].astype(np.float64),
        milestones_before=earlier[alive],
        milestones=latched[alive],
        progress_before=phi[before],
        progress=phi[after],
        danger=mdp.danger[before, took, outcome[alive]],
        terminated=mdp.over[after],
        truncated=last & ~mdp.over[after],
        anchor=anchor[:, :-1][alive],
        next_anchor=anchor[:, 1:][alive],
        action=took,
        trajectories=TrajectoryTable.from_columns(
            id=ids, outcome=solved.astype(np.float64), success=solved, horizon=np.full(n, horizon, dtype=np.int32)
        ),
    )
    values = None if critic is None else np.stack([critic(steps.anchor), critic(steps.next_anchor)], axis=1)
    return Sample(View(steps, solution.advantage[horizon - time, before, took], values), solution, before, took)


def _pick(cumulative: Float, rng: np.random.Generator) -> Int:
    """One index a row, by cumulative weights; rows of zeros (the episode is over) give some index."""
    u = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
    found: Int = np.minimum((u >= cumulative).sum(axis=1), cumulative.shape[1] - 1)
    return found


def _mixed(anchor: Int, nuisance: Int) -> Int:
    """Distinct 64-bit anchors for distinct (anchor, nuisance), up to collisions of a hash."""
    mixed = (anchor.view(np.uint64) ^ (nuisance.view(np.uint64) * np.uint64(0xD1B54A32D192ED03))) * _SPREAD
    return (mixed ^ (mixed >> np.uint64(29))).view(np.int64)
