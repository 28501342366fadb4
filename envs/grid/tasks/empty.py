"""Empty: one room, the goal in the far corner.

Why it is here: the level on which everything must work; and, with its distances known in closed form, the first thing
to look at when a progress curve seems wrong. The agent sees through walls here, as in minigrid.

Mission
    get to the green goal square
Actions
    left, right, forward; nothing to pick up, drop or toggle; done does nothing and is not grounded
Milestones, in order
    at_goal
Progress
    exact: 1 - d(state) / d(start), d the fewest actions to the goal
Danger
    none, and so no offenders
Ids
    agentgym/Grid-Empty-{5x5, 6x6, 8x8, 16x16}-v0, agentgym/Grid-Empty-Random-{5x5, 6x6}-v0 (random start)
"""

from __future__ import annotations

from typing import Any

from agentgym.envs.grid.distance import to_goal
from agentgym.envs.grid.state import GridState, Level
from agentgym.envs.grid.task import GridTask, at_goal

__all__ = ["Empty"]


class Empty(GridTask):
    """See the module's docstring. Arguments: ``size`` of the square, walls included; ``random_start``."""

    mission = "get to the green goal square"
    milestones = (at_goal,)

    def configure(self, size: int = 8, random_start: bool = False, **level: Any) -> tuple[Level, int, str]:
        """minigrid's EmptyEnv."""
        self.reach = size - 3
        start = {"agent_start_pos": None} if random_start else {}
        name = f"Empty-Random-{size}x{size}" if random_start else f"Empty-{size}x{size}"
        return Level("EmptyEnv", {"size": size, **start, **level}), 4 * size**2, name

    def distance(self, state: GridState) -> int:
        """Fewest actions to the goal square."""
        return to_goal(state)
