"""The grid family: minigrid's own levels, with a process record at every step.

Importing this package loads neither minigrid nor any task; ids are registered by `agentgym.envs.grid.ids`.

====================  ==============================================================================================
`make.grid_env`       the entry point behind every ``agentgym/Grid-…`` id (views, action formats, limits)
`world.GridWorld`     drives one minigrid level; fast partial views; snapshots; ``layout_id``
`state.GridState`     the immutable state that tasks check
`tasks`               one file a task family: Empty, DoorKey, FourRooms, KeyCorridor, LavaCrossing, MultiRoom, …
`distance`            true shortest numbers of actions to completion
`words`               the text views and their closed vocabulary
====================  ==============================================================================================
"""

from __future__ import annotations

from typing import Any

_LAZY = {
    "GridWorld": "agentgym.envs.grid.world",
    "GridState": "agentgym.envs.grid.state",
    "GridTask": "agentgym.envs.grid.task",
    "grid_env": "agentgym.envs.grid.make",
}

__all__ = ["GridState", "GridTask", "GridWorld", "grid_env"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
