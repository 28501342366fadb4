"""Demonstrations: an oracle acts, and the student writes down what it would have had to say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from agentgym.agents.loop.types import Rollouts
from agentgym.agents.policy.types import Decision, Policy, Request
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep

__all__ = ["Demonstrator", "cut_at"]


class Demonstrator:
    """A policy that acts as the teacher does and fills in the student's tokens for it.

    Args:
        student: has ``record(requests, actions) -> list[Decision]`` (`TransformersPolicy`).
        teacher: any policy, usually the oracle.
    """

    wants_env = True
    wants_admissible = True

    def __init__(self, student: Any, teacher: Policy) -> None:
        self.student, self.teacher = student, teacher

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """The teacher's actions with the student's segments."""
        shown: list[Decision] = self.student.record(requests, [d.action for d in self.teacher.act(requests)])
        return shown

    def end(self, episode: int) -> None:
        """Both forget the episode."""
        self.teacher.end(episode)
        self.student.end(episode)


def cut_at(rollouts: Rollouts, milestones: Sequence[str], until: str) -> list[TokenStep]:
    """The demonstrations' token steps up to and including the step that reached a milestone.

    Args:
        rollouts: complete demonstrations.
        milestones: names in bit order.
        until: the milestone's name; '' keeps everything.

    Raises:
        UsageError: no such milestone, or a demonstration never reached it.
    """
    tokens = list(rollouts.tokens.steps())
    if not until:
        return tokens
    if until not in milestones:
        raise UsageError(f"demo_until must be one of {list(milestones)}, got {until!r}")
    steps = rollouts.steps
    reached = (steps.milestones >> milestones.index(until) & 1).astype(bool)
    last: dict[int, int] = {}
    for start, end in zip(steps.starts, steps.ends, strict=True):
        hits = np.flatnonzero(reached[start : end + 1])
        if not hits.size:
            raise UsageError(f"demonstration {steps.trajectory[start]} never reached {until!r}")
        last[int(steps.trajectory[start])] = int(steps.t[start + hits[0]])
    return [s for s in tokens if s.t <= last[s.trajectory]]
