"""A world small enough to know every result beforehand: walk four steps; some seeds break on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import gymnasium
import numpy as np

import agentgym
from agentgym import Episode, Events, Milestone, ProcessEnv, Task, World
from agentgym.agents.policy.types import Decision, Request
from agentgym.errors import WorldError

WALK = "evaluate-test/Walk-v0"
BREAKS_FROM = 900  # episodes with seeds from here on break at their third step


class Path(World[int]):
    """A line of places; action 1 walks, 2 leaps (as far, but unsafe), 0 stays."""

    observation_space = gymnasium.spaces.Discrete(9)
    action_space = gymnasium.spaces.Discrete(3)

    def reset(self, setup: Any, rng: np.random.Generator, seed: int | None = None) -> None:
        self.at, self.acts, self.breaks = 0, 0, seed is not None and seed >= BREAKS_FROM

    def act(self, action: int) -> Events:
        self.acts += 1
        if self.breaks and self.acts == 3:
            raise WorldError("the ground gave way")
        self.at += action > 0
        return Events(("leapt",) if action == 2 else ())

    def observe(self) -> int:
        return self.at

    def state(self) -> int:
        return self.at


class Walk(Task[int]):
    """Be four places on."""

    id = "walk"
    milestones = (Milestone("half", "two places on", reached=lambda at, ep: at >= 2),)
    dangers: ClassVar[dict[str, str]] = {"leap": "it leapt"}
    horizon = 8

    def goal(self, params: Any) -> str:
        return "walk four steps"

    def success(self, state: int, ep: Episode) -> bool:
        return state == 4

    def progress(self, state: int, ep: Episode) -> float:
        return state / 4

    def danger(self, before: int, events: Events, after: int, ep: Episode) -> Iterable[str]:
        return ("leap",) if "leapt" in events.codes else ()

    def anchor_view(self, state: int, ep: Episode) -> int:
        return state


def register() -> None:
    """Make `WALK` known (once)."""
    if WALK not in gymnasium.registry:
        agentgym.register(WALK, lambda **more: ProcessEnv(Path(), Walk(), **more), family="evaluate-test")


class Fixed:
    """Always the same action; counts what it was asked."""

    def __init__(self, action: int) -> None:
        self.action, self.asked = action, 0

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.asked += len(requests)
        return [Decision(self.action) for _ in requests]

    def end(self, episode: int) -> None:
        """Nothing is kept."""
