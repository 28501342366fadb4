"""DoorKey: fetch the key, open the locked door, walk to the goal in the other room.

Why it is here: the smallest level in which the outcome alone teaches nothing. Three things must happen in order before
any reward comes, so it separates credit from luck; 5x5 is solved by chance, 16x16 hardly ever.

Mission
    use the key to open the door and then get to the goal
Actions
    left, right, forward, pickup (the key), drop, toggle (the door); done does nothing and is not grounded
Milestones, in order
    has_key, door_open, at_goal
Progress
    exact: 1 - d(state) / d(start), d the fewest actions to the goal by minigrid's rules, also with the key dropped in
    the way or the door closed again
Danger
    none, and so no offenders: nothing here can be broken or lost. A dropped key can be picked up again, an opened lock
    stays open
Ids
    agentgym/Grid-DoorKey-{5x5, 6x6, 8x8, 16x16}-v0 (minigrid's limit of 10·size² steps),
    agentgym/Grid-DoorKey-8x8-H60-v0 (60 steps)
"""

from __future__ import annotations

from typing import Any

from agentgym.envs.grid import codes
from agentgym.envs.grid.distance import to_goal
from agentgym.envs.grid.state import GridState, Level
from agentgym.envs.grid.task import GridTask, at_goal, door_open, has

__all__ = ["DoorKey"]


class DoorKey(GridTask):
    """See the module's docstring. Argument: ``size`` of the square, walls included (5 or more)."""

    mission = "use the key to open the door and then get to the goal"
    milestones = (has("has_key", codes.KEY, "The key has been picked up."), door_open, at_goal)
    landmarks = ("key", "door", "goal")
    kinds = ("key", "door", "goal")

    def configure(self, size: int = 8, **level: Any) -> tuple[Level, int, str]:
        """minigrid's DoorKeyEnv."""
        self.reach = size - 3
        return Level("DoorKeyEnv", {"size": size, **level}), 10 * size**2, f"DoorKey-{size}x{size}"

    def distance(self, state: GridState) -> int:
        """Fewest actions to the goal square."""
        return to_goal(state)
