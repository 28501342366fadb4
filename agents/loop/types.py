"""Jobs in, rollouts out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["Ended", "Job", "Rollouts"]


@dataclass(frozen=True)
class Job:
    """One episode to play.

    Attributes:
        env: environment id; kwargs: given to ``gymnasium.make``.
        seed: given to ``reset``.
        group: rollouts of one environment, arguments and seed share it.
        trajectory: number of the episode, unique in the run; keys the policy's randomness.
        greedy: act greedily.
        options: given to ``reset``.
    """

    env: str
    seed: int
    trajectory: int
    group: int = 0
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    greedy: bool = False
    options: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """One episode is over, as `collect` tells it to ``on_episode``.

    Attributes:
        job: what was played; steps: how many steps it took.
        reward: sum of the environment's rewards; success: the task was solved.
        error: why its world broke, '' when it did not.
    """

    job: Job
    steps: int
    reward: float
    success: bool
    error: str = ""


@dataclass(frozen=True)
class Rollouts:
    """What came of some jobs: the steps and, for policies that speak in tokens, their tokens.

    Attributes:
        steps, tokens: the columns.
        errors: trajectory -> why its world broke (those episodes have status "error" in ``steps.trajectories``).
        seconds: wall time; busy: share of it in which the policy was computing.
    """

    steps: StepTable
    tokens: TokenTable
    errors: Mapping[int, str] = field(default_factory=dict)
    seconds: float = 0.0
    busy: float = 0.0

    @classmethod
    def concat(cls, parts: Sequence[Rollouts]) -> Rollouts:
        """One of many; trajectories must be distinct."""
        seconds = sum(p.seconds for p in parts)
        return cls(
            StepTable.concat(p.steps for p in parts),
            TokenTable.concat(p.tokens for p in parts),
            {k: v for p in parts for k, v in p.errors.items()},
            seconds,
            sum(p.busy * p.seconds for p in parts) / seconds if seconds else 0.0,
        )
