"""An environment as tables that grow where a policy goes: every transition is asked of the real one once.

Small grids are slow to step (some thousands of steps a CPU-second) and few: the same states come again and again, over
episodes, updates, arms and seeds. Here a state of an instance (a reset seed) is a number, and a step is a look-up. What
is not known yet is asked of the environment itself, by restoring a snapshot and taking the action. So a lockstep of
many episodes is a few NumPy operations a step, and equal to the real thing (a test walks through both).

Right only where the anchor is the whole state and the world is deterministic: forkable grids with discrete actions and
observations that are a function of the state. `Tables` refuses what it can see is none of these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np
import numpy.typing as npt

from agentgym.env import ProcessEnv, Snapshot
from agentgym.errors import UsageError
from agentgym.process import read_record

__all__ = ["Moves", "Tables"]

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

_FIRST = 1024


@dataclass(frozen=True)
class Moves:
    """What some actions did: arrays of one length."""

    state: Int
    bits: Int
    danger: Bool
    grounded: Bool


class Tables:
    """The part of an environment that has been seen.

    Args:
        env: id; kwargs: of ``gymnasium.make``. Observations must be a float vector, actions Discrete.
        seeds: the instances, one a reset seed.

    Attributes:
        start: int64[instances], the state an episode of each begins in; start_bits: its milestones.
        horizon: steps until truncation. actions: their number. known: transitions asked so far.
        features: float32[states, width]. anchor: int64[states]. progress: float64[states].
        success, over: bool[states], solved, and the episode ends here.
    """

    def __init__(self, env: str, kwargs: Mapping[str, Any], seeds: Sequence[int]) -> None:
        made = gymnasium.make(env, disable_env_checker=True, **kwargs).unwrapped
        if not isinstance(made, ProcessEnv) or not made.forkable:
            raise UsageError(f"{env} cannot be forked, so it cannot be tabulated; train on it with `agentgym train`")
        if not isinstance(made.action_space, gymnasium.spaces.Discrete) or made.observation_space.dtype != np.float32:
            raise UsageError(
                f"{env} has actions {made.action_space} and observations {made.observation_space}; tables need "
                "Discrete actions and a float32 vector (grids: view='features')"
            )
        self._env = made
        self.horizon, self.actions = made.horizon, int(made.action_space.n)
        self.milestones = tuple(m.name for m in made.task.milestones)
        width = int(np.prod(made.observation_space.shape or ()))
        self.features = np.zeros((_FIRST, width), dtype=np.float32)
        self.anchor = np.zeros(_FIRST, dtype=np.int64)
        self.progress = np.zeros(_FIRST)
        self.success, self.over = np.zeros(_FIRST, dtype=np.bool_), np.zeros(_FIRST, dtype=np.bool_)
        self._next = np.full((_FIRST, self.actions), -1, dtype=np.int64)
        self._bits = np.zeros((_FIRST, self.actions), dtype=np.int64)
        self._danger = np.zeros((_FIRST, self.actions), dtype=np.bool_)
        self._grounded = np.zeros((_FIRST, self.actions), dtype=np.bool_)
        self._number: dict[tuple[int, int], int] = {}
        self._instance: list[int] = []
        self._snapshots: list[Snapshot] = []
        self.known = 0
        self.start, self.start_bits = np.zeros(len(seeds), dtype=np.int64), np.zeros(len(seeds), dtype=np.int64)
        for k, seed in enumerate(seeds):
            observation, info = made.reset(seed=int(seed))
            self.start[k] = self._state(k, observation, info, False)
            self.start_bits[k] = read_record(info)["milestones"]

    def __len__(self) -> int:
        return len(self._instance)

    def step(self, state: Int, action: Int) -> Moves:
        """Take an action in each of some states, int64[n] both; none may be `over`."""
        unknown = np.flatnonzero(self._next[state, action] < 0)
        if unknown.size:
            for pair in dict.fromkeys(zip(state[unknown].tolist(), action[unknown].tolist(), strict=True)):
                self._ask(*pair)
        return Moves(
            self._next[state, action],
            self._bits[state, action],
            self._danger[state, action],
            self._grounded[state, action],
        )

    def oracle(self, instance: int) -> list[tuple[int, int]]:
        """(state, action) pairs of the oracle's way through an instance."""
        pairs = []
        state = int(self.start[instance])
        while not self.over[state]:
            self._env.restore(self._snapshots[state])
            script = self._env.oracle()
            if script is None:
                raise UsageError(f"task {self._env.task.id} has no oracle to demonstrate it")
            action = int(next(script))
            script.close()
            pairs.append((state, action))
            state = int(self.step(np.array([state]), np.array([action])).state[0])
        return pairs

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    # ------------------------------------------------------------------ inside

    def _ask(self, state: int, action: int) -> None:
        self._env.restore(self._snapshots[state])
        observation, _, terminated, _, info = self._env.step(action)
        record = read_record(info)
        # the latch was empty: what is set now was reached by this step
        after = self._state(self._instance[state], observation, info, terminated)
        self._next[state, action], self._bits[state, action] = after, record["milestones"]
        self._danger[state, action], self._grounded[state, action] = record["danger"], record["grounded"]
        self.known += 1

    def _state(self, instance: int, observation: Any, info: Mapping[str, Any], terminated: bool) -> int:
        """The number of the state that the environment stands in."""
        record = read_record(info)
        key = instance, record["anchor"]
        number = self._number.get(key)
        if number is None:
            number = self._number[key] = len(self)
            if number == len(self.features):
                self._grow()
            self.features[number], self.anchor[number] = np.ravel(observation), record["anchor"]
            self.progress[number], self.success[number] = record["progress"], info["success"]
            self.over[number] = terminated
            self._instance.append(instance)
            # as if the episode began here: no time used up, nothing latched
            self._snapshots.append(replace(self._env.snapshot(), t=0, milestones=0, ended=False))
        return number

    def _grow(self) -> None:
        """Twice the room."""
        names = ("features", "anchor", "progress", "success", "over", "_bits", "_danger", "_grounded", "_next")
        for name in names:
            old = getattr(self, name)
            new = np.zeros((2 * len(old), *old.shape[1:]), dtype=old.dtype)
            new[: len(old)] = old
            setattr(self, name, new)
        self._next[len(self._next) // 2 :] = -1
