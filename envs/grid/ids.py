"""The ids of the grid family; imports neither minigrid nor any environment."""

from __future__ import annotations

from typing import Any

from agentgym import registration

__all__ = ["register"]

_ENTRY = "agentgym.envs.grid.make:grid_env"


def register() -> None:
    """Register all ``agentgym/Grid-…`` ids (entry point of the group ``agentgym.envs``)."""
    for size in (5, 6, 8, 16):
        _add(f"DoorKey-{size}x{size}", f"key, locked door, goal on {size}x{size}", family="DoorKey", size=size)
    _add("DoorKey-8x8-H60", "the same in at most 60 steps", family="DoorKey", size=8, horizon=60)


def _add(name: str, summary: str, **kwargs: Any) -> None:
    registration.register(
        f"agentgym/Grid-{name}-v0", _ENTRY, family="grid", summary=summary, extra="grid", kwargs=kwargs
    )
