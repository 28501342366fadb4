"""The same seeds give minigrid's own levels, observations, rewards and ends, bit for bit."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import agentgym
from agentgym.envs.grid import codes
from agentgym.envs.grid.state import successor
from tests.envs.grid.levels import IDS, ONE_EACH, make, walk

MINIGRID = {
    "KeyCorridor-S": "KeyCorridorS",
    "LavaCrossing-S": "LavaCrossingS",
    "MultiRoom-N4-S5-v0": "MultiRoom-N4-S5-v1",
    "MultiRoom-N6-S5-v0": "MultiRoom-N4-S5-v0",
    "DoorKey-8x8-H60": "DoorKey-8x8",
}


def original(id: str) -> Any:
    """minigrid's environment behind one of our ids."""
    name = id.removeprefix("agentgym/Grid-")
    for ours, theirs in MINIGRID.items():
        if name.startswith(ours):
            name = name.replace(ours, theirs)
            break
    return gym.make(f"MiniGrid-{name}").unwrapped


def assert_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert ours["image"].dtype == theirs["image"].dtype
    np.testing.assert_array_equal(ours["image"], theirs["image"])
    assert ours["direction"] == theirs["direction"]
    assert ours["mission"] == theirs["mission"]


@pytest.mark.parametrize("id", [id for id in IDS if "LavaShortcut" not in id])  # minigrid's level, but rules of our own
def test_levels_and_walks_are_minigrids_own(id: str) -> None:
    env, twin = make(id, reward="world"), original(id)
    if "-H" not in id:
        assert env.horizon == twin.max_steps, "a task with other limits needs an id of its own"
    for seed in range(12):
        assert_same(env.reset(seed=seed)[0], twin.reset(seed=seed)[0])
        for action, obs, reward, terminated, _, info in walk(env, seed):
            their_obs, their_reward, their_end, _, _ = twin.step(action)
            assert_same(obs, their_obs)
            assert terminated == their_end
            if "-H" not in id:
                assert reward == pytest.approx(their_reward)
            assert info["success"] == (their_reward > 0)


def test_resets_without_a_seed_go_on_from_the_same_stream() -> None:
    env, twin = make("agentgym/Grid-DoorKey-8x8-v0"), original("agentgym/Grid-DoorKey-8x8-v0")
    assert_same(env.reset(seed=3)[0], twin.reset(seed=3)[0])
    for _ in range(5):
        assert_same(env.reset()[0], twin.reset()[0])


@pytest.mark.parametrize("id", ONE_EACH)
def test_the_planners_rules_are_minigrids(id: str) -> None:
    env = make(id)
    for seed in range(10):
        env.reset(seed=seed)
        before = env.peek()
        for action, *_ in walk(env, seed):
            assert successor(before, action) == env.peek(), f"action {action} in\n{env.world.render('ansi')}"
            before = env.peek()


@pytest.mark.parametrize("id", ONE_EACH)
def test_a_restored_level_goes_on_as_minigrid_would(id: str) -> None:
    env, other, twin = make(id, reward="world"), make(id, reward="world"), original(id)
    for seed in range(6):
        env.reset(seed=seed), twin.reset(seed=seed)
        for steps in (3, 9, 60):  # the episode moves back and forth between two instances
            for action, obs, reward, terminated, _, _ in walk(env, seed, steps):
                their_obs, their_reward, their_end, _, _ = twin.step(action)
                assert_same(obs, their_obs)
                assert (reward, terminated) == (pytest.approx(their_reward), their_end)
            if env._ended:
                break
            other.restore(pickle.loads(pickle.dumps(env.snapshot())))
            assert other.world.render("ansi") == env.world.render("ansi")
            env, other = other, env


def test_code_tables_are_minigrids() -> None:
    from minigrid.core import constants
    from minigrid.core.world_object import WorldObj

    assert {k: n for n, k in enumerate(codes.KINDS)} == constants.OBJECT_TO_IDX
    assert {k: n for n, k in enumerate(codes.COLOURS)} == constants.COLOR_TO_IDX
    assert {k: n for n, k in enumerate(codes.DOOR_STATES)} == constants.STATE_TO_IDX
    for code in range(codes.pack(10, 5, 2) + 1):
        triple = tuple(int(v) for v in codes.LUT[code])
        assert codes.pack(*triple) == code
        thing = WorldObj.decode(*triple)
        if thing is not None and (thing.type == "door" or triple[2] == 0) and thing.type not in ("goal", "lava"):
            assert thing.encode() == triple
            assert thing.see_behind() == (codes.OPAQUE[code] == ord("0"))


def test_registered_limits_and_names_belong_together() -> None:
    for id in IDS:
        assert f"agentgym/Grid-{make(id).task.id}-v0" == id, "the id says size and limit"
    assert make("agentgym/Grid-DoorKey-8x8-H60-v0").horizon == 60
    assert {agentgym.find(id).extra for id in IDS} == {"grid"}
