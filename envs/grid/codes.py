"""Cell codes: every cell of a minigrid level as one byte.

minigrid encodes a cell as (object, colour, state), three small numbers; `pack` makes them one byte, so that a level is
a ``bytes``, its anchor one hash and its partial view a few slices. The numbers are minigrid's own (a test compares).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = [
    "COLOURS",
    "DOOR_STATES",
    "EMPTY",
    "KINDS",
    "LUT",
    "OPAQUE",
    "UNSEEN",
    "WALL",
    "colour_of",
    "door_state",
    "kind_of",
    "pack",
    "with_door",
]

KINDS = ("unseen", "empty", "wall", "floor", "door", "key", "ball", "box", "goal", "lava", "agent")
COLOURS = ("red", "green", "blue", "purple", "yellow", "grey")
DOOR_STATES = ("open", "closed", "locked")

_K, _C = len(KINDS), len(COLOURS)


def pack(kind: int, colour: int = 0, state: int = 0) -> int:
    """One byte for minigrid's triple; inverse of the rows of `LUT`."""
    return kind + _K * (colour + _C * state)


LUT: npt.NDArray[np.uint8] = np.zeros((256, 3), np.uint8)
"""``LUT[code]`` is minigrid's triple (object, colour, state), uint8[256, 3]."""
for _code in range(_K * _C * len(DOOR_STATES)):
    LUT[_code] = _code % _K, _code // _K % _C, _code // (_K * _C)

KIND: bytes = bytes(int(k) for k in LUT[:, 0])
"""``KIND[code]`` is the object's number; also a table for ``bytes.translate``."""

IS_LOCKED: bytes = bytes(int(k == 4 and s == 2) for k, s in LUT[:, ::2])
"""Table for ``bytes.translate``: 1 for locked doors, else 0."""

UNSEEN, EMPTY = pack(0), pack(1)
WALL = pack(2, COLOURS.index("grey"))
DOOR, KEY, BALL, BOX, GOAL, LAVA = (KINDS.index(k) for k in ("door", "key", "ball", "box", "goal", "lava"))
OPEN, CLOSED, LOCKED = range(3)


def kind_of(code: int) -> str:
    """Name of the object in a cell."""
    return KINDS[KIND[code]]


def colour_of(code: int) -> str:
    """Name of the object's colour."""
    return COLOURS[code // _K % _C]


def door_state(code: int) -> int:
    """`OPEN`, `CLOSED` or `LOCKED`; 0 for everything that is no door."""
    return code // (_K * _C)


def with_door(code: int, state: int) -> int:
    """The same door in another state."""
    return code % (_K * _C) + _K * _C * state


OPAQUE: bytes = bytes(
    ord("1") if KIND[c] == 2 or (KIND[c] == DOOR and door_state(c) != OPEN) else ord("0") for c in range(256)
)
"""Table for ``bytes.translate``: ``b"1"`` where the cell blocks the sight (walls, doors that are not open)."""
