"""`add_process`: any Gymnasium environment with the record, and otherwise unchanged."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from agentgym import ProcessEnv, Transition, add_process
from agentgym.check import check_process_env
from agentgym.errors import TaskError, UsageError

GOAL = 15


def lake(**options: Any) -> ProcessEnv[Transition]:
    """FrozenLake: progress is the way down and right; an ice hole is dangerous."""

    def progress(t: Transition) -> float:
        return sum(divmod(int(t.next_observation), 4)) / 6

    return add_process(
        gymnasium.make("FrozenLake-v1", **options),
        id="lake",
        goal="Cross the lake.",
        success=lambda t: t.next_observation == GOAL,
        progress=progress,
        milestones={"half_way": lambda t: progress(t) >= 0.5, "across": lambda t: t.next_observation == GOAL},
        danger={"fell_in": lambda t: t.terminated and t.next_observation != GOAL},
        anchor=lambda t: int(t.next_observation),
    )


def taxi(**options: Any) -> ProcessEnv[Transition]:
    """Taxi: the passenger is aboard, then delivered; a wrong pick-up or drop-off is dangerous."""

    def aboard(t: Transition) -> bool:
        return int(t.next_observation) // 4 % 5 == 4

    def delivered(t: Transition) -> bool:
        return t.terminated

    return add_process(
        gymnasium.make("Taxi-v4", **options),
        id="taxi",
        goal="Bring the passenger to the hotel.",
        success=delivered,
        progress=lambda t: 1.0 if delivered(t) else 0.5 * aboard(t),
        milestones={"aboard": aboard, "delivered": delivered},
        danger={"illegal": lambda t: t.reward == -10},
        grounded=lambda t: t.reward != -10,
        anchor=lambda t: int(t.next_observation),
    )


def pole(**options: Any) -> ProcessEnv[Transition]:
    """CartPole has no end to reach: an endless task."""
    return add_process(
        gymnasium.make("CartPole-v1", **options),
        id="pole",
        goal="Keep the pole up.",
        success=None,
        danger={"fell": lambda t: t.terminated},
        anchor=lambda t: np.round(t.next_observation, 2).tolist(),
    )


@pytest.mark.parametrize(("make", "id"), [(lake, "FrozenLake-v1"), (taxi, "Taxi-v4"), (pole, "CartPole-v1")])
def test_all_but_the_record_is_the_environments_own(make: Any, id: str) -> None:
    ours, plain = make(), gymnasium.make(id)
    assert ours.observation_space == plain.observation_space
    assert ours.action_space == plain.action_space
    plain.action_space.seed(0)
    for seed in (3, None, None, 4):
        observation, info = ours.reset(seed=seed)
        expected, expected_info = plain.reset(seed=seed)
        ended = False
        while not ended:
            np.testing.assert_array_equal(observation, expected)
            for key, value in expected_info.items():
                np.testing.assert_array_equal(info[key], value)
            action = plain.action_space.sample()
            observation, reward, terminated, truncated, info = ours.step(action)
            expected, *rest, expected_info = plain.step(action)
            assert [reward, terminated, truncated] == [rest[0], rest[1], rest[2] and not rest[1]]
            ended = terminated or truncated


@pytest.mark.parametrize(("make", "why"), [(taxi, "brings no script"), (pole, "endless")])
def test_wrapped_environments_keep_the_contract(make: Any, why: str) -> None:
    report = check_process_env(make)
    assert report.ok, str(report)
    assert why in report["oracle/solves"].evidence


def test_the_check_finds_that_vectors_cut_the_probability_of_frozen_lake() -> None:
    """Its info has ``prob`` 1, an int, at reset and a float later: a vector's column of ints turns 1/3 into 0."""
    report = check_process_env(lake)
    assert report.failed == {"vector/equals-single"}, str(report)
    assert "info.prob = float 0.33" in report["vector/equals-single"].expected
    assert "info.prob = int 0" in report["vector/equals-single"].got


def test_a_walk_across_the_lake() -> None:
    env = lake(is_slippery=False)
    _, info = env.reset(seed=0)
    assert (info["task"], info["goal"], info["prob"]) == ("lake", "Cross the lake.", 1)
    told = []
    for action in (1, 1, 2, 1, 2, 2):
        _, reward, terminated, _, info = env.step(action)
        told.append((info["process"]["progress"], info["process"]["milestones"], reward, terminated))
    assert told[-1] == (1.0, 3, 1.0, True)
    assert [m for _, m, _, _ in told] == [0, 0, 1, 1, 1, 3]
    assert [m.name for m in env.unwrapped.task.milestones] == ["half_way", "across"]


def test_a_fall_is_a_danger_and_no_success() -> None:
    env = lake(is_slippery=False)
    env.reset(seed=0)
    env.step(2)
    _, reward, terminated, _, info = env.step(1)
    assert (reward, terminated, info["success"], info["process"]["danger"]) == (0.0, True, False, True)
    assert info["events"] == ("danger:fell_in",)


def test_an_action_outside_the_space_is_refused_and_repeats_no_danger() -> None:
    env = taxi()
    _, before = env.reset(seed=0)
    for _ in range(2):
        *_, info = env.step(5)  # nobody is aboard
        assert (info["process"]["danger"], info["process"]["grounded"]) == (True, False)
    for action in (6, -1, 10**400):
        _, reward, terminated, truncated, info = env.step(action)
        assert (reward, terminated, truncated, info["process"]["danger"]) == (0.0, False, False, False)
        assert info["process"]["grounded"] is False
        assert "Discrete(6)" in info["error"]
        assert info["process"]["anchor"] == before["process"]["anchor"]


def test_the_inner_time_limit_truncates() -> None:
    env = pole()
    env.reset(seed=0)
    short = add_process(
        gymnasium.make("FrozenLake-v1", max_episode_steps=3),
        id="short",
        goal="",
        success=lambda t: t.next_observation == GOAL,
        anchor=lambda t: int(t.next_observation),
        horizon=10,
    )
    short.reset(seed=0)
    assert [short.step(0)[3] for _ in range(3)] == [False, False, True]
    assert short.unwrapped.task.progress_kind == "none"


def test_the_outcome_as_reward_and_options_for_the_inner_reset() -> None:
    env = add_process(
        gymnasium.make("CartPole-v1"),
        id="right",
        goal="Drive to the right.",
        success=lambda t: t.next_observation[0] > 0.1,
        anchor=lambda t: t.next_observation,
        reward="success",
    )
    observation, _ = env.reset(seed=0, options={"params": {"low": 0.04, "high": 0.05}})
    assert (observation >= 0.04).all()
    assert (observation <= 0.05).all()
    rewards = []
    for _ in range(20):
        _, reward, terminated, _, info = env.step(1)
        rewards.append(reward)
        if terminated:
            break
    assert info["success"]
    assert sum(rewards) == 1.0


def test_progress_that_disagrees_with_success_is_a_task_error() -> None:
    env = add_process(
        gymnasium.make("FrozenLake-v1"),
        id="l",
        goal="",
        success=lambda t: False,
        progress=lambda t: 1.0,
        anchor=lambda t: 0,
    )
    with pytest.raises(TaskError, match="exactly when solved"):
        env.reset(seed=0)


def test_a_horizon_is_needed() -> None:
    bare = gymnasium.make("FrozenLake-v1").unwrapped
    bare.spec = None
    arguments: dict[str, Any] = {"id": "l", "goal": "", "success": lambda t: False, "anchor": lambda t: 0}
    with pytest.raises(UsageError, match="horizon"):
        add_process(bare, **arguments)
    with pytest.raises(UsageError, match="at least 1"):
        add_process(bare, horizon=0, **arguments)
    assert add_process(bare, horizon=5, **arguments).horizon == 5


def test_rendering_and_closing_reach_the_environment() -> None:
    env = lake(render_mode="ansi")
    env.reset(seed=0)
    assert "SFFF" in env.render().replace("\x1b[41mS\x1b[0m", "S")
    env.close()
    assert lake().metadata["render_modes"] == ["ansi"]
