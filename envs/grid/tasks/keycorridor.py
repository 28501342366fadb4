"""KeyCorridor: find the key in one of the rooms to the left, open the locked door on the right, pick up the ball.

Why it is here: the hardest of the classics. The way leads away from the ball first; and since hands hold one thing, the
key must be put down again before the ball can be taken, a step that nothing in the view asks for.

Mission
    pick up the <colour> ball (minigrid's own, in the array and text views); there is only one ball, so ``info["goal"]``
    names no colour
Actions
    left, right, forward, pickup, drop, toggle (doors); done does nothing and is not grounded
Milestones, in order
    has_key, door_open (the locked one), has_ball
Progress
    exact: 1 - d(state) / d(start), d the fewest actions until the ball is carried, by A* over minigrid's rules
Danger
    none, and so no offenders: nothing can be broken or lost. A dropped key can be picked up again, an opened lock stays
    open
Ids
    agentgym/Grid-KeyCorridor-{S3R1, S3R2, S3R3, S4R3, S5R3, S6R3}-v0
"""

from __future__ import annotations

from typing import Any

from agentgym.envs.grid import codes
from agentgym.envs.grid.distance import to_object
from agentgym.envs.grid.state import GridState, Level
from agentgym.envs.grid.task import GridTask, door_open, has
from agentgym.task import Episode

__all__ = ["KeyCorridor"]


class KeyCorridor(GridTask):
    """See the module's docstring. Arguments: ``room_size`` (walls included) and number of ``rows`` of rooms."""

    mission = "pick up the ball"
    milestones = (
        has("has_key", codes.KEY, "The key has been picked up."),
        door_open,
        has("has_ball", codes.BALL, "The ball has been picked up."),
    )
    landmarks = ("key", "locked_door", "closed_door", "open_door", "ball")
    kinds = ("key", "door", "ball")

    def configure(self, room_size: int = 3, rows: int = 3, **level: Any) -> tuple[Level, int, str]:
        """minigrid's KeyCorridorEnv."""
        self.reach = (room_size - 1) * max(rows, 3) - 2
        level = {"room_size": room_size, "num_rows": rows, **level}
        return Level("KeyCorridorEnv", level), 30 * room_size**2, f"KeyCorridor-S{room_size}R{rows}"

    def distance(self, state: GridState) -> int:
        """Fewest actions until the ball is carried."""
        return to_object(state, codes.BALL)

    def success(self, state: GridState, ep: Episode) -> bool:
        """Carrying the ball."""
        return codes.KIND[state.carrying] == codes.BALL
