"""The ``features`` view: the true map around the agent as one short vector, for small networks.

Everything is seen from the agent: ahead and to its right, whichever way it faces. The vector is, in this order,

- the 5×5 cells around it without its own, row by row from far left: 1 where a step would be refused (24 numbers), and
  again 1 where there is lava (24);
- for each of `LANDMARKS`: whether there is one, and of the nearest one the steps ahead and to the right, divided by 8
  and clipped to [-1, 1], their two signs, and whether it lies straight ahead, one step away (6 numbers each);
- what is carried, one number each for nothing, a key, a ball, a box (4).

Unlike the other views it hides nothing: walls do not block the sight. A policy without memory is then at no loss, and a
study of credit is not also one of search.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from agentgym.envs.grid import codes
from agentgym.envs.grid.state import GridState

__all__ = ["FEATURES", "LANDMARKS", "features"]

LANDMARKS = ("key", "locked_door", "closed_door", "open_door", "ball", "box", "goal", "gap")
"""What is told by place; a gap is a free cell between two of lava."""

_REACH = 2
_AROUND = tuple(
    (ahead, side)
    for ahead in range(_REACH, -_REACH - 1, -1)
    for side in range(-_REACH, _REACH + 1)
    if (ahead, side) != (0, 0)
)
_SCALE = 8.0
_ABSENT = (0.0,) * 6
_CARRIED = (codes.KIND[codes.EMPTY], codes.KEY, codes.BALL, codes.BOX)

FEATURES = 2 * len(_AROUND) + len(_ABSENT) * len(LANDMARKS) + len(_CARRIED)
"""Length of the vector."""

_BLOCKS = bytes(
    int(
        codes.KIND[c] not in (codes.KINDS.index("empty"), codes.GOAL, codes.LAVA)
        and not (codes.KIND[c] == codes.DOOR and codes.door_state(c) == codes.OPEN)
    )
    for c in range(256)
)
_DOORS = {"open_door": codes.OPEN, "closed_door": codes.CLOSED, "locked_door": codes.LOCKED}


def features(state: GridState) -> npt.NDArray[np.float32]:
    """float32[FEATURES] of a state, all in [-1, 1]."""
    cells, width, pos, direction, carrying = state
    y, x = divmod(pos, width)
    height = len(cells) // width
    seen = []
    for ahead, side in _AROUND:
        dx, dy = _turned(ahead, side, direction)
        inside = 0 <= x + dx < width and 0 <= y + dy < height
        seen.append(cells[pos + dy * width + dx] if inside else codes.WALL)
    found: list[float] = [_BLOCKS[code] for code in seen]
    found += [codes.KIND[code] == codes.LAVA for code in seen]
    for places in _places(cells, width):
        if places:
            ahead, side = min((_seen(px - x, py - y, direction) for px, py in places), key=_nearness)
            found += (1.0, _near(ahead), _near(side), _sign(ahead), _sign(side), ahead == 1 and side == 0)
        else:
            found += _ABSENT
    found += [codes.KIND[carrying] == kind for kind in _CARRIED]
    return np.array(found, dtype=np.float32)


def _near(steps: int) -> float:
    return max(-1.0, min(1.0, steps / _SCALE))


def _sign(steps: int) -> int:
    return (steps > 0) - (steps < 0)


def _turned(ahead: int, side: int, direction: int) -> tuple[int, int]:
    """Steps east and south of steps ahead and to the right."""
    return ((ahead, side), (-side, ahead), (-ahead, -side), (side, -ahead))[direction]


def _seen(dx: int, dy: int, direction: int) -> tuple[int, int]:
    """The inverse of `_turned`."""
    return ((dx, dy), (dy, -dx), (-dx, -dy), (-dy, dx))[direction]


def _nearness(place: tuple[int, int]) -> tuple[int, int, int]:
    return abs(place[0]) + abs(place[1]), *place


@lru_cache(maxsize=4096)
def _places(cells: bytes, width: int) -> tuple[tuple[tuple[int, int], ...], ...]:
    """Where the landmarks are, (x, y) each."""
    found: dict[str, list[tuple[int, int]]] = {name: [] for name in LANDMARKS}
    lava = codes.LAVA in cells.translate(codes.KIND)  # levels with lava have walls all around
    for at, code in enumerate(cells):
        y, x = divmod(at, width)
        kind = codes.kind_of(code)
        if kind == "door":
            found[next(name for name, s in _DOORS.items() if s == codes.door_state(code))].append((x, y))
        elif kind in found:
            found[kind].append((x, y))
        elif lava and code == codes.EMPTY and _is_gap(cells, width, at):
            found["gap"].append((x, y))
    return tuple(tuple(found[name]) for name in LANDMARKS)


def _is_gap(cells: bytes, width: int, at: int) -> bool:
    """Lava on two opposite sides, or on one side and a wall on the other; and free the other way."""

    def kinds(step: int) -> set[int]:
        return {codes.KIND[cells[at - step]], codes.KIND[cells[at + step]]}

    wall = codes.KIND[codes.WALL]
    across = ((1, width), (width, 1))
    return any(codes.LAVA in kinds(a) <= {codes.LAVA, wall} and not kinds(b) & {codes.LAVA, wall} for a, b in across)
