"""Gymnasium's vectors and wrappers work on ProcessEnv with no code of ours."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv
from gymnasium.wrappers import RecordEpisodeStatistics, RecordVideo, TimeLimit

from agentgym.process import FIELDS
from tests.toy import ARRAY_ID, TEXT_ID, make, register_toys

RIGHT, WAIT = 1, 2
STRAIGHT = {"params": {"length": 6, "start": 2}}
Vector = Callable[..., gymnasium.vector.VectorEnv[Any, Any, Any]]

numbers = partial(make, "array", slip=0.0)
waiting_numbers = partial(make, "array", slip=0.0, asynchronous=True)


@pytest.fixture(params=[SyncVectorEnv, AsyncVectorEnv], ids=["sync", "async"])
def vector(request: pytest.FixtureRequest) -> Vector:
    return request.param  # type: ignore[no-any-return]


@pytest.mark.parametrize("one", [numbers, waiting_numbers], ids=["plain", "coroutines"])
def test_the_record_merges_into_columns_of_its_types(
    vector: Vector, one: Callable[[], gymnasium.Env[Any, Any]]
) -> None:
    one().reset(seed=0)  # a loop thread that lives before the workers fork must not be waited for
    envs = vector([one] * 3)
    try:
        _, infos = envs.reset(seed=7)
        singles = [one() for _ in range(3)]
        records = [env.reset(seed=7 + k)[1]["process"] for k, env in enumerate(singles)]
        for _ in range(4):
            for name, kind in FIELDS.items():
                column = infos["process"][name]
                assert column.dtype == np.dtype(kind), name
                assert column.tolist() == [record[name] for record in records]
            assert infos["success"].dtype == bool
            *_, infos = envs.step(np.array([0, 1, 2]))
            records = [env.step(k)[-1]["process"] for k, env in enumerate(singles)]
    finally:
        envs.close()


def test_text_environments_go_into_vectors_too(vector: Vector) -> None:
    # Gymnasium reads text out of shared memory once, at the start; without it text arrives through the pipe.
    options = {"shared_memory": False} if vector is AsyncVectorEnv else {}
    envs = vector([partial(make, slip=0.0, admissible=True)] * 2, **options)
    try:
        envs.reset(options=dict(STRAIGHT))
        observations, _, _, _, infos = envs.step(("right", "jump"))
        assert tuple(observations["text"]) == ("You stand in cell 3 of 6.", "You stand in cell 2 of 6.")
        assert infos["process"]["grounded"].tolist() == [True, False]
        assert infos["events"].tolist() == [(), ()]
        assert infos["admissible"][0] == ("left", "right", "wait")
        assert infos["error"][1].startswith("expected one of")
    finally:
        envs.close()


def test_an_automatic_reset_gives_a_reset_record(vector: Vector) -> None:
    envs = vector([numbers] * 2)
    try:
        envs.reset(options=dict(STRAIGHT))
        for _ in range(3):
            _, rewards, terminated, _, infos = envs.step(np.array([RIGHT, WAIT]))
        assert (rewards.tolist(), terminated.tolist()) == ([1.0, 0.0], [True, False])
        assert infos["process"]["progress"].tolist() == [1.0, 0.0]
        assert envs.call("hidden_performance") == (1.0, 0.0)
        _, rewards, terminated, _, infos = envs.step(np.array([RIGHT, WAIT]))
        assert (rewards.tolist(), terminated.tolist()) == ([0.0, 0.0], [False, False])
        assert infos["_goal"].tolist() == [True, False]  # only a reset tells the goal
        assert infos["process"]["milestones"].tolist() == [0, 0]
        assert envs.call("hidden_performance") == (1.0, 0.0)  # kept for the episode that just ended
        envs.step(np.array([RIGHT, WAIT]))
        assert envs.call("hidden_performance") == (0.0, 0.0)
    finally:
        envs.close()


def test_an_automatic_reset_in_the_same_step_keeps_the_final_record() -> None:
    envs = SyncVectorEnv([numbers] * 2, autoreset_mode=AutoresetMode.SAME_STEP)
    envs.reset(options=dict(STRAIGHT))
    for _ in range(3):
        *_, infos = envs.step(np.array([RIGHT, WAIT]))
    assert infos["final_info"]["process"]["progress"].tolist() == [1.0, 0.0]
    assert infos["process"]["progress"].tolist() == [0.0, 0.0]
    assert envs.call("hidden_performance") == (1.0, 0.0)


def test_episode_statistics_count_rewards_and_steps() -> None:
    env = RecordEpisodeStatistics(numbers())
    env.reset(options=dict(STRAIGHT))
    for _ in range(3):
        *_, info = env.step(RIGHT)
    assert (info["episode"]["r"], info["episode"]["l"]) == (1.0, 3)
    assert info["process"]["progress"] == 1.0


def test_a_time_limit_truncates_earlier_and_the_next_episode_is_whole() -> None:
    env = TimeLimit(numbers(), 2)
    env.reset(options=dict(STRAIGHT))
    assert [env.step(WAIT)[3] for _ in range(2)] == [False, True]
    env.reset(options=dict(STRAIGHT))
    assert [env.step(RIGHT)[2] for _ in range(2)] == [False, False]


def test_a_video_is_recorded(tmp_path: Path, need: Any) -> None:
    need(importlib.util.find_spec("moviepy"), "moviepy", "run `pip install moviepy`")
    env = RecordVideo(numbers(render_mode="rgb_array"), str(tmp_path / "videos"), disable_logger=True)
    env.reset(options=dict(STRAIGHT))
    for _ in range(3):
        env.step(RIGHT)
    env.close()
    (video,) = (tmp_path / "videos").glob("*.mp4")
    assert video.stat().st_size > 0


@pytest.mark.parametrize("id", [TEXT_ID, ARRAY_ID])
def test_an_id_runs_under_gymnasiums_passive_checker(id: str, recwarn: pytest.WarningsRecorder) -> None:
    register_toys()
    env = gymnasium.make(id, render_mode="ansi", max_steps=5)
    env.reset(seed=0)
    for _ in range(5):
        *_, truncated, _ = env.step(env.unwrapped.task.actions[WAIT])  # type: ignore[attr-defined]  # a CorridorTask
    assert truncated
    assert isinstance(env.render(), str)
    assert env.spec is not None
    assert env.spec.max_episode_steps is None
    env.close()
    assert not recwarn.list
