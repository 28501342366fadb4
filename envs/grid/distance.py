"""True shortest numbers of actions to completion, by minigrid's rules.

`to_goal` is for levels that end on a goal square, `to_object` for levels that end by picking something up. Both are exact
and answer for *any* state an agent can bring about: keys dropped in the way, doors closed again.

A **field** is the distance from every pose (cell × 4 + direction) of a level to completion, while the agent's way leads
through known changes only. Entering a closed door costs 2 (toggle, then walk), entering a key's cell with empty hands
costs 2 (pick up, then walk): the agent faces the cell anyway, and no shortest way enters a cell twice, because turning
round inside it (at most 2 actions) is shorter than leaving and coming back. What the agent must do first (fetch the
key, open the lock) makes one field the source of another.

Fields are kept per layout (least recently used go first), so all rollouts of a group share them.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import TypeAlias

from agentgym.envs.grid import codes
from agentgym.envs.grid.state import GridState, replace_cell

__all__ = ["FAR", "to_goal"]

FAR = 30_000
"""Distance of a state from which the level cannot be completed any more."""

_FIELDS = 4096
_DEAREST = 3
"""The highest cost of entering a cell."""

Field: TypeAlias = "array[int]"


def flow(width: int, weights: bytes, sources: Iterable[tuple[int, int]]) -> Field:
    """Distances over poses to the cheapest source.

    Args:
        width: cells in a row.
        weights: cost of entering each cell; 0 where one cannot.
        sources: (distance from there on, pose) pairs; poses in cells that one can stand in.

    Returns:
        int16[4 * cells], `FAR` where no source is reached.
    """
    far = FAR
    field = array("h", [far]) * (4 * len(weights))
    sources = [(cost, pose) for cost, pose in sources if cost < far]
    buckets: list[list[int]] = [[] for _ in range(max((cost for cost, _ in sources), default=0) + 1)]
    for cost, pose in sources:
        if cost < field[pose]:
            field[pose] = cost
            buckets[cost].append(pose)
    back = (-4, -4 * width, 4, 4 * width)
    distance, pending = 0, len(sources)
    while pending > 0:
        while len(buckets) <= distance + _DEAREST:
            buckets.append([])
        near, soon = distance + 1, buckets[distance + 1]
        pending -= len(buckets[distance])
        for pose in buckets[distance]:
            if field[pose] != distance:
                continue  # a cheaper way was found since
            direction = pose & 3
            base = pose - direction
            for turned in (base | (direction - 1) & 3, base | (direction + 1) & 3):
                if field[turned] > near:
                    field[turned] = near
                    soon.append(turned)
                    pending += 1
            cost = weights[pose >> 2]
            before = pose + back[direction]
            if cost and 0 <= before < len(field) and weights[before >> 2] and field[before] > distance + cost:
                field[before] = distance + cost
                buckets[distance + cost].append(before)
                pending += 1
        distance += 1
    return field


def _weights(cells: bytes, *, key: int = 0, locked: int = 0, closed: int = 2, goal: int = 1) -> bytes:
    """Cost of entering each cell."""
    return cells.translate(_weight_table(key, locked, closed, goal))


@cache
def _weight_table(key: int, locked: int, closed: int, goal: int) -> bytes:
    table = bytearray(256)
    for code in range(256):
        kind = codes.KIND[code]
        if code == codes.EMPTY:
            table[code] = 1
        elif kind == codes.GOAL:
            table[code] = goal
        elif kind == codes.KEY:
            table[code] = key
        elif kind == codes.DOOR:
            table[code] = (1, closed, locked)[codes.door_state(code)]
    return bytes(table)


def find(cells: bytes, kind: int, state: int | None = None) -> int:
    """Index of the first cell with an object of a kind (and door state), or -1."""
    for at, code in enumerate(cells):
        if codes.KIND[code] == kind and (state is None or codes.door_state(code) == state):
            return at
    return -1


def _facing(width: int, weights: bytes, target: int) -> list[int]:
    """The poses that face a cell from a cell one can stand in."""
    steps = (1, width, -1, -width)
    return [
        (target - step) * 4 + d
        for d, step in enumerate(steps)
        if 0 <= target - step < len(weights) and weights[target - step]
    ]


# ---------------------------------------------------------------------------------------------- levels with a goal


def to_goal(s: GridState) -> int:
    """Fewest actions to the goal square from a state; `FAR` if it cannot be reached (in lava, walled in)."""
    if codes.KIND[s.cells[s.pos]] == codes.LAVA:
        return FAR
    return _goal_field(s.cells, s.width, s.carrying)[s.pos * 4 + s.dir]


@lru_cache(maxsize=_FIELDS)
def _goal_field(cells: bytes, width: int, carrying: int) -> Field:
    goal = find(cells, codes.GOAL)
    ends = [(0, goal * 4 + d) for d in range(4)]
    if codes.KIND[carrying] == codes.KEY:  # the lock opens like a closed door, and nothing lies in the way
        return flow(width, _weights(cells, locked=2), ends)
    key = find(cells, codes.KEY)
    if key < 0 or find(cells, codes.DOOR, codes.LOCKED) < 0:
        return flow(width, _weights(cells, key=2), ends)
    weights = _weights(cells)
    after = _goal_field(replace_cell(cells, key, codes.EMPTY), width, cells[key])
    fetched = [(1 + after[pose], pose) for pose in _facing(width, weights, key)]
    return flow(width, weights, ends + fetched)
