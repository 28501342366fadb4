"""What the grid tasks share: distances as progress, greedy descent as oracle, the whole state as anchor."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any

from agentgym.envs.grid import codes
from agentgym.envs.grid.actions import PHRASE_WORDS, ActionFormat, encode
from agentgym.envs.grid.distance import FAR, find_lock
from agentgym.envs.grid.state import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, GridState, Level, successor
from agentgym.envs.grid.words import Landmark, memory_words
from agentgym.errors import UsageError
from agentgym.task import Actor, Episode, Milestone, ProgressKind, Task

__all__ = ["GridTask", "at_goal", "door_open", "has"]


class GridTask(Task[GridState]):
    """A minigrid level with something to reach. Subclasses say which level, how far it is, and when it is done.

    Progress is ``max(0, 1 - d(state) / d(start))`` with d the fewest actions to completion by minigrid's rules: 0 at
    the start and wherever completion is as far as it was there or out of reach, 1 if and only if solved.

    The anchor covers the whole state (cells, the agent's place, direction and load) but not what a memory view has
    shown: looking is no part of these tasks.

    Args:
        horizon: steps until truncation; None for minigrid's own limit.
        actions: the format in which oracle and offenders act.
        **level: arguments of the family ("size", …).
    """

    progress_kind: ProgressKind = "exact"
    landmarks: tuple[Landmark, ...] = ("goal",)
    """What the memory view tracks."""
    kinds: tuple[str, ...] = ("goal",)
    """Kinds of things in the levels, for the vocabulary."""
    mission: str
    reach: int
    """The farthest that two cells of a level can be along one axis."""

    def __init__(self, horizon: int | None = None, actions: ActionFormat = "index", **level: Any) -> None:
        self.actions: ActionFormat = actions
        self.level, self.horizon, self.id = self.configure(**level)
        if horizon is not None:
            if horizon < 1:
                raise UsageError(f"horizon must be at least 1 or None for minigrid's own, got {horizon}")
            self.id += f"-H{horizon}"
            self.horizon = horizon
        self.level = Level(self.level.cls, {**self.level.kwargs, "max_steps": self.horizon})

    @abstractmethod
    def configure(self, **level: Any) -> tuple[Level, int, str]:
        """The level, minigrid's own step limit for it, and the task's id; also sets `reach`."""

    @abstractmethod
    def distance(self, state: GridState) -> int:
        """Fewest actions from here to completion; `FAR` if it is out of reach, 0 if and only if solved."""

    def setup(self, params: Mapping[str, Any]) -> Level:
        """The level for `GridWorld`."""
        return self.level

    def goal(self, params: Mapping[str, Any]) -> str:
        """The mission in words; minigrid's own unless the family says otherwise."""
        return self.mission

    def success(self, state: GridState, ep: Episode) -> bool:
        """Standing on the goal square."""
        return codes.KIND[state.cells[state.pos]] == codes.GOAL

    def progress(self, state: GridState, ep: Episode) -> float:
        """``max(0, 1 - d(state) / d(start))``."""
        start = ep.memo.get("distance")
        if start is None:
            start = ep.memo["distance"] = self.distance(ep.start)
        return max(0.0, 1.0 - self.distance(state) / start)

    def anchor_view(self, state: GridState, ep: Episode) -> bytes:
        """The whole state."""
        return state.view()

    def oracle(self, ep: Episode, peek: Callable[[], GridState]) -> Actor:
        """A shortest way from wherever the episode stands now, planned again at every step."""
        while not self.success(peek(), ep):
            yield encode(self.best(peek()), peek(), self.actions)

    def best(self, state: GridState) -> int:
        """An action that brings completion one step nearer.

        Raises:
            UsageError: completion is out of reach from here.
        """
        wanted = self.distance(state) - 1
        if wanted < FAR - 1:
            for action in (FORWARD, LEFT, RIGHT, TOGGLE, PICKUP, DROP):
                if self.distance(successor(state, action)) == wanted:
                    return action
        raise UsageError(f"{self.id}: no way from here to completion, so the oracle cannot go on")

    def vocabulary(self) -> tuple[str, ...]:
        """All words that the memory view and the actions can hold, in a fixed order; for word-level tokenizers."""
        words = memory_words(self.landmarks, self.kinds, self.reach)
        return tuple(dict.fromkeys((*words, *PHRASE_WORDS))) if self.actions == "phrases" else words


def has(name: str, kind: int, description: str) -> Milestone[GridState]:
    """A milestone: carrying something of a kind."""
    return Milestone(name, description, lambda s, ep: codes.KIND[s.carrying] == kind)


door_open: Milestone[GridState] = Milestone(
    "door_open", "The locked door has been opened.", lambda s, ep: find_lock(s.cells) < 0
)
at_goal: Milestone[GridState] = Milestone(
    "at_goal", "Standing on the goal square.", lambda s, ep: codes.KIND[s.cells[s.pos]] == codes.GOAL
)
