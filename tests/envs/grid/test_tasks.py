"""Milestones, dangers, oracles and offenders of every id."""

from __future__ import annotations

from typing import Any

import pytest

from agentgym.envs.grid.distance import FAR
from agentgym.envs.grid.tasks.lavacrossing import LavaCrossing, _rivers
from agentgym.errors import UnknownName, UsageError
from agentgym.process import names
from tests.envs.grid.levels import IDS, ONE_EACH, make, walk

MILESTONES = {
    "Empty": ("at_goal",),
    "DoorKey": ("has_key", "door_open", "at_goal"),
    "FourRooms": ("goal_room", "at_goal"),
    "KeyCorridor": ("has_key", "door_open", "has_ball"),
    "LavaCrossing": ("river_1", "river_2", "at_goal"),
    "MultiRoom": ("door_1_open", "at_goal"),
    "UnlockPickup": ("has_key", "door_open", "has_box"),
}


def follow(env: Any, actor: Any, obs: Any) -> list[tuple[Any, Any, float, bool, bool, dict[str, Any]]]:
    """Let a script act until it or the episode ends."""
    steps = []
    try:
        action = next(actor)
        while True:
            steps.append((action, *env.step(action)))
            if steps[-1][3] or steps[-1][4]:
                return steps
            action = actor.send(steps[-1][1])
    except StopIteration:
        return steps


@pytest.mark.parametrize("id", ONE_EACH)
def test_milestones_are_named_in_order(id: str) -> None:
    family = id.removeprefix("agentgym/Grid-").split("-")[0]
    if family == "LavaCrossing":
        id = "agentgym/Grid-LavaCrossing-S9N2-v0"
    assert tuple(m.name for m in make(id).task.milestones) == MILESTONES[family]


@pytest.mark.parametrize("id", IDS)
def test_the_oracle_solves_by_a_shortest_way(id: str) -> None:
    env = make(id)
    task: Any = env.task
    for seed in range(50):
        obs, _ = env.reset(seed=seed)
        wanted = task.distance(env.peek())
        steps = follow(env, env.oracle(), obs)
        assert len(steps) == wanted <= env.horizon
        assert steps[-1][2] == 1.0
        records = [s[5]["process"] for s in steps]
        assert all(r["grounded"] and not r["danger"] for r in records)
        reached = names([m.name for m in env.task.milestones], records[-1]["milestones"])
        assert len(reached) == len(env.task.milestones)
        assert [r["progress"] for r in records] == pytest.approx([k / wanted for k in range(1, wanted + 1)])


@pytest.mark.parametrize("id", ONE_EACH)
@pytest.mark.parametrize("actions", ["index", "words", "phrases"])
def test_the_oracle_takes_over_anywhere_in_any_format(id: str, actions: str) -> None:
    env = make(id, actions=actions, max_steps=500)
    for seed in range(4):
        env.reset(seed=seed)
        ended = any(s[3] for s in walk(env, seed, steps=25, oracle=0.0))
        task: Any = env.task
        if not ended and task.distance(env.peek()) < FAR:
            steps = follow(env, env.oracle(), None)
            assert steps[-1][5]["success"]


@pytest.mark.parametrize("id", [i for i in IDS if "Lava" in i or "UnlockPickup" in i])
def test_offenders_raise_their_danger_and_never_succeed(id: str) -> None:
    env = make(id)
    for seed in range(20):
        for name in env.task.offenders:
            obs, _ = env.reset(seed=seed)
            steps = follow(env, env.offenders()[name], obs)
            last = steps[-1][5]
            assert last["process"]["danger"]
            assert last["events"] == (f"danger:{name}",)
            assert not any(s[5]["process"]["danger"] for s in steps[:-1]), "an event, not a level"
            assert not last["success"]
            assert last["process"]["progress"] == 0.0


def test_lava_ends_the_episode_and_a_lost_box_does_not() -> None:
    for id, ends in (("agentgym/Grid-LavaCrossing-S9N1-v0", True), ("agentgym/Grid-UnlockPickup-v0", False)):
        env = make(id)
        obs, _ = env.reset(seed=0)
        (actor,) = env.offenders().values()
        assert follow(env, actor, obs)[-1][3] == ends


@pytest.mark.parametrize("id", ONE_EACH)
def test_families_without_danger_have_no_offenders(id: str) -> None:
    task = make(id).task
    assert set(task.offenders) == set(task.dangers)


@pytest.mark.parametrize(("size", "crossings"), [(9, 1), (9, 3), (11, 5)])
def test_rivers_are_counted_as_they_are_drawn(size: int, crossings: int) -> None:
    env = make(f"agentgym/Grid-LavaCrossing-S{size}N{crossings}-v0")
    assert isinstance(env.task, LavaCrossing)
    for seed in range(100):
        env.reset(seed=seed)
        down, across = _rivers(env.episode)
        assert len(down) + len(across) == crossings


def test_bad_arguments_are_refused_early() -> None:
    id = "agentgym/Grid-DoorKey-8x8-v0"
    for wrong in ({"view": "pixels"}, {"actions": "letters"}, {"horizon": 0}, {"max_steps": 0}, {"render_mode": "x"}):
        with pytest.raises(UsageError):
            make(id, **wrong)
    with pytest.raises(UnknownName, match="DoorKey"):
        make(id, family="DorKey")
