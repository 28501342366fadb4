"""FourRooms: four rooms joined by gaps in their walls; the goal anywhere.

Why it is here: pure search with a narrow view. What an agent has seen, and whether it remembers, decides everything, so
it sets the strict views against the memory view.

Mission
    reach the goal
Actions
    left, right, forward; nothing to pick up, drop or toggle; done does nothing and is not grounded
Milestones, in order
    goal_room (in the goal's room, or in one of its gaps; a start there counts), at_goal
Progress
    exact: 1 - d(state) / d(start), d the fewest actions to the goal (which the agent does not know: progress may well
    rise while it is lost)
Danger
    none, and so no offenders
Ids
    agentgym/Grid-FourRooms-v0
"""

from __future__ import annotations

from typing import Any

from agentgym.envs.grid import codes
from agentgym.envs.grid.distance import find, to_goal
from agentgym.envs.grid.state import GridState, Level
from agentgym.envs.grid.task import GridTask, at_goal
from agentgym.task import Episode, Milestone

__all__ = ["FourRooms"]

_SIZE = 19
_ROOM = _SIZE // 2


def _in_goal_room(state: GridState, ep: Episode) -> bool:
    if "goal" not in ep.memo:
        ep.memo["goal"] = divmod(find(ep.start.cells, codes.GOAL), _SIZE)
    y, x = divmod(state.pos, _SIZE)
    goal_y, goal_x = ep.memo["goal"]
    return all(a % _ROOM == 0 or g % _ROOM == 0 or a // _ROOM == g // _ROOM for a, g in ((x, goal_x), (y, goal_y)))


class FourRooms(GridTask):
    """See the module's docstring. No arguments."""

    mission = "reach the goal"
    milestones = (Milestone("goal_room", "In the room of the goal.", _in_goal_room), at_goal)
    reach = _SIZE - 3

    def configure(self, **level: Any) -> tuple[Level, int, str]:
        """minigrid's FourRoomsEnv."""
        return Level("FourRoomsEnv", level), 100, "FourRooms"

    def distance(self, state: GridState) -> int:
        """Fewest actions to the goal square."""
        return to_goal(state)
