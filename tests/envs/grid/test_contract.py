"""The grid family keeps Gymnasium's contract and the process record's."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

from agentgym.process import FIELDS
from tests.envs.grid.levels import ONE_EACH, make, walk


@pytest.mark.parametrize("view", ["array", "text", "memory"])
@pytest.mark.parametrize("id", ONE_EACH)
def test_gymnasiums_checker_is_content(id: str, view: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(id, view=view), skip_render_check=True)


@pytest.mark.parametrize("id", ONE_EACH)
def test_records_are_plain_python(id: str) -> None:
    env = make(id)
    _, info = env.reset(seed=0)
    infos = [info] + [step[-1] for step in walk(env, 0)]
    for info in infos:
        assert {k: type(v) for k, v in info["process"].items()} == FIELDS


@pytest.mark.parametrize("id", ONE_EACH)
def test_a_seed_after_any_history_is_a_fresh_start(id: str) -> None:
    used, fresh = make(id, view="memory"), make(id, view="memory")
    used.reset(seed=1)
    list(walk(used, 1))
    assert used.reset(seed=7) == fresh.reset(seed=7)
    for a, b in zip(walk(used, 3), walk(fresh, 3), strict=True):
        assert a == b


@pytest.mark.parametrize("id", ONE_EACH)
def test_equal_states_have_equal_anchors_and_no_others(id: str) -> None:
    env = make(id)
    anchors: dict[int, Any] = {}
    states: dict[Any, int] = {}
    for seed in range(8):
        for again in (0, 1):  # another way through the same level
            _, info = env.reset(seed=seed)
            for *_, info in walk(env, seed + 100 * again):
                anchor, state = info["process"]["anchor"], env.peek()
                assert anchors.setdefault(anchor, state) == state
                assert states.setdefault(state, anchor) == anchor
    assert len(anchors) == len(states) > 20


def test_anchors_are_the_same_on_every_machine() -> None:
    anchor = make("agentgym/Grid-DoorKey-5x5-v0").reset(seed=0)[1]["process"]["anchor"]
    program = (
        "import gymnasium as gym, agentgym;"
        "print(gym.make('agentgym/Grid-DoorKey-5x5-v0', view='memory').reset(seed=0)[1]['process']['anchor'])"
    )
    env = {"PYTHONHASHSEED": "77"}
    out = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=env)
    assert int(out.stdout) == anchor


def test_layouts_are_told_apart_by_what_was_drawn() -> None:
    env = make("agentgym/Grid-DoorKey-5x5-v0")
    drawn = {}
    for seed in range(1500):
        env.reset(seed=seed)
        drawn.setdefault(env.world.layout_id(), set()).add(env.peek())
    assert all(len(states) == 1 for states in drawn.values())
    assert len(drawn) == 48, "all there are"
    env.step(0)
    env.reset(seed=0)
    before = env.world.layout_id()
    env.step(0)
    assert env.world.layout_id() == before, "the level as drawn, not as it stands"


@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("view", ["array", "memory"])
def test_vectors_merge_the_record_into_columns(vector: Any, view: str) -> None:
    envs = vector([lambda: gym.make("agentgym/Grid-DoorKey-5x5-v0", view=view)] * 2)
    try:
        envs.reset(seed=[0, 1])
        infos = envs.step(envs.action_space.sample() if view == "array" else ("left", "nonsense"))[-1]
        columns = infos["process"]
        assert {k: columns[k].dtype for k in FIELDS} == {
            "milestones": np.dtype(np.int64),
            "progress": np.dtype(np.float64),
            "danger": np.dtype(bool),
            "grounded": np.dtype(bool),
            "anchor": np.dtype(np.int64),
        }
        if view == "memory":
            assert columns["grounded"].tolist() == [True, False]
        singles = [make("agentgym/Grid-DoorKey-5x5-v0").reset(seed=s)[1]["process"]["anchor"] for s in (0, 1)]
        merged = envs.reset(seed=[0, 1])[1]["process"]["anchor"]
        assert merged.tolist() == singles, "64 bits survive the merge"
    finally:
        envs.close()


@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize("view", ["array", "text", "memory"])
def test_vectors_show_what_single_environments_show(vector: Any, view: str) -> None:
    """Texts too, which Gymnasium alone would never update in the memory that its processes share."""
    seeds = [3, 4]
    singles = [make("agentgym/Grid-DoorKey-5x5-v0", view=view) for _ in seeds]
    envs = vector([lambda: gym.make("agentgym/Grid-DoorKey-5x5-v0", view=view)] * 2)
    actions = [0, 2, 1] if view == "array" else ["left", "nonsense", "right"]
    try:
        seen = [envs.reset(seed=seeds)[0]] + [
            envs.step(np.array([a, a]) if view == "array" else (a, a))[0] for a in actions
        ]
        wanted = [[env.reset(seed=s)[0] for env, s in zip(singles, seeds, strict=True)]]
        wanted += [[env.step(a)[0] for env in singles] for a in actions]
        for together, alone in zip(seen, wanted, strict=True):
            for name in alone[0]:
                for k in range(2):
                    np.testing.assert_array_equal(together[name][k], alone[k][name])
    finally:
        envs.close()


def test_forks_share_the_past_and_not_the_future() -> None:
    env = make("agentgym/Grid-DoorKey-6x6-v0", view="memory")
    env.reset(seed=4)
    list(walk(env, 4, steps=10))
    snapshot, here = env.snapshot(), env.peek()
    for _ in walk(env, 5, steps=10):
        pass
    env.restore(snapshot)
    assert env.peek() == here
    assert env._t == snapshot.t


def test_registering_imports_no_minigrid() -> None:
    program = "import sys, agentgym; assert agentgym.catalogue('grid'); sys.exit('minigrid' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
