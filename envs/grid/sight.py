"""What the agent sees: minigrid's 7×7 partial view, from slices of bytes instead of rotated grids of objects.

Bit-identical with ``MiniGridEnv.gen_obs`` (a test walks both); about ten times faster. The agent stands in the middle
of the nearest row and looks along the columns; the view is kept row by row, the farthest row first.
"""

from __future__ import annotations

from functools import cache

from agentgym.envs.grid import codes

__all__ = ["PAD", "SIZE", "Board"]

SIZE = 7
PAD = SIZE
"""Cells of wall around a board, so that no slice of a view leaves it."""

_HALF = SIZE // 2
_SPREAD = tuple(sum(0xFF << 8 * i for i in range(SIZE) if mask >> i & 1) for mask in range(1 << SIZE))
"""Bit mask of a row (leftmost cell = highest bit) -> mask of the row's seven bytes as a big-endian integer."""


@cache
def _sweep(opaque: int, lit: int) -> tuple[int, int]:
    """One row of minigrid's ``process_vis``: light spreads sideways through clear cells, and from them one row on.

    Args:
        opaque: bit mask of cells that block the sight.
        lit: bit mask of cells that light reached from the row before.

    Returns:
        bit masks of the cells seen in this row and of the cells lit in the next.
    """
    bit = [1 << (SIZE - 1 - i) for i in range(SIZE)]
    ahead = 0
    for i in range(SIZE - 1):
        if lit & bit[i] and not opaque & bit[i]:
            lit |= bit[i + 1]
            ahead |= bit[i + 1] | bit[i]
    for i in range(SIZE - 1, 0, -1):
        if lit & bit[i] and not opaque & bit[i]:
            lit |= bit[i - 1]
            ahead |= bit[i - 1] | bit[i]
    return lit, ahead


class Board:
    """Cells with `PAD` walls around them, in the order that partial views are cut from.

    Args:
        cells: the level's codes, row by row.
        width: cells in a row.
        outside: code of what lies around.
    """

    __slots__ = ("cells", "pitch", "width")

    def __init__(self, cells: bytes, width: int, outside: int = codes.WALL) -> None:
        self.width = width
        self.pitch = width + 2 * PAD
        side, edge = bytes((outside,)) * PAD, bytes((outside,)) * (self.pitch * PAD)
        rows = (side + cells[k : k + width] + side for k in range(0, len(cells), width))
        self.cells = bytearray(edge + b"".join(rows) + edge)

    def at(self, pos: int) -> int:
        """Index in the padded cells of a cell of the level."""
        y, x = divmod(pos, self.width)
        return (y + PAD) * self.pitch + x + PAD

    def set(self, pos: int, code: int) -> None:
        """Change one cell."""
        self.cells[self.at(pos)] = code

    def _rows(self, pos: int, direction: int) -> tuple[int, int, int]:
        """Index of the first cell of the nearest row, and the steps to the next row and the next cell."""
        ahead = (1, self.pitch, -1, -self.pitch)[direction]
        right = (self.pitch, -1, -self.pitch, 1)[direction]
        return self.at(pos) - _HALF * right, ahead, right

    def look(self, pos: int, direction: int, *, through: bool) -> tuple[list[int], bytes]:
        """The partial view.

        Args:
            pos: the agent's cell.
            direction: where it looks.
            through: it sees through walls (minigrid's ``see_through_walls``).

        Returns:
            bit masks of the seen cells, and the 49 codes with `codes.UNSEEN` for the others; both from the nearest row
            (the agent's own) to the farthest. The agent's cell holds what lies under it.
        """
        cells = self.cells
        start, ahead, right = self._rows(pos, direction)
        span = SIZE * right
        masks: list[int] = []
        rows: list[bytes] = []
        lit = 1 << _HALF
        for _ in range(SIZE):
            row = bytes(cells[start : start + span : right])
            start += ahead
            if through:
                seen = (1 << SIZE) - 1
            else:
                seen, lit = _sweep(int(row.translate(codes.OPAQUE), 2), lit)
                row = (int.from_bytes(row, "big") & _SPREAD[seen]).to_bytes(SIZE, "big")
            masks.append(seen)
            rows.append(row)
        return masks, b"".join(rows)

    def remember(self, pos: int, direction: int, masks: list[int], view: bytes) -> None:
        """Write what `look` of another board saw from the same place into this one; the rest stays as it was."""
        cells = self.cells
        start, ahead, right = self._rows(pos, direction)
        span = SIZE * right
        for k, seen in enumerate(masks):
            if seen:
                spread = _SPREAD[seen]
                old = int.from_bytes(cells[start : start + span : right], "big") & ~spread
                new = int.from_bytes(view[k * SIZE : (k + 1) * SIZE], "big") & spread
                cells[start : start + span : right] = (old | new).to_bytes(SIZE, "big")
            start += ahead
