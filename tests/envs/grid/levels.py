"""What the grid tests share: one small level a family, and walks that get somewhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np

import agentgym

IDS = tuple(entry.id for entry in agentgym.catalogue("grid"))
ONE_EACH = tuple(
    f"agentgym/Grid-{name}-v0"
    for name in (
        "Empty-Random-5x5",
        "DoorKey-5x5",
        "FourRooms",
        "KeyCorridor-S3R2",
        "LavaCrossing-S9N2",
        "MultiRoom-N2-S4",
        "UnlockPickup",
    )
)


def make(id: str, **kwargs: Any) -> agentgym.ProcessEnv[Any]:
    """The environment itself, without Gymnasium's wrappers."""
    env = gym.make(id, **kwargs).unwrapped
    assert isinstance(env, agentgym.ProcessEnv)
    return env


def walk(env: agentgym.ProcessEnv[Any], seed: int, steps: int = 60, oracle: float = 0.5) -> Iterator[tuple[Any, ...]]:
    """Step through one episode, half at random and half along the oracle's way, so that doors do open.

    Yields (action, observation, reward, terminated, truncated, info) until the end or ``steps``.
    """
    rng = np.random.default_rng(seed)
    task: Any = env.task
    for _ in range(steps):
        if rng.random() < oracle and task.distance(env.peek()) < 1000:
            action = next(env.oracle())  # type: ignore[arg-type]  # every grid task has one
        else:
            action = _any_action(env, rng)
        result = env.step(action)
        yield action, *result
        if result[2] or result[3]:
            return


def _any_action(env: agentgym.ProcessEnv[Any], rng: np.random.Generator) -> Any:
    if isinstance(env.action_space, gym.spaces.Discrete):
        return int(rng.integers(7))
    actions = env.admissible()
    assert actions is not None
    return actions[rng.integers(len(actions))]
