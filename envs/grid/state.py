"""GridState: the true state of a grid as an immutable value, and minigrid's rules as pure functions of it.

The world itself is driven by minigrid. `successor` repeats minigrid's rules for the planner, which must look ahead
without touching the world; a test holds the two together step by step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from agentgym.envs.grid import codes

__all__ = [
    "ACTIONS",
    "DROP",
    "FORWARD",
    "LEFT",
    "PICKUP",
    "RIGHT",
    "TOGGLE",
    "GridState",
    "Level",
    "admissible",
    "successor",
]

ACTIONS = ("left", "right", "forward", "pickup", "drop", "toggle", "done")
"""minigrid's action names, in the order of its numbers."""
LEFT, RIGHT, FORWARD, PICKUP, DROP, TOGGLE, DONE = range(7)

_LAVA_OR_GOAL = (codes.GOAL, codes.LAVA)
_PICKABLE = (codes.KEY, codes.BALL, codes.BOX)


class GridState(NamedTuple):
    """Where everything is. Hashable, picklable, never changed by later acts.

    Attributes:
        cells: one `codes` byte a cell, row by row.
        width: cells in a row.
        pos: the agent's cell, ``y * width + x``.
        dir: 0 east, 1 south, 2 west, 3 north (minigrid's numbers).
        carrying: code of the carried object, or ``codes.EMPTY``.
    """

    cells: bytes
    width: int
    pos: int
    dir: int
    carrying: int

    @property
    def front(self) -> int:
        """Index of the cell in front of the agent."""
        return self.pos + (1, self.width, -1, -self.width)[self.dir]

    def view(self) -> bytes:
        """The whole state as bytes; equal states and no others have equal bytes."""
        return b"%d,%d,%d,%d:" % (self.width, self.pos, self.dir, self.carrying) + self.cells


@dataclass(frozen=True)
class Level:
    """Which minigrid environment draws the level.

    Attributes:
        cls: name of the class in ``minigrid.envs``.
        kwargs: its arguments.
    """

    cls: str
    kwargs: Mapping[str, Any] = field(default_factory=dict)


def replace_cell(cells: bytes, index: int, code: int) -> bytes:
    """``cells`` with one cell changed."""
    return cells[:index] + bytes((code,)) + cells[index + 1 :]


def successor(s: GridState, action: int) -> GridState:
    """The state after an action by minigrid's rules; ``s`` itself where the action changes nothing."""
    if action == LEFT:
        return s._replace(dir=(s.dir - 1) % 4)
    if action == RIGHT:
        return s._replace(dir=(s.dir + 1) % 4)
    front = s.front
    code = s.cells[front]
    kind = codes.KIND[code]
    if action == FORWARD:
        if (
            code == codes.EMPTY
            or kind in _LAVA_OR_GOAL
            or (kind == codes.DOOR and codes.door_state(code) == codes.OPEN)
        ):
            return s._replace(pos=front)
    elif action == PICKUP:
        if kind in _PICKABLE and s.carrying == codes.EMPTY:
            return s._replace(cells=replace_cell(s.cells, front, codes.EMPTY), carrying=code)
    elif action == DROP:
        if code == codes.EMPTY and s.carrying != codes.EMPTY:
            return s._replace(cells=replace_cell(s.cells, front, s.carrying), carrying=codes.EMPTY)
    elif action == TOGGLE:
        new = code
        if kind == codes.BOX:
            new = codes.EMPTY
        elif kind == codes.DOOR:
            new = _toggled(code, s.carrying)
        if new != code:
            return s._replace(cells=replace_cell(s.cells, front, new))
    return s


def _toggled(door: int, carrying: int) -> int:
    state = codes.door_state(door)
    if state == codes.LOCKED:
        fits = codes.KIND[carrying] == codes.KEY and codes.colour_of(carrying) == codes.colour_of(door)
        return codes.with_door(door, codes.OPEN) if fits else door
    return codes.with_door(door, codes.CLOSED if state == codes.OPEN else codes.OPEN)


def admissible(s: GridState) -> tuple[int, ...]:
    """The applicable actions: turning and walking always (bumping is grounded); picking up with empty hands before a
    key, ball or box; dropping before an empty cell; toggling before a door (locked ones can be tried) or a box."""
    code = s.cells[s.front]
    kind = codes.KIND[code]
    more: tuple[int, ...] = ()
    if s.carrying == codes.EMPTY:
        if kind in _PICKABLE:
            more = (PICKUP,)
    elif code == codes.EMPTY:
        more = (DROP,)
    if kind in (codes.DOOR, codes.BOX):
        more += (TOGGLE,)
    return (LEFT, RIGHT, FORWARD, *more)
