"""MultiRoom: a chain of rooms behind closed doors; the goal in the last.

Why it is here: long and straight. One errand, many doors: success by chance falls off geometrically with the rooms,
while progress grows evenly, so it shows how far a credit assigner carries.

Mission
    traverse the rooms to get to the goal
Actions
    left, right, forward, toggle (doors); nothing to pick up or drop; done does nothing and is not grounded
Milestones, in order
    door_1_open … door_(N-1)_open (in the order of the chain), at_goal
Progress
    exact: 1 - d(state) / d(start), d the fewest actions to the goal, doors closed again included
Danger
    none, and so no offenders: doors can be opened and closed at will
Ids
    agentgym/Grid-MultiRoom-{N2-S4, N4-S5, N6}-v0. minigrid's MultiRoom-N4-S5 is its v1: its v0 has six rooms by mistake
    and is agentgym/Grid-MultiRoom-N6-S5-v0 here
"""

from __future__ import annotations

from typing import Any

from agentgym.envs.grid import codes
from agentgym.envs.grid.distance import doors_on_way, to_goal
from agentgym.envs.grid.state import GridState, Level
from agentgym.envs.grid.task import GridTask, at_goal
from agentgym.task import Episode, Milestone

__all__ = ["MultiRoom"]


def _open(state: GridState, ep: Episode, k: int) -> bool:
    if "doors" not in ep.memo:
        ep.memo["doors"] = doors_on_way(ep.start)
    doors: list[int] = ep.memo["doors"]
    return codes.door_state(state.cells[doors[k]]) == codes.OPEN


def _door(k: int) -> Milestone[GridState]:
    return Milestone(f"door_{k}_open", f"Door {k} of the chain has been opened.", lambda s, ep: _open(s, ep, k - 1))


class MultiRoom(GridTask):
    """See the module's docstring. Arguments: number of ``rooms``, and the ``size`` of the largest, walls included."""

    mission = "traverse the rooms to get to the goal"
    landmarks = ("closed_door", "open_door", "goal")
    kinds = ("door", "goal")
    reach = 22

    def configure(self, rooms: int = 2, size: int = 10, **level: Any) -> tuple[Level, int, str]:
        """minigrid's MultiRoomEnv."""
        self.milestones = (*(_door(k) for k in range(1, rooms)), at_goal)
        level = {"minNumRooms": rooms, "maxNumRooms": rooms, "maxRoomSize": size, **level}
        return Level("MultiRoomEnv", level), 20 * rooms, f"MultiRoom-N{rooms}" + (f"-S{size}" if size != 10 else "")

    def distance(self, state: GridState) -> int:
        """Fewest actions to the goal square."""
        return to_goal(state)
