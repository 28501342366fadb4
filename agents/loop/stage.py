"""The environment's side of the loop: one stage makes, resets and steps one environment, wherever it stands.

A stage answers every order with exactly one reply. Whatever the environment's code raises becomes a `Fault`, and the
next reset closes the environment and makes another (only then: closing a broken world may take long, and the loop wants
to know). The caller's own mistakes (`UsageError`) are raised.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
from gymnasium.envs.registration import EnvSpec

from agentgym.errors import TaskError, UsageError

__all__ = ["Began", "Fault", "Reply", "Reset", "Stage", "Stepped", "answer"]

log = logging.getLogger("agentgym.loop")


class Reset(NamedTuple):
    """Order: begin an episode of ``spec`` made with ``kwargs``."""

    spec: EnvSpec
    kwargs: Mapping[str, Any]
    seed: int
    options: Mapping[str, Any] | None
    wants_admissible: bool


class Began(NamedTuple):
    """Reply to a reset."""

    observation: Any
    info: Mapping[str, Any]
    horizon: int
    event_codes: tuple[str, ...]
    admissible: tuple[Any, ...] | None


class Stepped(NamedTuple):
    """Reply to an action. ``hidden`` is the hidden performance after the last step, NaN before."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Mapping[str, Any]
    admissible: tuple[Any, ...] | None
    hidden: float
    seconds: float


class Fault(NamedTuple):
    """The world broke: the episode ends as an error. ``usage``: the caller's mistake, to be raised there."""

    error: str
    usage: bool = False


Reply = Began | Stepped | Fault
NAN = float("nan")
MAX_ERROR = 2000
"""Characters of an error that are kept."""


class Stage:
    """Holds at most one environment and remakes it when another is asked for or after a fault."""

    def __init__(self) -> None:
        self.env: gymnasium.Env[Any, Any] | None = None
        self._made: tuple[str, Mapping[str, Any]] | None = None
        self._admissible: Callable[[], tuple[Any, ...] | None] | None = None
        self._announce: Callable[[str, Any], object] | None = None

    def announce(self, order: Reset | tuple[Any]) -> None:
        """Say what is to come, before its turn: an environment that wants to know may do it together with others."""
        if self._announce is None:
            return
        if not isinstance(order, Reset):
            self._announce("step", order[0])
        elif self._made == (order.spec.id, order.kwargs):
            self._announce("reset", [order.seed, order.options])

    def reset(self, order: Reset) -> Began | Fault:
        """Begin an episode.

        Raises:
            UsageError: the environment cannot be made as asked, or has no process record.
        """
        try:
            env = self._ready(order.spec, order.kwargs)
            options = None if order.options is None else dict(order.options)
            observation, info = env.reset(seed=order.seed, options=options)
            if "process" not in info:
                raise _no_record(order.spec.id, "its reset info has no 'process'")
            try:
                horizon, codes = env.get_wrapper_attr("horizon"), env.get_wrapper_attr("task").event_codes
                self._admissible = env.get_wrapper_attr("admissible") if order.wants_admissible else None
            except AttributeError as error:
                raise _no_record(order.spec.id, str(error)) from error
            admissible = self._admissible() if self._admissible else None
            return Began(observation, info, int(horizon), codes, admissible)
        except UsageError:
            self._made = None
            raise
        except Exception as error:  # noqa: BLE001  (any fault of an environment's code ends one episode, never the run)
            return self._fault("reset", error)

    def step(self, action: Any) -> Stepped | Fault:
        """Carry out one action in the running episode."""
        env = self.env
        assert env is not None
        try:
            began = time.perf_counter()
            observation, reward, terminated, truncated, info = env.step(action)
            seconds = time.perf_counter() - began
            reward = float(reward)
            if not math.isfinite(reward):
                raise TaskError(f"the reward must be finite, got {reward}")
            hidden, admissible = NAN, None
            if terminated or truncated:
                hidden = float(env.get_wrapper_attr("hidden_performance")())
            elif self._admissible is not None:
                admissible = self._admissible()
            return Stepped(observation, reward, bool(terminated), bool(truncated), info, admissible, hidden, seconds)
        except Exception as error:  # noqa: BLE001  (as in `reset`)
            return self._fault("step", error)

    def close(self) -> None:
        """Close the environment, if there is one. A failing close is logged: nothing can be done about it any more."""
        env, self.env, self._made, self._admissible, self._announce = self.env, None, None, None, None
        if env is not None:
            try:
                env.close()
            except Exception as error:  # noqa: BLE001  (as in `reset`)
                log.warning("closing %s failed: %s: %s", env.spec and env.spec.id, type(error).__name__, error)

    def _fault(self, where: str, error: Exception) -> Fault:
        self._made = None
        return Fault(f"{type(error).__name__} in {where}: {error}"[:MAX_ERROR])

    def _ready(self, spec: EnvSpec, kwargs: Mapping[str, Any]) -> gymnasium.Env[Any, Any]:
        if self.env is not None and self._made == (spec.id, kwargs):
            return self.env
        self.close()
        try:
            env = gymnasium.make(spec, disable_env_checker=True, **kwargs)
        except (TypeError, gymnasium.error.Error) as error:
            raise UsageError(f"gymnasium.make({spec.id!r}, **{dict(kwargs)!r}) failed: {error}") from error
        self.env, self._made = env, (spec.id, kwargs)
        self._announce = getattr(env.unwrapped, "announce", None)
        return env


def answer(stage: Stage, order: Reset | tuple[Any]) -> Reply:
    """The reply to an order (a `Reset`, or an action as a tuple of one) from afar, where nothing can be raised."""
    try:
        return stage.reset(order) if isinstance(order, Reset) else stage.step(order[0])
    except UsageError as error:
        return Fault(str(error), usage=True)


def _no_record(env: str, why: str) -> UsageError:
    return UsageError(
        f"environment {env!r} does not speak the process contract ({why}); wrap it with agentgym.add_process"
    )
