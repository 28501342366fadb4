"""True shortest numbers of actions to completion, by minigrid's rules.

`to_goal` is for levels that end on a goal square, `to_object` for levels that end by picking something up. Both are
exact and answer for *any* state an agent can bring about: keys dropped in the way, doors closed again.

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
from heapq import heappop, heappush
from typing import TypeAlias

from agentgym.envs.grid import codes
from agentgym.envs.grid.state import DROP, FORWARD, LEFT, PICKUP, RIGHT, TOGGLE, GridState, replace_cell, successor

__all__ = ["FAR", "to_goal", "to_object"]

FAR = 30_000
"""Distance of a state from which the level cannot be completed any more."""

_FIELDS = 4096
_DEAREST = 2
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


def find(cells: bytes, kind: int) -> int:
    """Index of the first cell with an object of a kind, or -1."""
    return cells.translate(codes.KIND).find(kind)


def find_lock(cells: bytes) -> int:
    """Index of the first locked door, or -1."""
    return cells.translate(codes.IS_LOCKED).find(1)


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
    if key < 0 or find_lock(cells) < 0:
        return flow(width, _weights(cells, key=2), ends)
    weights = _weights(cells)
    after = _goal_field(replace_cell(cells, key, codes.EMPTY), width, cells[key])
    fetched = [(1 + after[pose], pose) for pose in _facing(width, weights, key)]
    return flow(width, weights, ends + fetched)


def to_lava(s: GridState) -> int:
    """Fewest turns and steps into the nearest lava, never over the goal; `FAR` if there is none in reach."""
    if codes.KIND[s.cells[s.pos]] == codes.LAVA:
        return 0
    return _lava_field(s.cells, s.width)[s.pos * 4 + s.dir]


@lru_cache(maxsize=_FIELDS)
def _lava_field(cells: bytes, width: int) -> Field:
    weights = _weights(cells, goal=0)
    lava = [at for at, code in enumerate(cells) if codes.KIND[code] == codes.LAVA]
    return flow(width, weights, [(1, pose) for at in lava for pose in _facing(width, weights, at)])


def doors_on_way(s: GridState) -> list[int]:
    """The doors that a shortest way from a state to the goal leads through, in its order; for levels without locks."""
    field, weights = _goal_field(s.cells, s.width, s.carrying), _weights(s.cells)
    doors, pos, direction = [], s.pos, s.dir
    while (here := field[pos * 4 + direction]) > 0:
        front = pos + (1, s.width, -1, -s.width)[direction]
        if weights[front] and field[front * 4 + direction] == here - weights[front]:
            pos = front
            if codes.KIND[s.cells[pos]] == codes.DOOR:
                doors.append(pos)
        else:
            left = (direction - 1) % 4
            direction = left if field[pos * 4 + left] < here else (direction + 1) % 4
    return doors


# ---------------------------------------------------------------------------------------------- levels with a thing

_known: dict[GridState, int] = {}
_KNOWN = 200_000


def to_object(s: GridState, kind: int) -> int:
    """Fewest actions until the one thing of a kind (`codes.BALL`, `codes.BOX`) is carried; `FAR` if it is lost.

    The hands must be empty for it, so the key has to be put down somewhere after the lock is open, where it may stand
    in the way; and a door opened while fetching the key stands open on the way back. No field holds all that, so this
    is A* over the true successors, led by `bound`, which is seldom off. The distances along the way found are kept.
    """
    if codes.KIND[s.carrying] == kind:
        return 0
    found = _known.get(s)
    if found is None:
        if len(_known) > _KNOWN:
            _known.clear()
        found = _known[s] = _search(s, kind)
    return found


def _search(start: GridState, kind: int) -> int:
    first = bound(start, kind)
    if first >= FAR:
        return FAR
    cost = {start: 0}
    parent: dict[GridState, GridState] = {}
    # Among equals the one nearest to completion goes first; the counter keeps the heap from comparing states.
    heap = [(first, first, 0, start)]
    pushed = 0
    while heap:
        total, left, _, s = heappop(heap)
        so_far = total - left
        if so_far > cost[s]:
            continue  # a cheaper way was found since
        if left == 0:
            return _keep_way(s, start, parent, so_far)
        for action in (FORWARD, LEFT, RIGHT, PICKUP, DROP, TOGGLE):
            if action == TOGGLE and _spoils(s.cells[s.front], kind):
                continue
            t = successor(s, action)
            if t is not s and so_far + 1 < cost.get(t, FAR):
                cost[t], parent[t] = so_far + 1, s
                left = bound(t, kind)
                if left < FAR:
                    pushed += 1
                    heappush(heap, (so_far + 1 + left, left, pushed, t))
    return FAR


def _spoils(code: int, kind: int) -> bool:
    """Toggling this cell helps nobody: a box that is opened is gone, and an open door lets through all that a closed
    one does."""
    is_open = codes.KIND[code] == codes.DOOR and codes.door_state(code) == codes.OPEN
    return is_open or codes.KIND[code] == kind


def _keep_way(s: GridState, start: GridState, parent: dict[GridState, GridState], length: int) -> int:
    steps = 0
    while s != start:
        s, steps = parent[s], steps + 1
        _known[s] = steps
    return length


def bound(s: GridState, kind: int) -> int:
    """A lower bound of `to_object`: 0 if and only if the thing is carried, `FAR` only if it is out of reach.

    It leaves out two costs alone: that doors which are closed now must be opened for the later errands too (they may
    stand open by then), and that the key may lie in the way where it was put down.
    """
    if codes.KIND[s.carrying] == kind:
        return 0
    return _object_field(s.cells, s.width, s.carrying, kind, 2)[s.pos * 4 + s.dir]


@lru_cache(maxsize=_FIELDS)
def _object_field(cells: bytes, width: int, carrying: int, kind: int, closed: int) -> Field:
    """`bound` over poses; ``closed`` is what entering a closed door costs on the first errand (1: may be open)."""
    key, lock = find(cells, codes.KEY), find_lock(cells)
    weights = _weights(cells, closed=closed)
    if codes.KIND[carrying] == codes.KEY:
        if lock >= 0:  # errand: open the lock
            opened = replace_cell(cells, lock, codes.with_door(cells[lock], codes.OPEN))
            after = _object_field(opened, width, carrying, kind, 1)
            return flow(width, weights, [(1 + after[p], p) for p in _facing(width, weights, lock)])
        after = _object_field(cells, width, codes.EMPTY, kind, 1)  # errand: put the key down before an empty cell
        steps = (1, width, -1, -width)
        spots = [
            (1 + after[p], p)
            for p in range(4 * len(cells))
            if weights[p >> 2] and cells[(p >> 2) + steps[p & 3]] == codes.EMPTY
        ]
        return flow(width, weights, spots)
    if lock >= 0 and key >= 0:  # errand: fetch the key
        after = _object_field(replace_cell(cells, key, codes.EMPTY), width, cells[key], kind, 1)
        return flow(width, weights, [(1 + after[p], p) for p in _facing(width, weights, key)])
    if key >= 0:  # as if it lay nowhere: one field for all places where it may have been put down
        return _object_field(replace_cell(cells, key, codes.EMPTY), width, carrying, kind, closed)
    target = find(cells, kind)  # errand: fetch the thing
    if target < 0:
        return flow(width, weights, [])
    return flow(width, weights, [(1, p) for p in _facing(width, weights, target)])
