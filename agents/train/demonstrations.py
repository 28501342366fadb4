"""Demonstrations: an oracle acts, and the student writes down what it would have had to say, and what it could have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.agents.loop.types import Rollouts
from agentgym.agents.policy.types import Decision, Policy, Request
from agentgym.errors import UsageError
from agentgym.tokens import CandidateSet, TokenStep

__all__ = ["Demonstrator", "Handover", "Lessons", "cut_at"]


class Demonstrator:
    """A policy that acts as the teacher does and fills in the student's tokens for it.

    Args:
        student: has ``record(requests, actions) -> list[Decision]`` (`TransformersPolicy`).
        teacher: any policy, usually the oracle.

    Attributes:
        applicable: (trajectory, t) -> the applicable actions there in the student's tokens, in the world's order; no
            entry where the world lists none.
    """

    wants_env = True
    wants_admissible = True

    def __init__(self, student: Any, teacher: Policy) -> None:
        self.student, self.teacher = student, teacher
        self.applicable: dict[tuple[int, int], CandidateSet] = {}

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """The teacher's actions with the student's segments."""
        for r in requests:
            if r.admissible:
                self.applicable[r.episode, r.step] = tuple(map(self.student.written, r.admissible))
        shown: list[Decision] = self.student.record(requests, [d.action for d in self.teacher.act(requests)])
        return shown

    def end(self, episode: int) -> None:
        """Both forget the episode."""
        self.teacher.end(episode)
        self.student.end(episode)


class Handover:
    """One policy begins every episode, another goes on from a step of its own.

    Args:
        first, then: the two.
        at: episode -> the first step that is ``then``'s.
    """

    wants_env = True
    wants_admissible = True

    def __init__(self, first: Policy, then: Policy, at: Mapping[int, int]) -> None:
        self.first, self.then, self.at = first, then, at

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Each request is answered by whoever's turn it is in its episode."""
        mine = [r for r in requests if r.step < self.at[r.episode]]
        other = [r for r in requests if r.step >= self.at[r.episode]]
        answers = dict(zip([r.episode for r in mine], self.first.act(mine), strict=True))
        answers |= dict(zip([r.episode for r in other], self.then.act(other), strict=True))
        return [answers[r.episode] for r in requests]

    def end(self, episode: int) -> None:
        """Both forget the episode."""
        self.first.end(episode)
        self.then.end(episode)


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


@dataclass(frozen=True)
class Lessons:
    """What a model that writes its actions is taught in every pass of a warm start, drawn anew for each.

    A *demonstrated* step teaches its own action, but for a share ``smoothing`` of the draws, which teach any applicable
    one: over the passes its target is ``(1 - smoothing) * demonstrated + smoothing * uniform``, the target that scored
    demonstrations have exactly. A *played* step teaches any applicable action, whatever was done there. As many played
    as demonstrated steps are drawn: first an action, then a step at which it was applicable, so that what can seldom be
    done (open a door) is met as often as what always can (turn left).

    Attributes:
        demonstrated, played: generated steps; ``played`` may be empty.
        applicable: (trajectory, t) -> the applicable actions there (`Demonstrator.applicable`).
        smoothing: in [0, 1).
        seed: of the draws.

    Raises:
        UsageError: a step whose applicable actions are needed has none.
    """

    demonstrated: Sequence[TokenStep]
    played: Sequence[TokenStep]
    applicable: Mapping[tuple[int, int], CandidateSet]
    smoothing: float
    seed: int

    def __post_init__(self) -> None:
        for s in (*(self.demonstrated if self.smoothing else ()), *self.played):
            if not self.applicable.get((s.trajectory, s.t)):
                raise UsageError(
                    "smoothing and random play of generated actions need a world that lists its applicable actions; "
                    f"trajectory {s.trajectory} has none at t={s.t}"
                )

    def __call__(self, epoch: int) -> list[TokenStep]:
        """The steps of a pass: all demonstrated ones, then as many played."""
        rng = np.random.default_rng([self.seed, 0xD1, epoch])
        n = len(self.demonstrated)
        smoothed = rng.random(n) < self.smoothing
        steps = [self._any(s, rng) if k else s for s, k in zip(self.demonstrated, smoothed, strict=True)]
        if self.played:
            chosen = rng.choice(len(self.played), n, p=self._chances)
            steps += [self._any(self.played[k], rng) for k in chosen]
        return steps

    @cached_property
    def _chances(self) -> npt.NDArray[np.float64]:
        """float64[played]: the chance of each to be drawn."""
        options = [self.applicable[s.trajectory, s.t] for s in self.played]
        count = Counter(a for o in options for a in o)
        chances: npt.NDArray[np.float64] = np.array([sum(1.0 / count[a] for a in o) for o in options])
        chances /= chances.sum()
        return chances

    def _any(self, step: TokenStep, rng: np.random.Generator) -> TokenStep:
        options = self.applicable[step.trajectory, step.t]
        action = np.array(options[int(rng.integers(len(options)))], dtype=np.int64)
        unknown = np.full(len(action), np.nan)
        return replace(step, action=action, logprob=unknown, logprob_behaviour=unknown)
