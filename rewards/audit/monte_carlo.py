"""Advantages by continuing from snapshots, for forkable worlds that are too large or too random to enumerate.

    A(s_t, a_t) ~ mean outcome after (s_t, a_t)  -  mean outcome after s_t

both over fresh continuations of the same policy, to the environment's own horizon. The standard error comes with it:
nothing can agree with these numbers better than they agree with themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.env import ProcessEnv, Snapshot
from agentgym.errors import UsageError
from agentgym.recorder import Recorder
from agentgym.rewards.audit.assigners import Measured
from agentgym.rewards.audit.enumerate import open_env
from agentgym.rewards.audit.measures import Interval, spearman
from agentgym.rewards.audit.sample import View
from agentgym.steps import StepTable

__all__ = [
    "MonteCarlo",
    "Policy",
    "continued",
    "explorer",
    "monte_carlo_advantages",
    "monte_carlo_fidelity",
    "rollouts_of",
    "tuned_epsilon",
]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

Policy = Callable[[ProcessEnv[Any], np.random.Generator], Any]
"""The action to take where the environment stands now; memoryless, so that it can be continued from a snapshot."""


def explorer(epsilon: float) -> Policy:
    """The environment's oracle, but with probability ``epsilon`` a random (admissible, where listed) action."""
    if not 0.0 <= epsilon <= 1.0:
        raise UsageError(f"epsilon must lie in [0, 1], got {epsilon!r}")

    def act(env: ProcessEnv[Any], rng: np.random.Generator) -> Any:
        if rng.random() >= epsilon:
            script = env.oracle()
            if script is None:
                raise UsageError(f"task {env.task.id} has no oracle; explore with epsilon 1")
            return next(script)
        listed = env.admissible()
        if listed is not None:
            return listed[int(rng.integers(len(listed)))]
        env.action_space.seed(int(rng.integers(2**31)))
        return env.action_space.sample()

    return act


def tuned_epsilon(
    env_id: str,
    success_rate: float = 0.5,
    *,
    task_seed: int = 0,
    kwargs: Mapping[str, Any] | None = None,
    rollouts: int = 48,
    seed: int = 0,
) -> float:
    """The epsilon at which `explorer` succeeds about so often, by six halvings of ``rollouts`` rollouts each.

    1 where a random agent succeeds more often than wanted.
    """
    env = open_env(env_id, kwargs)
    rng = np.random.default_rng(seed)

    def rate(epsilon: float) -> float:
        return float(rollouts_of(env, env_id, explorer(epsilon), task_seed, 1, rollouts, rng)[0].outcome.mean())

    try:
        if rate(1.0) >= success_rate:
            return 1.0
        low, high = 0.0, 1.0
        for _ in range(6):
            middle = (low + high) / 2.0
            low, high = (middle, high) if rate(middle) > success_rate else (low, middle)
    finally:
        env.close()
    return (low + high) / 2.0


@dataclass(frozen=True, eq=False)
class MonteCarlo:
    """Rollouts of one task, some of whose steps have a measured advantage.

    Attributes:
        steps: n rows, groups as rolled out.
        rows: int64[m], ascending, the steps that were measured.
        value: float64[m], success-to-go of the state before them. advantage: float64[m].
        error: float64[m], standard error of the advantage, never 0 (Laplace's rule for the shares).
    """

    steps: StepTable
    rows: Int
    value: Float
    advantage: Float
    error: Float

    @property
    def reliability(self) -> float:
        """Share of the advantages' variance that is not their own error, in [0, 1]."""
        spread = float(self.advantage.var())
        return float(np.clip(1.0 - np.mean(self.error**2) / spread, 0.0, 1.0)) if spread > 0.0 else 0.0


def monte_carlo_advantages(
    env_id: str,
    policy: Policy,
    *,
    task_seed: int = 0,
    kwargs: Mapping[str, Any] | None = None,
    groups: int = 2,
    size: int = 8,
    points: int = 64,
    continuations: int = 32,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> MonteCarlo:
    """Roll out groups of one task and measure steps drawn evenly from them.

    Args:
        env_id, kwargs, task_seed: what to make, and the seed of its reset.
        policy: who plays, also in the continuations.
        groups, size: groups, and rollouts in each.
        points: steps to measure (all, if there are fewer).
        continuations: of each of the two means of a step.
        seed: of all randomness but the task's.
        tick: told (steps measured, steps).

    Raises:
        UsageError: the environment cannot be forked; fewer than 2 continuations.
    """
    if min(groups, size, points) < 1 or continuations < 2:
        raise UsageError("groups, size and points must be at least 1 and continuations at least 2")
    env = open_env(env_id, kwargs)
    rng = np.random.default_rng(seed)
    try:
        steps, forks = rollouts_of(env, env_id, policy, task_seed, groups, size, rng)
        rows = np.sort(rng.choice(len(steps), size=min(points, len(steps)), replace=False))
        after, before = np.zeros(len(rows)), np.zeros(len(rows))
        for k, row in enumerate(rows):
            here, action = forks[row]
            after[k] = sum(continued(env, policy, here, rng, action) for _ in range(continuations))
            before[k] = sum(continued(env, policy, here, rng) for _ in range(continuations))
            if tick is not None:
                tick(k + 1, len(rows))
    finally:
        env.close()
    shrunk = np.stack([after + 1.0, before + 1.0]) / (continuations + 2.0)
    error = np.sqrt((shrunk * (1.0 - shrunk)).sum(axis=0) / continuations)
    return MonteCarlo(steps, rows, before / continuations, (after - before) / continuations, error)


def rollouts_of(
    env: ProcessEnv[Any], env_id: str, policy: Policy, task_seed: int, groups: int, size: int, rng: np.random.Generator
) -> tuple[StepTable, list[tuple[Snapshot, Any]]]:
    """Groups of one task; and for every step a snapshot of the state before it, and its action."""
    recorder, forks = Recorder(), []
    for k in range(groups * size):
        _, info = env.reset(seed=task_seed)
        # The same task, but the world's own chances are this rollout's.
        _, info = env.restore(env.snapshot(), seed=int(rng.integers(2**31))) if k else (None, info)
        recorder.begin(k, info, env=env_id, seed=task_seed, horizon=env.horizon, group=k // size)
        over = False
        while not over:
            here = env.snapshot()
            action = policy(env, rng)
            _, reward, terminated, truncated, info = env.step(action)
            recorder.step(k, action, float(reward), terminated, truncated, info)
            forks.append((here, action))
            over = terminated or truncated
        recorder.finish(k, outcome=float(info["success"]))
    return recorder.take(), forks


def continued(env: ProcessEnv[Any], policy: Policy, here: Snapshot, rng: np.random.Generator, *first: Any) -> float:
    """The outcome of one continuation from a snapshot, with the given first action if there is one."""
    env.restore(here, seed=int(rng.integers(2**31)))
    actions = list(first)
    while True:
        action = actions.pop() if actions else policy(env, rng)
        _, _, terminated, truncated, info = env.step(action)
        if terminated or truncated:
            return float(info["success"])


def monte_carlo_fidelity(found: MonteCarlo, measured: Measured, *, resamples: int = 1000) -> dict[str, Any]:
    """How an assigner's numbers agree with measured advantages.

    Returns:
        ``spearman``: `Interval`, bootstrapped over rollouts; ``sign``: share of right signs where the measured
        advantage is at least two standard errors from 0 (zeros count half; NaN where there is no such step);
        ``certain``: how many such steps there are.
    """
    advantage = measured(View(found.steps, np.full(len(found.steps), np.nan)))[found.rows]
    rollouts, code = np.unique(found.steps.trajectory[found.rows], return_inverse=True)
    members = [np.flatnonzero(code == k) for k in range(len(rollouts))]
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(resamples):
        picks = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        drawn.append(spearman(found.advantage[picks], advantage[picks]))
    low, high = np.quantile(drawn, [0.025, 0.975])
    certain = np.abs(found.advantage) >= 2.0 * found.error
    agree = np.sign(found.advantage[certain]) * np.sign(advantage[certain])
    return {
        "spearman": Interval(spearman(found.advantage, advantage), float(low), float(high)),
        "sign": float((1.0 + agree).mean() / 2.0) if len(agree) else float("nan"),
        "certain": int(certain.sum()),
    }
