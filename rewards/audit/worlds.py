"""The settings of the credit bench: on which tasks, how competent, with which anchors and which progress.

Lists that must not be mixed. `DEVELOPMENT` is what measures and assigners were tried on. `HELD_OUT` was written
down before anything was run on it; what is claimed of GTD and GTDP is claimed there. Its figures have been looked at
since, so whatever was made later is claimed on `HELD_OUT_2`, which was written down before that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from agentgym.rewards.audit.enumerate import enumerate_mdp
from agentgym.rewards.audit.exact import Solution, behaviour, shortest
from agentgym.rewards.audit.mdp import MDP, aliased, corridor, garnet, slippery
from agentgym.rewards.audit.sample import PROGRESS, Progress

__all__ = [
    "DEVELOPMENT",
    "HELD_OUT",
    "HELD_OUT_2",
    "Setting",
    "World",
    "dilution_and_progress",
    "quick",
    "sizes_and_horizons",
    "world_of",
]


@dataclass(frozen=True)
class World:
    """A task by name; ``mdp`` makes its tables (kept after the first call)."""

    name: str
    mdp: Callable[[], MDP]


def world_of(env_id: str, seed: int, slip: float = 0.0, kwargs: Mapping[str, Any] | None = None) -> World:
    """An enumerated environment, with slipping feet if wanted; ``kwargs`` are for ``gymnasium.make``."""

    @cache
    def make() -> MDP:
        mdp = enumerate_mdp(env_id, seed, kwargs)
        return slippery(mdp, slip) if slip else mdp

    short = env_id.removeprefix("agentgym/").removesuffix("-v0")
    return World(f"{short} s{seed}" + (f" slip {slip:g}" if slip else ""), make)


_DOORKEY = world_of("agentgym/Grid-DoorKey-5x5-v0", 0)
_LAVA = world_of("agentgym/Grid-LavaCrossing-S9N2-v0", 0, slip=0.1)
_CORRIDOR = World("corridor 10", cache(lambda: corridor(10)))

DEVELOPMENT: tuple[World, ...] = (
    _DOORKEY,
    _LAVA,
    _CORRIDOR,
    world_of("agentgym/Grid-Empty-Random-5x5-v0", 0),
    World("DoorKey-5x5 aliased", cache(lambda: aliased(_DOORKEY.mdp(), 0.3))),
)

HELD_OUT: tuple[World, ...] = (
    world_of("agentgym/Grid-DoorKey-6x6-v0", 7),
    world_of("agentgym/Grid-DoorKey-6x6-v0", 11),
    world_of("agentgym/Grid-LavaCrossing-S9N1-v0", 3),
    world_of("agentgym/Grid-LavaCrossing-S9N3-v0", 3, slip=0.05),
    world_of("agentgym/Grid-Empty-Random-6x6-v0", 5),
    world_of("agentgym/Grid-KeyCorridor-S3R1-v0", 2),
    world_of("agentgym/Grid-MultiRoom-N2-S4-v0", 4),
    world_of("agentgym/Grid-DoorKey-5x5-v0", 23, slip=0.1),
)

HELD_OUT_2: tuple[World, ...] = (
    world_of("agentgym/Grid-FourRooms-v0", 8),
    world_of("agentgym/Grid-MultiRoom-N4-S5-v0", 9),
    world_of("agentgym/Grid-LavaCrossing-S11N5-v0", 13),
    world_of("agentgym/Grid-Empty-8x8-v0", 0),
    world_of("agentgym/Grid-KeyCorridor-S3R1-v0", 17),
    world_of("agentgym/Grid-DoorKey-6x6-v0", 42, slip=0.05),
    world_of("agentgym/Grid-LavaCrossing-S9N2-v0", 31, slip=0.1),
    World("garnet 30 s1", cache(lambda: garnet(30, seed=1))),
)
"""Families of which FourRooms and the random graph are new; three of the eight roll dice."""


@dataclass(frozen=True)
class Setting:
    """One cell of the study.

    Attributes:
        world: the task.
        success_rate: J of the behaviour.
        size: G, rollouts a group.
        stretch: horizon in shortest ways.
        dilution: of the anchors.
        progress: quality of the reported progress.
    """

    world: World
    success_rate: float
    size: int = 8
    stretch: float = 3.0
    dilution: int = 1
    progress: Progress = "exact"

    def solution(self) -> Solution:
        """The behaviour and its exact values (kept: settings that differ in the record alone share them)."""
        return _solution(self.world, self.success_rate, self.stretch)


@cache
def _solution(world: World, success_rate: float, stretch: float) -> Solution:
    mdp = world.mdp()
    return behaviour(mdp, success_rate, max(2, round(stretch * shortest(mdp))))


def quick(worlds: Sequence[World] = DEVELOPMENT[:3], rates: Iterable[float] = (0.05, 0.6)) -> list[Setting]:
    """Two rates on three worlds, G = 8: ranks assigners as the full form does, in seconds."""
    return [Setting(world, rate) for world in worlds for rate in rates]


def sizes_and_horizons(
    worlds: Sequence[World],
    rates: Iterable[float] = (0.05, 0.6),
    sizes: Iterable[int] = (4, 8, 16),
    stretches: Iterable[float] = (2.0, 3.0, 5.0),
) -> list[Setting]:
    """Groups and horizons of several sizes, with exact progress and undiluted anchors."""
    return [replace(s, size=g, stretch=h) for s in quick(worlds, rates) for g in sizes for h in stretches]


def dilution_and_progress(
    worlds: Sequence[World],
    rates: Iterable[float] = (0.05, 0.3, 0.6, 0.9),
    dilutions: Iterable[int] = (1, 16, 64),
    progress: Iterable[Progress] = PROGRESS,
) -> list[Setting]:
    """The full grid; "manhattan" only where the states have places."""
    base = quick(worlds, rates)
    grid = [replace(s, dilution=d, progress=p) for s in base for d in dilutions for p in progress]
    return [s for s in grid if s.progress != "manhattan" or s.world.mdp().place is not None]
