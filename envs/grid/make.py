"""The entry point behind every grid id."""

from __future__ import annotations

import importlib
from typing import Any, Literal

from agentgym.env import ProcessEnv
from agentgym.envs.grid.actions import ActionFormat
from agentgym.envs.grid.state import GridState
from agentgym.envs.grid.task import GridTask
from agentgym.errors import MissingExtra, UnknownName

__all__ = ["FAMILIES", "PRELOAD", "grid_env", "grid_task"]

FAMILIES = {
    name: f"agentgym.envs.grid.tasks.{name.lower()}"
    for name in (
        "Empty",
        "DoorKey",
        "FourRooms",
        "KeyCorridor",
        "LavaCrossing",
        "LavaShortcut",
        "MultiRoom",
        "UnlockPickup",
    )
}
"""Family -> the module that holds its task, a class of the same name."""
PRELOAD = ("agentgym.envs.grid.world", *FAMILIES.values())
"""What `grid_env` imports when it is called; a server of many sessions imports it once for all."""


def grid_task(family: str, *, horizon: int | None = None, actions: ActionFormat = "index", **level: Any) -> GridTask:
    """The task of a family.

    Args:
        family: one of `FAMILIES`.
        horizon: steps until truncation; None for minigrid's own limit.
        actions: the format in which oracle and offenders act.
        **level: arguments of the family (see its file).
    """
    if family not in FAMILIES:
        raise UnknownName("grid family", family, FAMILIES, f"known: {', '.join(FAMILIES)}")
    cls: type[GridTask] = getattr(importlib.import_module(FAMILIES[family]), family)
    return cls(horizon, actions, **level)


def grid_env(
    family: str,
    *,
    view: Literal["array", "text", "memory", "features"] = "array",
    actions: ActionFormat | None = None,
    horizon: int | None = None,
    render_mode: str | None = None,
    max_steps: int | None = None,
    reward: Literal["success", "world"] = "success",
    admissible: bool = False,
    **level: Any,
) -> ProcessEnv[GridState]:
    """A grid environment.

    Args:
        family: "DoorKey", … (`FAMILIES`).
        view: "array" (minigrid's own observation), "text", "memory" or "features" (see
            `agentgym.envs.grid.world.GridWorld`).
        actions: "index", "words" or "phrases"; by default "index" for arrays and features, "words" for texts.
        horizon: the task's limit where an id has one of its own; None for minigrid's.
        render_mode: "ansi", "rgb_array" or "human".
        max_steps: truncate after so many steps instead, for this environment only.
        reward: "success" (1 once, on success) or "world" (minigrid's own).
        admissible: list the applicable actions in ``info["admissible"]``.
        **level: arguments of the family ("size", …).

    Raises:
        MissingExtra: minigrid is not installed.
        TypeError: neither the environment nor minigrid takes an argument of that name.
    """
    try:
        from agentgym.envs.grid.world import GridWorld, default_actions
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in ("minigrid", "pygame"):
            raise
        raise MissingExtra("minigrid", "grid") from error
    fmt: ActionFormat = actions or default_actions(view)
    task = grid_task(family, horizon=horizon, actions=fmt, **level)
    GridWorld.check_level(task.level)
    world = GridWorld(view, fmt, task.landmarks)
    return ProcessEnv(world, task, render_mode=render_mode, max_steps=max_steps, reward=reward, admissible=admissible)
