"""ShapedReward: a recipe's step reward for classical loops that know one number per step."""

from __future__ import annotations

from typing import Any, SupportsFloat

import gymnasium as gym
import numpy as np

from agentgym.errors import UsageError
from agentgym.process import read_record
from agentgym.rewards.book import recipe as recipe_named
from agentgym.rewards.recipes import Recipe
from agentgym.steps import StepTable

__all__ = ["ShapedReward"]


class ShapedReward(gym.Wrapper[Any, Any, Any, Any], gym.utils.RecordConstructorArgs):
    """Replaces the reward of an environment that emits process records by the step reward of a recipe.

    The environment's own reward stays in ``info["env_reward"]``. The outcome, which the ``outcome`` term pays on the
    last step, is the sum of the environment's rewards.

    Args:
        env: emits ``info["process"]`` at reset and step.
        recipe: a `Recipe` or a name; its terms and combination are used, its credit method is not.

    Raises:
        UsageError: the recipe compares rollouts (it needs groups), or combines over whole trajectories.
    """

    def __init__(self, env: gym.Env[Any, Any], recipe: Recipe | str) -> None:
        gym.utils.RecordConstructorArgs.__init__(self, recipe=recipe)
        gym.Wrapper.__init__(self, env)
        chosen = recipe_named(recipe) if isinstance(recipe, str) else recipe
        if chosen.needs_groups:
            raise UsageError(
                f"recipe {chosen.name!r} compares rollouts of one task, a single environment gives one at a time; "
                "collect groups and call recipe.advantages(steps), or use a recipe without groups, such as 'ppo'"
            )
        if not chosen.stepwise:
            raise UsageError(
                f"recipe {chosen.name!r} has no reward that can be told step by step (terms "
                f"{[t.name for t in chosen.terms]}, combined by {chosen.combine!r}); use one such as 'ppo'"
            )
        self.recipe = chosen
        self._before: Any = None
        self._total = 0.0
        self._t = 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode."""
        observation, info = self.env.reset(seed=seed, options=options)
        self._before, self._total, self._t = read_record(info), 0.0, 0
        return observation, info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """One step with the recipe's reward."""
        observation, env_reward, terminated, truncated, info = self.env.step(action)
        before, after = self._before, read_record(info)
        self._total += float(env_reward)
        row = StepTable.from_columns(
            trajectory=np.zeros(1, dtype=np.int64),
            t=np.array([self._t], dtype=np.int32),
            reward=[float(env_reward)],
            milestones_before=[before["milestones"]],
            milestones=[after["milestones"]],
            progress_before=[before["progress"]],
            progress=[after["progress"]],
            danger=[after["danger"]],
            grounded=[after["grounded"]],
            terminated=[terminated],
            truncated=[truncated],
            anchor=[before["anchor"]],
            next_anchor=[after["anchor"]],
            outcome=[self._total if terminated or truncated else 0.0],
        )
        self._before, self._t = after, self._t + 1
        return (
            observation,
            float(self.recipe.step_rewards(row)[0]),
            terminated,
            truncated,
            {**info, "env_reward": env_reward},
        )
