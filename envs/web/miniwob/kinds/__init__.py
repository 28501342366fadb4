"""One file a kind of task; each has a table ``TASKS``: name of the page -> its `Kind`."""

from __future__ import annotations

import importlib
from functools import cache

from agentgym.envs.web.miniwob.kind import Kind

__all__ = ["FILES", "kind_of", "known"]

FILES = ("forms", "choices", "press", "reveal", "email", "dates", "drag")


@cache
def known() -> dict[str, Kind]:
    """All tasks with a kind."""
    table: dict[str, Kind] = {}
    for name in FILES:
        table |= importlib.import_module(f"{__name__}.{name}").TASKS
    return table


def kind_of(task: str) -> Kind | None:
    """The kind of a page, or None when none is written."""
    return known().get(task)
