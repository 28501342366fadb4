"""The two text views, from what the agent has seen and nothing else.

``text``: the strict 7×7 partial view, whole: a mission line, a line about the agent, and a line for each row of the
view from far to near, a word a cell (``wall``, ``empty``, ``yellow-key``, ``yellow-locked-door``; ``?`` is out of
sight). The agent stands in the middle of the last row, ``you``; left in the line is left of it.

``memory``: one short sentence of fixed shape, made to be learned from by a small model::

    facing east carrying nothing front empty left wall right empty ahead empty wall ? ?
    key ? ? door locked ahead1 left2 goal ? ?

``ahead`` gives the four cells beyond the front one. Each landmark of the task is the nearest one *remembered*, by steps
ahead (or behind) and to the left (or right) from where the agent now stands; ``?`` while it has not been seen, ``held``
while it is carried. Colours are left out: no family here has two things of a kind that differ in what they are good
for, but for doors, whose state is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

from agentgym.envs.grid import codes
from agentgym.envs.grid.sight import PAD, SIZE, Board
from agentgym.envs.grid.state import ACTIONS, GridState

__all__ = ["Landmark", "cell_words", "memory_sentence", "memory_words", "view_text"]

FACING = ("east", "south", "west", "north")
_MIDDLE = SIZE // 2
_AHEAD = 4

Landmark = str
"""What a memory view tracks: a kind ("key", "door", "goal", …) or a door in one state ("closed_door", …)."""


def _long(code: int) -> str:
    kind = codes.kind_of(code)
    if kind in ("unseen", "empty", "wall"):
        return {"unseen": "?"}.get(kind, kind)
    if kind in ("goal", "lava"):
        return kind
    state = f"{codes.DOOR_STATES[codes.door_state(code)]}-" if kind == "door" else ""
    return f"{codes.colour_of(code)}-{state}{kind}"


def _short(code: int) -> str:
    kind = codes.kind_of(code)
    if kind == "door":
        return f"{codes.DOOR_STATES[codes.door_state(code)]}_door"
    return "?" if kind == "unseen" else kind


_USED = [c for c in range(codes.pack(10, 5, 2) + 1) if codes.door_state(c) == 0 or codes.KIND[c] == codes.DOOR]
LONG = tuple(_long(c) if c in _USED else "?" for c in range(256))
"""Word of a cell in the ``text`` view, with its colour."""
SHORT = tuple(_short(c) if c in _USED else "?" for c in range(256))
"""Word of a cell in the ``memory`` view."""


def _held(code: int, names: Sequence[str]) -> str:
    return "nothing" if code == codes.EMPTY else names[code]


def view_text(state: GridState, view: bytes, mission: str) -> str:
    """The ``text`` view; see the module's docstring."""
    lines = [f"mission {mission}", f"facing {FACING[state.dir]} carrying {_held(state.carrying, LONG)}"]
    for far in range(SIZE - 1, -1, -1):
        row = [LONG[c] for c in view[far * SIZE : (far + 1) * SIZE]]
        if far == 0:
            row[_MIDDLE] = "you"
        lines.append(" ".join(row))
    return "\n".join(lines)


@cache
def landmark_codes(landmark: Landmark) -> tuple[int, ...]:
    """All codes that count as a landmark."""
    return tuple(c for c in _USED if landmark in (codes.kind_of(c), SHORT[c]))


def memory_sentence(
    state: GridState, view: bytes, memory: Board, landmarks: Sequence[tuple[str, tuple[int, ...]]]
) -> str:
    """The ``memory`` view; see the module's docstring.

    Args:
        state: the true state; only the agent's direction, place and load are read.
        view: what it sees now (`Board.look`).
        memory: what it has seen, `codes.UNSEEN` elsewhere.
        landmarks: (name, codes that count) pairs, in the order of the sentence.
    """
    words = ["facing", FACING[state.dir], "carrying", _held(state.carrying, SHORT)]
    words += ["front", SHORT[view[SIZE + _MIDDLE]], "left", SHORT[view[_MIDDLE - 1]], "right", SHORT[view[_MIDDLE + 1]]]
    words.append("ahead")
    words += [SHORT[view[k * SIZE + _MIDDLE]] for k in range(2, 2 + _AHEAD)]
    for name, wanted in landmarks:
        words.append(name)
        if state.carrying in wanted:
            words += _place_words(name, "held", "held", "held")
        else:
            words += _nearest(state, memory, name, wanted)
    return " ".join(words)


def _place_words(name: str, state: str, ahead: str, left: str) -> tuple[str, ...]:
    return (state, ahead, left) if name == "door" else (ahead, left)


def _nearest(state: GridState, memory: Board, name: str, wanted: tuple[int, ...]) -> tuple[str, ...]:
    """Words for the nearest remembered cell with one of the wanted codes; ties go to the smaller index."""
    cells, pitch = memory.cells, memory.pitch
    y, x = divmod(state.pos, state.width)
    x, y = x + PAD, y + PAD
    best, place = 1 << 30, (0, 0, 0)
    for code in wanted:
        at = cells.find(code)
        while at >= 0:
            dy, dx = at // pitch - y, at % pitch - x
            distance = (abs(dx) + abs(dy)) << 16 | at
            if distance < best:
                best, place = distance, (dx, dy, code)
            at = cells.find(code, at + 1)
    if best == 1 << 30:
        return _place_words(name, "?", "?", "?")
    dx, dy, code = place
    ahead, left = ((dx, -dy), (dy, dx), (-dx, dy), (-dy, -dx))[state.dir]
    return _place_words(
        name,
        codes.DOOR_STATES[codes.door_state(code)],
        f"ahead{ahead}" if ahead >= 0 else f"behind{-ahead}",
        f"left{left}" if left >= 0 else f"right{-left}",
    )


def cell_words(kinds: Sequence[str]) -> tuple[str, ...]:
    """Words of the memory view for cells of some kinds."""
    return tuple(dict.fromkeys(SHORT[c] for c in _USED if codes.kind_of(c) in kinds))


def memory_words(landmarks: Sequence[Landmark], kinds: Sequence[str], reach: int) -> tuple[str, ...]:
    """The closed vocabulary of the memory view and of one-word actions, in a fixed order.

    Args:
        landmarks: those of the task.
        kinds: kinds of things that occur in its levels ("key", "door", …).
        reach: the farthest a landmark can be along one axis.
    """
    words = ["facing", *FACING, "carrying", "nothing", "front", "left", "right", "ahead", "?", "held"]
    words += cell_words(("empty", "wall", *kinds))
    words += landmarks
    if "door" in landmarks:
        words += codes.DOOR_STATES
    words += [f"{side}{n}" for side in ("ahead", "left") for n in range(reach + 1)]
    words += [f"{side}{n}" for side in ("behind", "right") for n in range(1, reach + 1)]
    return tuple(dict.fromkeys((*words, *ACTIONS)))
