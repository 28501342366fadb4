"""Any Gymnasium environment as a World: `add_process` gives it the process record."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import gymnasium
import numpy as np

from agentgym.env import ProcessEnv
from agentgym.errors import UsageError
from agentgym.process import ProcessRecord
from agentgym.task import Episode, Milestone, ProgressKind, Task
from agentgym.world import Events, World

__all__ = ["GymWorld", "Transition", "WrappedEnv", "add_process"]


@dataclass(frozen=True, slots=True)
class Transition:
    """The latest step of a wrapped environment: the state that the callables of `add_process` judge.

    Attributes:
        observation: what the action was taken on; after a reset the first observation.
        action: the action; None after a reset.
        reward: the environment's own reward; 0 after a reset.
        next_observation: what the agent sees now.
        info: the environment's own info of this step.
        terminated: the environment ended the episode.
        truncated: the environment cut it short.
    """

    observation: Any
    action: Any
    reward: float
    next_observation: Any
    info: Mapping[str, Any]
    terminated: bool = False
    truncated: bool = False


Predicate = Callable[[Transition], bool]


class GymWorld(World[Transition]):
    """Drives a Gymnasium environment. Its observations must not be changed by later steps (Gymnasium asks for that).

    An action outside the action space is not carried out: the step is not grounded and the state stays.

    Args:
        env: the environment; it keeps its wrappers, its seeding and its own limits.
        grounded: says of a transition whether its action was applicable; None: every action of the space is.
    """

    def __init__(self, env: gymnasium.Env[Any, Any], grounded: Predicate | None = None) -> None:
        self.env = env
        self.observation_space = env.observation_space
        self.action_space = env.action_space
        self.render_modes = ("ansi",) if env.render_mode is None else (env.render_mode,)
        self.render_fps = int(env.metadata.get("render_fps", 10))
        self._grounded = grounded
        self._last: Transition

    def reset(self, setup: Any, rng: np.random.Generator, seed: int | None = None) -> None:
        """Reset as ``env.reset(seed=seed, options=setup)`` would; ``rng`` is not used, the environment seeds itself."""
        observation, info = self.env.reset(seed=seed, options=dict(setup) or None)
        self._last = Transition(observation, None, 0.0, observation, info)

    def act(self, action: Any) -> Events:
        """Step the environment."""
        if action not in self.action_space:
            return Events(grounded=False, error=f"the action must lie in {self.action_space}")
        before = self._last.next_observation
        observation, reward, terminated, truncated, info = self.env.step(action)
        last = Transition(before, action, float(reward), observation, info, bool(terminated), bool(truncated))
        self._last = last
        grounded = self._grounded is None or bool(self._grounded(last))
        error = "" if grounded else "the action had no effect here"
        return Events(grounded=grounded, error=error, reward=last.reward, truncated=last.truncated)

    def observe(self) -> Any:
        """The environment's observation."""
        return self._last.next_observation

    def state(self) -> Transition:
        """The latest transition."""
        return self._last

    def render(self, mode: str) -> Any:
        """The environment's own picture; the observation as text where it has no render mode."""
        return str(self.observe()) if self.env.render_mode is None else self.env.render()

    def close(self) -> None:
        """Close the environment."""
        self.env.close()


class CallableTask(Task[Transition]):
    """A task made of the callables given to `add_process`. ``reset(options={"params": …})`` reaches the environment."""

    no_oracle = "a wrapped environment brings no script that solves it"

    def __init__(
        self,
        *,
        id: str,
        goal: str,
        horizon: int,
        milestones: Mapping[str, Predicate],
        progress: Callable[[Transition], float] | None,
        progress_kind: ProgressKind,
        danger: Mapping[str, Predicate],
        success: Predicate | None,
        anchor: Callable[[Transition], Any],
    ) -> None:
        self.id = id
        self.horizon = horizon
        self.milestones = tuple(_milestone(name, reached) for name, reached in milestones.items())
        self.dangers = {code: _sentence(code, unsafe) for code, unsafe in danger.items()}
        self.progress_kind = progress_kind
        self.has_success = success is not None
        self._goal, self._progress, self._danger, self._success, self._anchor = goal, progress, danger, success, anchor

    def goal(self, params: Mapping[str, Any]) -> str:
        """The goal given to `add_process`."""
        return self._goal

    def success(self, state: Transition, ep: Episode) -> bool:
        """The caller's predicate; never without one."""
        return self._success is not None and bool(self._success(state))

    def progress(self, state: Transition, ep: Episode) -> float:
        """The caller's number; without one 1 on success, else 0."""
        return float(self._progress(state)) if self._progress is not None else float(self.success(state, ep))

    def anchor_view(self, state: Transition, ep: Episode) -> Any:
        """The caller's view."""
        return self._anchor(state)

    def ends(self, state: Transition, events: Events, ep: Episode) -> bool:
        """The environment ended the episode itself."""
        return state.terminated

    def danger(self, before: Transition, events: Events, after: Transition, ep: Episode) -> Iterable[str]:
        """The codes whose predicate holds of this step; none when the action was not carried out."""
        return () if after is before else [code for code, unsafe in self._danger.items() if unsafe(after)]


class WrappedEnv(ProcessEnv[Transition]):
    """Keeps the wrapped environment's own info (an action mask, say) beside the record."""

    world: GymWorld

    def _info(self, record: ProcessRecord, success: bool, codes: tuple[str, ...], error: str) -> dict[str, Any]:
        return {**self.world.state().info, **super()._info(record, success, codes, error)}


def add_process(
    env: gymnasium.Env[Any, Any],
    *,
    id: str,
    goal: str,
    success: Predicate | None,
    anchor: Callable[[Transition], Any],
    progress: Callable[[Transition], float] | None = None,
    progress_kind: ProgressKind = "proxy",
    milestones: Mapping[str, Predicate] | None = None,
    danger: Mapping[str, Predicate] | None = None,
    grounded: Predicate | None = None,
    horizon: int | None = None,
    reward: Literal["success", "world"] = "world",
) -> ProcessEnv[Transition]:
    """Give any Gymnasium environment the process record.

    The callables take a `Transition`, also the one of a reset, where its action is None. Seeds, observations, rewards,
    terminations and truncations are its own (a step that is both counts as terminated), and its info stays
    beside the record.

    Args:
        env: the environment.
        id: name of the task.
        goal: the task in words.
        success: solved now; None for an endless environment (progress then stays below 1).
        anchor: the view of the state that `agentgym.anchor` hashes: all that affects what happens next or progress;
            an observation is one only where it shows the whole state, and floats seldom meet again: round them.
        progress: how much is done, in [0, 1], 1 if and only if ``success``; None: nothing but the end
            (``progress_kind`` is then "none").
        progress_kind: how far ``progress`` can be trusted, see `agentgym.task.ProgressKind`.
        milestones: name -> reached now; latched in this order.
        danger: code -> this step was unsafe.
        grounded: the action was applicable; None: every action of the space is.
        horizon: truncate after so many steps; None: the environment's own ``spec.max_episode_steps``.
        reward: "world" keeps the environment's reward; "success" pays 1 once, on success.

    Raises:
        UsageError: there is no horizon.
        agentgym.errors.TaskError: later, when progress is not in [0, 1] or is 1 without success.

    >>> lake = gymnasium.make("FrozenLake-v1", is_slippery=False)
    >>> env = add_process(
    ...     lake, id="lake", goal="Cross the ice.", success=lambda t: t.next_observation == 15,
    ...     anchor=lambda t: int(t.next_observation), danger={"fell": lambda t: t.terminated and t.reward == 0},
    ... )
    >>> env.reset(seed=0)[1]["process"]["progress"]
    0.0
    """
    if horizon is None:
        horizon = env.spec.max_episode_steps if env.spec is not None else None
    if horizon is None:
        raise UsageError(f"{env} has no max_episode_steps: give add_process a horizon")
    if horizon < 1:
        raise UsageError(f"horizon must be at least 1, got {horizon}")
    task = CallableTask(
        id=id,
        goal=goal,
        horizon=horizon,
        milestones=milestones or {},
        progress=progress,
        progress_kind=progress_kind if progress is not None else "none",
        danger=danger or {},
        success=success,
        anchor=anchor,
    )
    return WrappedEnv(GymWorld(env, grounded), task, render_mode=env.render_mode, reward=reward)


def _milestone(name: str, reached: Predicate) -> Milestone[Transition]:
    return Milestone(name, _sentence(name, reached), reached=lambda state, ep: bool(reached(state)))


def _sentence(name: str, predicate: Predicate) -> str:
    """The first line of the predicate's docstring, else the name in words."""
    return (predicate.__doc__ or name.replace("_", " ")).strip().splitlines()[0]
