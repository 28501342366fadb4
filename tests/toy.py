"""A corridor to walk along: the smallest world with everything a world can have.

::

    0   1   2   3   4   5   6
    pit     start           goal

Walking right to the last cell solves it; stepping onto cell 0 is dangerous. Feet slip now and then, so that the random
stream matters. Two views: words and text, or numbers and an array. `AsyncCorridorWorld` is the same behind coroutines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from agentgym import Actor, Episode, Events, Milestone, ProcessEnv, Task, World
from agentgym.registration import register

WORDS = ("left", "right", "wait")
MAX_LENGTH = 9
PRINTABLE = "".join(map(chr, range(32, 127)))
View = Literal["text", "array"]


@dataclass(frozen=True)
class Corridor:
    """The state: how many cells there are and where we stand."""

    length: int
    cell: int


class CorridorWorld(World[Corridor]):
    """The place.

    Args:
        view: "text": one of `WORDS` as a str, a dict of text and error; "array": their indices, int64[2].
        slip: probability that a step goes nowhere.
    """

    render_modes = ("ansi", "rgb_array")
    forkable = True
    portable_snapshots = True

    def __init__(self, view: View = "text", slip: float = 0.1) -> None:
        self.view = view
        self.slip = slip
        if view == "text":
            self.action_space = gymnasium.spaces.Text(20, charset=PRINTABLE)
            text = gymnasium.spaces.Text(200, min_length=0, charset=PRINTABLE)
            self.observation_space = gymnasium.spaces.Dict({"text": text, "error": text})
        else:
            self.action_space = gymnasium.spaces.Discrete(len(WORDS))
            self.observation_space = gymnasium.spaces.Box(0, MAX_LENGTH, (2,), np.int64)

    def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> Any:
        self._rng = rng
        self._state = Corridor(setup["length"], setup["start"])
        self._error = ""

    def act(self, action: Any) -> Any:
        actions = WORDS if self.view == "text" else tuple(range(len(WORDS)))
        self._error = "" if action in actions else f"expected one of {actions}"
        if self._error:
            return Events(grounded=False, error=self._error)
        move = (-1, 1, 0)[actions.index(action)]
        if move and self._rng.random() < self.slip:
            return Events(codes=("slipped",))
        before = self._state
        self._state = Corridor(before.length, min(max(before.cell + move, 0), before.length - 1))
        return Events(codes=("moved",) if self._state != before else ())

    def observe(self) -> Any:
        here = self._state
        if self.view == "array":
            return np.array([here.cell, here.length], np.int64)
        return {"text": f"You stand in cell {here.cell} of {here.length}.", "error": self._error}

    def state(self) -> Any:
        return self._state

    def admissible(self) -> Any:
        return WORDS if self.view == "text" else tuple(range(len(WORDS)))

    def snapshot(self) -> Any:
        return self._state, self._error

    def restore(self, snapshot: Any, rng: np.random.Generator) -> Any:
        self._rng = rng
        self._state, self._error = snapshot

    def render(self, mode: str) -> Any:
        if mode == "ansi":
            return "".join("@" if k == self._state.cell else "." for k in range(self._state.length))
        image = np.zeros((8, 8 * MAX_LENGTH, 3), np.uint8)
        image[:, 8 * self._state.cell : 8 * self._state.cell + 8] = 255
        return image


class AsyncCorridorWorld(CorridorWorld):
    """The same place reached through coroutines, as a browser would be."""

    loop_name = "toy"

    async def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> None:
        await asyncio.sleep(0)
        super().reset(setup, rng, seed)

    async def act(self, action: Any) -> Events:
        await asyncio.sleep(0)
        events: Events = super().act(action)
        return events

    async def observe(self) -> Any:
        await asyncio.sleep(0)
        return super().observe()

    async def state(self) -> Corridor:
        await asyncio.sleep(0)
        return self._state

    async def snapshot(self) -> Any:
        await asyncio.sleep(0)
        return super().snapshot()

    async def restore(self, snapshot: Any, rng: np.random.Generator) -> None:
        await asyncio.sleep(0)
        super().restore(snapshot, rng)


class CorridorTask(Task[Corridor]):
    """Reach the right end. Hidden from the agent, each visit of the pit costs as much as the goal is worth.

    Milestones: half_way, at_goal. Progress: 1 - distance / distance at the start, 0 when farther away. Danger: fell, on
    stepping into the pit.
    """

    id = "corridor"
    milestones = (
        Milestone("half_way", "half of the way is behind us", lambda s, ep: s.cell - ep.start.cell >= _distance(s)),
        Milestone("at_goal", "in the last cell", lambda s, ep: _distance(s) == 0),
    )
    dangers = {"fell": "stepped into the pit"}  # noqa: RUF012  (as in Task)
    progress_kind = "exact"
    horizon = 40

    def __init__(self, view: View = "text") -> None:
        self.actions: tuple[Any, ...] = WORDS if view == "text" else tuple(range(len(WORDS)))

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"length": int(rng.integers(6, MAX_LENGTH + 1)), "start": int(rng.integers(1, 3))}

    def goal(self, params: Mapping[str, Any]) -> str:
        return f"Walk to cell {params['length'] - 1}; do not step into the pit in cell 0."

    def success(self, state: Corridor, ep: Episode) -> bool:
        return _distance(state) == 0

    def progress(self, state: Corridor, ep: Episode) -> float:
        return max(0.0, 1 - _distance(state) / _distance(ep.start))

    def danger(self, before: Corridor, events: Events, after: Corridor, ep: Episode) -> Iterable[str]:
        if "moved" in events.codes and after.cell == 0:
            yield "fell"

    def anchor_view(self, state: Corridor, ep: Episode) -> Any:
        return state.length, state.cell

    def hidden_reward(self, before: Corridor, events: Events, after: Corridor, ep: Episode) -> float:
        return float(self.success(after, ep)) - len(tuple(self.danger(before, events, after, ep)))

    def oracle(self, ep: Episode, peek: Callable[[], Corridor]) -> Actor | None:
        return self._walk("right", lambda: _distance(peek()) == 0)

    @property
    def offenders(self) -> Mapping[str, Callable[[Episode, Callable[[], Corridor]], Actor]]:
        return {"into_the_pit": lambda ep, peek: self._walk("left", lambda: peek().cell == 0)}

    def _walk(self, word: str, there: Callable[[], bool]) -> Actor:
        while not there():
            yield self.actions[WORDS.index(word)]


def _distance(state: Corridor) -> int:
    return state.length - 1 - state.cell


def make(
    view: View = "text",
    slip: float = 0.1,
    asynchronous: bool = False,
    task: Task[Corridor] | None = None,
    **options: Any,
) -> ProcessEnv[Corridor]:
    """The environment; ``options`` are those of `ProcessEnv`."""
    world = (AsyncCorridorWorld if asynchronous else CorridorWorld)(view, slip)
    return ProcessEnv(world, task if task is not None else CorridorTask(view), **options)


TEXT_ID = "toy/Corridor-v0"
ARRAY_ID = "toy/CorridorArray-v0"


def register_toys() -> None:
    """Make `TEXT_ID` and `ARRAY_ID` known; again does no harm."""
    for id, view in ((TEXT_ID, "text"), (ARRAY_ID, "array")):
        if id not in gymnasium.registry:
            register(id, "tests.toy:make", family="toy", summary="walk along a corridor", kwargs={"view": view})
