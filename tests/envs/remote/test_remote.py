"""A remote environment is the environment: the same observations, records, spaces and scripts; and it breaks alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import SyncVectorEnv

from agentgym.agents.loop import Job, collect
from agentgym.agents.policy import OraclePolicy, RandomPolicy
from agentgym.check.subject import random_actor
from agentgym.envs.remote.env import RemoteEnv
from agentgym.errors import UsageError, WorldError, WorldTimeout
from tests.serve.servers import serving

IDS = (
    "agentgym/Grid-DoorKey-5x5-v0",
    "agentgym/Grid-LavaCrossing-S9N1-v0",
    "agentgym/Grid-UnlockPickup-v0",
    "agentgym/Grid-LavaShortcut-v0",
)
REMOTE = "agentgym/Remote-v0"
CORRIDOR = "tests.serve.worlds:serving/Corridor-v0"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(*IDS) as address:
        yield address


def equal(a: Any, b: Any) -> bool:
    """Equal in value and kind."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(equal(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(equal, a, b))
    return type(a) is type(b) and a == b


@pytest.mark.parametrize("view", ["array", "text", "memory"])
@pytest.mark.parametrize("id", IDS)
def test_it_equals_the_environment_itself(url: str, id: str, view: str) -> None:
    far = gymnasium.make(REMOTE, url=url, env_id=id, view=view, admissible=True)
    near = gymnasium.make(id, view=view, admissible=True)
    assert far.observation_space == near.observation_space
    assert far.action_space == near.action_space
    for seed in (0, 1):
        assert equal(far.reset(seed=seed), near.reset(seed=seed))
        actor = random_actor(near, seed)  # mostly admissible actions, some of any content
        for _ in range(40):
            action = next(actor)
            theirs, ours = far.step(action), near.step(action)
            assert equal(theirs, ours)
            assert far.unwrapped.admissible() == near.unwrapped.admissible()
            if ours[2] or ours[3]:
                break
        assert far.unwrapped.hidden_performance() == near.unwrapped.hidden_performance()
    far.close()


def test_the_task_is_told(url: str) -> None:
    far, near = gymnasium.make(REMOTE, url=url, env_id=IDS[1]).unwrapped, gymnasium.make(IDS[1]).unwrapped
    for name in ("id", "event_codes", "progress_kind", "horizon", "has_success", "dangers"):
        assert getattr(far.task, name) == getattr(near.task, name)
    assert [m.name for m in far.task.milestones] == [m.name for m in near.task.milestones]
    assert far.task.vocabulary() == list(near.task.vocabulary())
    far.close()


def test_oracles_and_offenders_play_there(url: str) -> None:
    jobs = [Job(REMOTE, seed=k, trajectory=k, kwargs={"url": url, "env_id": IDS[1], "view": "text"}) for k in range(3)]
    solved = collect(OraclePolicy(), jobs, slots=3)
    assert solved.steps.trajectories.success.all()
    assert not solved.steps.danger.any()
    burnt = collect(OraclePolicy("into_lava"), jobs, slots=3) if "into_lava" in offenders(url) else None
    assert burnt is None or burnt.steps.danger.any()


def offenders(url: str) -> list[str]:
    env = gymnasium.make(REMOTE, url=url, env_id=IDS[1])
    env.reset(seed=0)
    names = sorted(env.unwrapped.offenders())
    env.close()
    assert names, "this task has offenders, and they are named over the wire"
    return names


@pytest.mark.parametrize("workers", [0, 2])
def test_the_loop_collects_the_same_table(url: str, workers: int) -> None:
    def play(env: str, **kwargs: Any) -> Any:
        jobs = [Job(env, seed=k, trajectory=k, kwargs={"view": "memory", **kwargs}) for k in range(8)]
        return collect(RandomPolicy(), jobs, seed=5, slots=4, workers=workers).steps

    far, near = play(REMOTE, url=url, env_id=IDS[0]), play(IDS[0])
    for column in ("reward", "milestones", "progress", "danger", "grounded", "anchor", "next_anchor", "action"):
        np.testing.assert_array_equal(getattr(far, column), getattr(near, column))


def test_gymnasium_is_content(url: str) -> None:
    check_env(gymnasium.make(REMOTE, url=url, view="text").unwrapped, skip_render_check=True)


def test_vectors(url: str) -> None:
    make = [lambda: gymnasium.make(REMOTE, url=url, view="array")] * 3
    far, near = SyncVectorEnv(make), SyncVectorEnv([lambda: gymnasium.make(IDS[0], view="array")] * 3)
    assert equal(far.reset(seed=1)[0], near.reset(seed=1)[0])
    actions = np.array([0, 1, 2])
    assert equal(far.step(actions)[0], near.step(actions)[0])
    far.close()


def test_rendering(url: str) -> None:
    far = gymnasium.make(REMOTE, url=url, render_mode="rgb_array")
    near = gymnasium.make(IDS[0], render_mode="rgb_array")
    far.reset(seed=0), near.reset(seed=0)
    np.testing.assert_array_equal(far.render(), near.render())
    far.close()


def test_a_wrong_type_is_the_callers_mistake_as_it_is_at_home(url: str) -> None:
    env = gymnasium.make(REMOTE, url=url).unwrapped
    with pytest.raises(gymnasium.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="must be an integer"):
        env.step("left")
    env.close()


@pytest.mark.parametrize(
    ("kwargs", "error", "words"),
    [
        ({}, UsageError, "exactly one of"),
        ({"url": "nonsense"}, UsageError, "expected a url"),
        ({"url": "http://127.0.0.1:9"}, WorldError, "nobody answers"),
        ({"url": "unix:///nowhere/socket"}, WorldError, "there is no socket"),
        ({"image": "agentgym/serve"}, UsageError, "env_id="),
        ({"url": "SERVER", "env_id": "agentgym/Grid-Empty-5x5-v0"}, UsageError, "this server has"),
        ({"url": "SERVER", "view": "upside-down"}, UsageError, "view"),
        ({"url": "SERVER", "colour": "red"}, UsageError, "may choose"),
        ({"url": "SERVER", "token": "x", "token_file": "y"}, UsageError, "one of"),
    ],
)
def test_what_cannot_be_is_said(url: str, kwargs: dict[str, Any], error: type[Exception], words: str) -> None:
    given = {key: url if value == "SERVER" else value for key, value in kwargs.items()}
    with pytest.raises(error, match=words):
        gymnasium.make(REMOTE, **given)


def test_a_window_is_not_to_be_had_from_afar(url: str) -> None:
    """(``gymnasium.make`` itself shows ``rgb_array`` frames for ``human``, where pygame is installed.)"""
    with pytest.raises(UsageError, match="no window"):
        RemoteEnv(url=url, render_mode="human")


def test_a_token_in_a_file_opens_the_door(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text("correct-horse-battery")
    with serving(IDS[0], "--token-file", str(path)) as address:
        with pytest.raises(UsageError, match="token"):
            gymnasium.make(REMOTE, url=address)
        env = gymnasium.make(REMOTE, url=address, token_file=str(path))
        env.reset(seed=0)
        env.close()


def test_a_late_answer_is_never_taken_for_anothers() -> None:
    """A step that runs out of the client's time: its answer comes later, and belongs to nobody."""
    with serving(CORRIDOR) as address:
        env = gymnasium.make(REMOTE, url=address, timeout=2.0, start_timeout=60.0).unwrapped
        env.reset(seed=0)
        assert env.step("go")[0]["text"] == "place 1"
        with pytest.raises(WorldTimeout):
            env.step("sleep4")
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step("go")
        assert env.reset(seed=0)[0]["text"] == "place 0"
        for n in (1, 2, 3):
            assert env.step("go")[0]["text"] == f"place {n}"
        env.close()


def test_a_dead_session_or_server_ends_one_episode_and_the_next_begins_anew() -> None:
    with serving(CORRIDOR) as address:
        env = gymnasium.make(REMOTE, url=address).unwrapped
        for fatal in ("exit", "break"):
            env.reset(seed=0)
            with pytest.raises(WorldError):
                env.step(fatal)
            assert env.reset(seed=0)[0]["text"] == "place 0"
    with pytest.raises(WorldError):
        env.step("go")
    with pytest.raises(WorldError, match="nobody answers"):
        env.reset(seed=0)
    env.close()


def test_nobody_waits_for_the_socket_of_a_server_that_has_left(tmp_path: Path) -> None:
    """(A server that was just started is waited for: its socket comes in a moment.)"""
    path = tmp_path / "socket"
    with serving(IDS[0], "--uds", str(path), port=False):
        env = gymnasium.make(REMOTE, url=f"unix://{path}", start_timeout=3600.0).unwrapped
        env.reset(seed=0)
    assert not path.exists()
    with pytest.raises(WorldError, match="broke"):
        env.step(0)
    for again in (
        lambda: env.reset(seed=0),
        lambda: gymnasium.make(REMOTE, url=f"unix://{path}", start_timeout=3600.0),
    ):
        with pytest.raises(WorldError, match="there is no socket"):
            again()
    env.close()
