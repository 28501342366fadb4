"""Progress is the true shortest path: against brute force over minigrid's own steps, in every state of small levels."""

from __future__ import annotations

from typing import Any

import pytest

import agentgym
from agentgym.envs.grid.distance import FAR
from agentgym.envs.grid.state import GridState, successor
from tests.envs.grid.levels import ONE_EACH, make, walk


def all_distances(env: agentgym.ProcessEnv[GridState]) -> dict[GridState, int]:
    """Fewest actions to success from every state that can come up, by asking minigrid for every step.

    Forward: every state, by restoring it and taking each of the six actions. Backward: breadth first from success.
    """
    task: Any = env.task
    snapshot = env.world.snapshot()
    before: dict[GridState, list[GridState]] = {env.peek(): []}
    todo = [env.peek()]
    for state in todo:  # grows while we go
        if task.ends(state, agentgym.Events(), env.episode):
            continue
        for action in range(6):
            env.world.restore(snapshot._replace(state=state), env.np_random)
            env.world.act(action)
            after = env.world.state()
            if after not in before:
                before[after] = []
                todo.append(after)
            before[after].append(state)
    distance = {s: 0 for s in before if task.success(s, env.episode)}
    todo = list(distance)
    for state in todo:
        for earlier in before[state]:
            if earlier not in distance:
                distance[earlier] = distance[state] + 1
                todo.append(earlier)
    return {s: distance.get(s, FAR) for s in before}


@pytest.mark.parametrize(
    ("id", "seeds"),
    [
        ("agentgym/Grid-Empty-Random-5x5-v0", range(3)),
        ("agentgym/Grid-DoorKey-5x5-v0", range(6)),
        ("agentgym/Grid-DoorKey-6x6-v0", [1]),
        ("agentgym/Grid-KeyCorridor-S3R1-v0", range(4)),
        ("agentgym/Grid-LavaCrossing-S9N3-v0", range(3)),
        ("agentgym/Grid-MultiRoom-N2-S4-v0", range(4)),
        pytest.param("agentgym/Grid-FourRooms-v0", [0], marks=pytest.mark.slow),
        pytest.param("agentgym/Grid-KeyCorridor-S3R2-v0", [0], marks=pytest.mark.slow),
        pytest.param("agentgym/Grid-MultiRoom-N4-S5-v0", [0], marks=pytest.mark.slow),
        pytest.param("agentgym/Grid-UnlockPickup-v0", [0], marks=pytest.mark.slow),
    ],
)
def test_exact_in_every_state(id: str, seeds: Any) -> None:
    env = make(id)
    task: Any = env.task
    for seed in seeds:
        env.reset(seed=seed)
        for state, true in all_distances(env).items():
            assert task.distance(state) == true, f"seed {seed}: {state}"


@pytest.mark.parametrize("id", ONE_EACH)
def test_no_action_gains_more_than_one_and_some_action_gains_one(id: str) -> None:
    env = make(id)
    task: Any = env.task
    for seed in range(8):
        env.reset(seed=seed)
        for *_, info in walk(env, seed):
            state = env.peek()
            here = task.distance(state)
            if here in (0, FAR):
                continue
            nexts = [task.distance(successor(state, a)) for a in range(6)]
            assert min(nexts) == here - 1
            start = task.distance(env.episode.start)
            assert info["process"]["progress"] == max(0.0, 1 - here / start)


def test_progress_is_zero_behind_the_start_and_when_all_is_lost() -> None:
    env = make("agentgym/Grid-Empty-5x5-v0")
    env.reset(seed=0)  # faces east, the goal is south-east: turning left leads away
    assert env.step(0)[-1]["process"]["progress"] == 0.0
    env = make("agentgym/Grid-UnlockPickup-v0")
    env.reset(seed=0)
    for action in env.offenders()["box_destroyed"]:
        info = env.step(action)[-1]
    assert info["process"]["danger"]
    assert info["process"]["progress"] == 0.0
