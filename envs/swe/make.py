"""Environments of the SWE family."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from agentgym.env import ProcessEnv
from agentgym.envs.swe.bugs import BUGS
from agentgym.envs.swe.families import FAMILIES
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.small import bug as bug_instance
from agentgym.envs.swe.small import smoke
from agentgym.envs.swe.state import RepoState
from agentgym.envs.swe.task import Instances, RepairTask
from agentgym.envs.swe.world import RepoWorld
from agentgym.errors import UnknownName, UsageError

__all__ = ["Bugs", "Listed", "Smoke", "bugs_env", "smoke_env", "swe_env"]

SEEDS = 1 << 20
"""Numbers that instances of a family are drawn from."""


class Smoke:
    """Instances of the small families.

    Args:
        split: ``train``, ``held_out`` (one text in five, by its hash) or ``all``.
        families: which; all by default.

    Raises:
        UsageError: no such split. UnknownName: no such family.
    """

    def __init__(self, split: Literal["all", "train", "held_out"] = "all", families: Iterable[str] = ()) -> None:
        if split not in ("all", "train", "held_out"):
            raise UsageError(f"split: expected 'all', 'train' or 'held_out', got {split!r}")
        self.split, self.families = split, tuple(families) or tuple(FAMILIES)
        for name in self.families:
            if name not in FAMILIES:
                raise UnknownName("family of small functions", name, FAMILIES, f"known: {', '.join(FAMILIES)}")

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        while True:
            params = {"family": str(rng.choice(self.families)), "seed": int(rng.integers(SEEDS))}
            if self.split in ("all", self.instance(params).split):
                return params

    def instance(self, params: Mapping[str, Any]) -> Instance:
        family, seed = params.get("family"), params.get("seed")
        if family not in FAMILIES or type(seed) is not int or seed < 0:
            raise UsageError(
                f"params: expected a 'family' ({', '.join(FAMILIES)}) and a 'seed', got {dict(params)!r:.200}"
            )
        return smoke(str(family), seed)


class Listed:
    """Instances from a list, by their ids.

    Args:
        instances: the list.

    Raises:
        UsageError: it is empty, or has an id twice.
    """

    def __init__(self, instances: Sequence[Instance]) -> None:
        self._by_id = {each.instance_id: each for each in instances}
        if not instances or len(self._by_id) < len(instances):
            raise UsageError(
                f"expected instances with ids of their own, got {len(instances)}, {len(self._by_id)} of them different"
            )
        self._ids = sorted(self._by_id)

    def draw(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"instance": self._ids[int(rng.integers(len(self._ids)))]}

    def instance(self, params: Mapping[str, Any]) -> Instance:
        name = params.get("instance")
        if name not in self._by_id:
            raise UnknownName("instance", str(name), self._ids)
        return self._by_id[name]


class Bugs(Listed):
    """The hand-written bugs."""

    def __init__(self) -> None:
        super().__init__([bug_instance(name) for name in BUGS])


def swe_env(
    id: str,
    instances: Instances | Sequence[Instance],
    *,
    backend: str = "",
    seconds: float = 30.0,
    output: int = 6000,
    git: bool = True,
    horizon: int = 40,
    manual: bool = True,
    render_mode: str | None = None,
    max_steps: int | None = None,
) -> ProcessEnv[RepoState]:
    """An environment of any instances.

    Args:
        id: name of the task.
        instances: a list, or something that draws them.
        backend: ``docker``, ``bubblewrap``, or '' for the best that is here.
        seconds: time limit of a command.
        output: characters of a tool's answer that the agent sees.
        git: commands find a git repository with one commit.
        horizon: steps after which an episode is truncated.
        manual: the goal says how the tools are called, after the statement.
        render_mode: "ansi".
        max_steps: truncate after so many steps instead.

    Raises:
        UsageError: no sandbox can be made here; says what to install.
    """
    source = Listed(instances) if isinstance(instances, Sequence) else instances
    world = RepoWorld(backend, seconds=seconds, output=output, git=git)
    return ProcessEnv(
        world, RepairTask(id, source, horizon, manual=manual), render_mode=render_mode, max_steps=max_steps
    )


def smoke_env(
    *, split: Literal["all", "train", "held_out"] = "all", families: Iterable[str] = (), **options: Any
) -> ProcessEnv[RepoState]:
    """Small functions with one planted fault.

    Args:
        split, families: see `Smoke`.
        options: see `swe_env`.
    """
    return swe_env("swe-smoke", Smoke(split, families), **{"horizon": 20, **options})


def bugs_env(*, bug: str = "", **options: Any) -> ProcessEnv[RepoState]:
    """Hand-written bugs.

    Args:
        bug: only this one; '' draws from all.
        options: see `swe_env`.

    Raises:
        UnknownName: no such bug.
    """
    if bug and bug not in BUGS:
        raise UnknownName("hand-written bug", bug, BUGS, f"known: {', '.join(BUGS)}")
    return swe_env("swe-bugs", Listed([bug_instance(bug)]) if bug else Bugs(), **options)
