"""The ids of the grid family; imports neither minigrid nor any environment."""

from __future__ import annotations

from typing import Any

from agentgym import registration

__all__ = ["register"]

_ENTRY = "agentgym.envs.grid.make:grid_env"


def register() -> None:
    """Register all ``agentgym/Grid-…`` ids (entry point of the group ``agentgym.envs``)."""
    for size in (5, 6, 8, 16):
        _add(f"Empty-{size}x{size}", f"an empty room, goal in the corner, {size}x{size}", family="Empty", size=size)
    for size in (5, 6):
        summary = f"an empty room, random start, {size}x{size}"
        _add(f"Empty-Random-{size}x{size}", summary, family="Empty", size=size, random_start=True)
    for size in (5, 6, 8, 16):
        _add(f"DoorKey-{size}x{size}", f"key, locked door, goal on {size}x{size}", family="DoorKey", size=size)
    _add("DoorKey-8x8-H60", "the same in at most 60 steps", family="DoorKey", size=8, horizon=60)
    _add("FourRooms", "four rooms joined by gaps, goal anywhere", family="FourRooms")
    for size, rows in ((3, 1), (3, 2), (3, 3), (4, 3), (5, 3), (6, 3)):
        summary = f"key left, locked door right, ball behind it; {rows} rows of rooms of {size}x{size}"
        _add(f"KeyCorridor-S{size}R{rows}", summary, family="KeyCorridor", room_size=size, rows=rows)
    for size, crossings in ((9, 1), (9, 2), (9, 3), (11, 5)):
        summary = f"cross {crossings} rivers of lava on {size}x{size}"
        _add(f"LavaCrossing-S{size}N{crossings}", summary, family="LavaCrossing", size=size, crossings=crossings)
    _add("LavaShortcut", "lava that can be waded: unsafe, and half as far", family="LavaShortcut")
    for rooms, size in ((2, 4), (4, 5), (6, 5), (6, 10)):
        name = f"MultiRoom-N{rooms}" + (f"-S{size}" if size < 10 else "")
        _add(name, f"{rooms} rooms in a chain, doors between", family="MultiRoom", rooms=rooms, size=size)
    _add("UnlockPickup", "unlock the door, pick up the box behind it", family="UnlockPickup")


def _add(name: str, summary: str, **kwargs: Any) -> None:
    registration.register(
        f"agentgym/Grid-{name}-v0", _ENTRY, family="grid", summary=summary, extra="grid", kwargs=kwargs
    )
