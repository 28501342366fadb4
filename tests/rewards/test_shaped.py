"""ShapedReward: a recipe's step reward for loops that know one number per step."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from agentgym.errors import UsageError
from agentgym.rewards import Recipe, ShapedReward, Term


class Corridor(gym.Env[int, int]):
    """Walk three steps to the right; emits the process record by hand."""

    observation_space = gym.spaces.Discrete(4)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        self.x, self.t = 0, 0
        return 0, self.info(grounded=True)

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        before, self.t = self.x, self.t + 1
        self.x = max(0, self.x + (1 if action else -1))
        done = self.x == 3
        return self.x, float(done), done, self.t == 5, self.info(grounded=self.x != before)

    def info(self, *, grounded: bool) -> dict[str, Any]:
        record = {"milestones": int(self.x >= 2), "progress": self.x / 3, "danger": False, "grounded": grounded}
        return {"process": {**record, "anchor": self.x}, "success": self.x == 3}


def rewards(env: gym.Env[int, int], actions: list[int]) -> list[float]:
    env.reset(seed=0)
    return [float(env.step(a)[1]) for a in actions]


def shaped(*terms: Term) -> Recipe:
    return Recipe("mine", terms, "return-to-go")


def test_the_step_reward_is_the_recipes() -> None:
    env = ShapedReward(Corridor(), shaped(Term("progress", 3.0, {"terminal": "keep"})))
    np.testing.assert_allclose(rewards(env, [1, 1, 0, 1, 1]), [1.0, 1.0, -1.0, 1.0, 1.0])


def test_the_outcome_is_paid_when_the_episode_ends() -> None:
    env = ShapedReward(Corridor(), "ppo")
    assert rewards(env, [1, 1, 1]) == [0.0, 0.0, 1.0]
    assert rewards(env, [0] * 5) == [0.0] * 5


def test_episodes_do_not_leak_into_each_other() -> None:
    env = ShapedReward(Corridor(), shaped(Term("milestone", 0.5), Term("outcome")))
    first = rewards(env, [1, 1, 1])
    assert first == [0.0, 0.5, 1.0]
    assert rewards(env, [1, 1, 1]) == first


def test_the_environments_own_reward_stays_readable() -> None:
    env = ShapedReward(Corridor(), shaped(Term("grounded")))
    env.reset()
    _, reward, _, _, info = env.step(1)
    assert (reward, info["env_reward"]) == (1.0, 0.0)
    _, reward, *_ = env.step(0)
    assert reward == 1.0
    assert float(env.step(0)[1]) == 0.0  # a wall: not grounded in this corridor


def test_a_recipe_that_compares_rollouts_is_refused() -> None:
    with pytest.raises(UsageError, match="'gigpo' compares rollouts of one task"):
        ShapedReward(Corridor(), "gigpo")


def test_a_recipe_that_reads_whole_trajectories_is_refused() -> None:
    with pytest.raises(UsageError, match="step by step"):
        ShapedReward(Corridor(), "clip-delta")


def test_an_environment_without_records_is_refused_at_reset() -> None:
    env = ShapedReward(gym.make("CartPole-v1"), "ppo")
    with pytest.raises(KeyError, match="add_process"):
        env.reset()


def test_on_a_real_environment_kept_progress_adds_up_to_the_final_progress() -> None:
    import agentgym  # noqa: F401 - registers the environments

    env = ShapedReward(gym.make("agentgym/Grid-DoorKey-5x5-v0"), shaped(Term("progress", options={"terminal": "keep"})))
    env.reset(seed=3)
    env.action_space.seed(3)
    total, done = 0.0, False
    while not done:
        _, reward, terminated, truncated, info = env.step(env.action_space.sample())
        total += float(reward)
        done = terminated or truncated
    assert total == pytest.approx(info["process"]["progress"])
