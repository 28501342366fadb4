"""Ids and how they come to be known.

Built-in environments are registered by the very route a third party uses: an entry point in the group
``agentgym.envs`` names a function that calls `register` for each id, without importing the environments themselves.
Keep that function in a module of its own: the one that is just being imported when agentgym loads has no function yet.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium

from agentgym.errors import UnknownName, UsageError

__all__ = ["NAMESPACE", "Entry", "catalogue", "find", "load_entry_points", "register"]

NAMESPACE = "agentgym"
GROUP = "agentgym.envs"


@dataclass(frozen=True)
class Entry:
    """What the catalogue knows of an id without making the environment.

    ``needs`` says what must be given to make it (an address, another environment); '' when nothing must.
    """

    id: str
    family: str
    summary: str
    extra: str = ""
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    needs: str = ""


_entries: dict[str, Entry] = {}


def register(
    id: str,
    entry_point: str | Callable[..., gymnasium.Env[Any, Any]],
    *,
    family: str,
    summary: str = "",
    extra: str = "",
    kwargs: Mapping[str, Any] | None = None,
    vector_entry_point: str | None = None,
    needs: str = "",
) -> None:
    """Make ``gymnasium.make(id)`` work and put the id into the catalogue.

    Args:
        id: ``<namespace>/<Family>-<Task>-v<N>``; a change that changes results raises N.
        entry_point: ``"module:callable"`` (imported on first use) or the callable.
        family: the folder it belongs to: grid, game, web, gui, swe, or your own.
        summary: one line for ``agentgym envs``.
        extra: the optional dependency group it needs ("" for none).
        kwargs: given to the entry point.
        vector_entry_point: a native vector version, bit-identical with the single environment.
        needs: what must be given to make it, for people ("url=… of a server"); '' when nothing must.

    Only ProcessEnv truncates, so no TimeLimit is ever added.
    """
    gymnasium.register(
        id=id,
        entry_point=entry_point,
        vector_entry_point=vector_entry_point,
        kwargs=dict(kwargs or {}),
        max_episode_steps=None,
    )
    _entries[id] = Entry(id, family, summary, extra, dict(kwargs or {}), needs)


def catalogue(family: str | None = None) -> tuple[Entry, ...]:
    """All known ids, in the order of registration.

    Raises:
        UnknownName: no id belongs to ``family``.
    """
    if family is None:
        return tuple(_entries.values())
    families = {e.family for e in _entries.values()}
    if family not in families:
        raise UnknownName("family", family, families, f"known: {', '.join(sorted(families))}")
    return tuple(e for e in _entries.values() if e.family == family)


def find(id: str) -> Entry:
    """The catalogue's entry of an id.

    Raises:
        UnknownName: with the nearest ids.
    """
    if not isinstance(id, str):
        raise UsageError(f"an environment id is a str like 'agentgym/Grid-DoorKey-8x8-v0', got {type(id).__name__}")
    if id in _entries:
        return _entries[id]
    raise UnknownName("environment", id, _entries, "`agentgym envs` lists all")


def load_entry_points() -> None:
    """Run every registration function of the group; one that fails is reported by name and the others still load."""
    for point in importlib.metadata.entry_points(group=GROUP):
        try:
            point.load()()
        except Exception as error:  # noqa: BLE001  (a third party's bug must not take the built-in ids with it)
            warnings.warn(f"entry point {point.name} = {point.value} of group {GROUP} failed: {error!r}", stacklevel=2)
