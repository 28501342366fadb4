"""World: drives one kind of place (a grid, a browser, a repository) and knows nothing about what is wanted there."""

from __future__ import annotations

import asyncio
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import gymnasium
import numpy as np

__all__ = ["Events", "World", "loop_thread", "wait"]

StateT = TypeVar("StateT")


@dataclass(frozen=True, slots=True)
class Events:
    """What one action brought about, as the world saw it.

    Attributes:
        codes: what happened, as short codes ("door_opened"); tasks turn them into milestones and dangers.
        grounded: the action was well formed and applicable.
        error: why it was not, in a sentence for the agent; '' when grounded.
        reward: the world's own reward, for wrapped benchmarks (`ProcessEnv(reward="world")`).
        truncated: the world cut the episode short (a wrapped environment's own time limit).
    """

    codes: tuple[str, ...] = ()
    grounded: bool = True
    error: str = ""
    reward: float = 0.0
    truncated: bool = False


class World(ABC, Generic[StateT]):
    """One place that can be reset, acted in and looked at.

    A world that waits for I/O may write `reset`, `act`, `observe`, `state`, `snapshot` and `restore` as coroutines;
    they run on its family's event-loop thread (`loop_name`) and callers see the same synchronous face.

    What an action *contains* never raises: it answers ``Events(grounded=False, error=…)`` and leaves the state alone.
    Exceptions (`agentgym.errors.WorldError`) are for broken places.
    """

    observation_space: gymnasium.Space[Any]
    action_space: gymnasium.Space[Any]
    render_modes: tuple[str, ...] = ("ansi",)
    render_fps: int = 10
    loop_name: str = "world"
    forkable: bool = False
    """`snapshot` and `restore` work."""
    portable_snapshots: bool = False
    """A snapshot may be restored by another instance, in another process (it pickles)."""

    @abstractmethod
    def reset(self, setup: Any, rng: np.random.Generator, seed: int | None = None) -> Any:
        """Start afresh from what ``Task.setup`` returned. ``rng`` is the only source of randomness.

        ``seed`` is the caller's number, for wrapped places that seed themselves; None when the caller gave none.
        """

    @abstractmethod
    def act(self, action: Any) -> Any:
        """Carry out one action; returns `Events` (or a coroutine of it)."""

    @abstractmethod
    def observe(self) -> Any:
        """What the agent sees now; a member of `observation_space`. Must not change the world."""

    @abstractmethod
    def state(self) -> Any:
        """The true state as a cheap structured view (a `StateT`) that later acts do not mutate."""

    def admissible(self) -> tuple[Any, ...] | None:
        """The actions that are applicable now, or None when the world cannot list them."""
        return None

    def snapshot(self) -> Any:
        """Everything needed to come back here, random state included; only when `forkable`."""
        raise TypeError(f"{type(self).__name__} cannot be forked; check `world.forkable` first")

    def restore(self, snapshot: Any, rng: np.random.Generator) -> Any:
        """Come back to a snapshot; randomness goes on from ``rng``."""
        raise TypeError(f"{type(self).__name__} cannot be forked; check `world.forkable` first")

    def render(self, mode: str) -> Any:
        """Render in one of `render_modes`: ``ansi`` gives text, ``rgb_array`` uint8[h, w, 3]."""
        return str(self.observe())

    def close(self) -> Any:
        """Give back what the world holds. Called once; must not raise."""


_loops: dict[str, asyncio.AbstractEventLoop] = {}
_lock = threading.Lock()


def _forget_loops() -> None:
    """In a forked child the loops are there but their threads are not: waiting on one would never end."""
    global _lock
    _loops.clear()
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_forget_loops)


def loop_thread(name: str) -> asyncio.AbstractEventLoop:
    """The event loop of a family of worlds, running on a daemon thread of its own; started on first use."""
    with _lock:
        loop = _loops.get(name)
        if loop is None or loop.is_closed():
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name=f"agentgym-{name}", daemon=True).start()
            _loops[name] = loop
        return loop


def wait(value: Any, loop_name: str) -> Any:
    """``value`` itself, or, if it is awaitable, its result computed on the family's loop thread."""
    if isinstance(value, Awaitable):

        async def run() -> Any:
            return await value

        return asyncio.run_coroutine_threadsafe(run(), loop_thread(loop_name)).result()
    return value
