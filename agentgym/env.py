"""ProcessEnv: joins one World and a Task into a Gymnasium environment that emits the process record."""

from __future__ import annotations

import copy
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Literal, SupportsFloat, TypeVar

import gymnasium
import numpy as np

from agentgym.anchor import anchor
from agentgym.errors import TaskError, UsageError
from agentgym.process import ProcessRecord
from agentgym.spaces import shareable
from agentgym.task import Actor, Episode, Task
from agentgym.world import Events, World, wait

__all__ = ["ProcessEnv", "Snapshot", "expect_type"]

StateT = TypeVar("StateT")


@dataclass(frozen=True)
class Snapshot:
    """A point of an episode to come back to (see `ProcessEnv.snapshot`)."""

    task: int
    episode: Episode
    world: Any
    rng: np.random.Generator
    t: int
    milestones: int
    rewarded: bool
    ended: bool
    hidden: float
    hidden_before: float


class ProcessEnv(gymnasium.Env[Any, Any], Generic[StateT]):
    """A Gymnasium environment whose every ``info`` carries ``process``, ``success``, ``events`` and ``error``.

    Reward is the outcome alone: 1.0 once, on success (or the world's own with ``reward="world"``). ``terminated`` is
    the task's `ends`; ``truncated`` comes at the task's horizon. At reset ``info`` also has ``task`` (its id) and
    ``goal``.

    Args:
        world: the place.
        task: what is wanted there, or several tasks of which each reset draws one.
        render_mode: one of the world's `render_modes`.
        max_steps: truncate after so many steps instead of the task's horizon.
        reward: "success" or "world".
        admissible: list the applicable actions in ``info["admissible"]``.

    Determinism: ``reset(seed=s)`` after any history equals a fresh environment. `np_random` serves the world alone; the
    task draws from a stream spawned from it.
    """

    def __init__(
        self,
        world: World[StateT],
        task: Task[StateT] | Sequence[Task[StateT]],
        *,
        render_mode: str | None = None,
        max_steps: int | None = None,
        reward: Literal["success", "world"] = "success",
        admissible: bool = False,
    ) -> None:
        if render_mode is not None and render_mode not in world.render_modes:
            raise UsageError(f"render_mode must be None or one of {world.render_modes}, got {render_mode!r}")
        if max_steps is not None and max_steps < 1:
            raise UsageError(f"max_steps must be at least 1, got {max_steps}")
        if reward not in ("success", "world"):
            raise UsageError(f"reward must be 'success' or 'world', got {reward!r}")
        self.world = world
        self.tasks: tuple[Task[StateT], ...] = (task,) if isinstance(task, Task) else tuple(task)
        if not self.tasks:
            raise UsageError("ProcessEnv needs at least one task, got an empty sequence")
        for each in self.tasks:
            each.event_codes  # noqa: B018  (refuses too many or equal names now, not in the middle of an episode)
        self.task = self.tasks[0]
        self.metadata = {"render_modes": list(world.render_modes), "render_fps": world.render_fps}
        self.render_mode = render_mode
        self.observation_space = shareable(world.observation_space)
        self.action_space = world.action_space
        self.reward_mode = reward
        self._max_steps = max_steps
        self._list_admissible = admissible
        self._state: StateT
        self.episode: Episode
        self._t = -1
        self._milestones = 0
        self._rewarded = False
        self._ended = True
        self._hidden = float("nan")
        self._hidden_before = float("nan")
        self._closed = False

    # ------------------------------------------------------------------ Gymnasium

    @property
    def horizon(self) -> int:
        """Steps after which the episode is truncated."""
        return self._max_steps if self._max_steps is not None else self.task.horizon

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        """Start an episode.

        Args:
            seed: as in Gymnasium.
            options: ``{"params": {...}}`` fixes the task's parameters instead of drawing them;
                ``{"task": k}`` picks one of several tasks.
        """
        given = self._check_options(options)
        super().reset(seed=seed)
        self._ended = True  # should anything below fail, there is no episode to step in
        (task_rng,) = self.np_random.spawn(1)
        k = int(task_rng.integers(len(self.tasks))) if len(self.tasks) > 1 else 0
        k = given.get("task", k)
        drawn = self.tasks[k].sample(task_rng)
        params = copy.deepcopy(given["params"]) if "params" in given else drawn
        self.task = self.tasks[k]
        self._wait(self.world.reset(self.task.setup(params), self.np_random, seed))
        self._state = self._wait(self.world.state())
        self.episode = Episode(params, self._state, seed)
        self._hidden_before, self._hidden = self._hidden, 0.0
        self._t, self._milestones, self._rewarded, self._ended = 0, 0, False, False
        events = Events()
        codes = self._latch(self._state, events)
        success, record = self._record(self._state, danger=False, grounded=True)
        info = self._info(record, success, codes, "")
        info["task"], info["goal"] = self.task.id, self.task.told(self.episode)
        return self._show(), info

    def step(self, action: Any) -> tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]:
        """Carry out one action.

        Raises:
            TypeError: the action has the wrong Python type for the action space (its content never raises).
            gymnasium.error.ResetNeeded: the episode is over.
            agentgym.errors.WorldError: the world broke.
        """
        if self._ended:
            raise gymnasium.error.ResetNeeded("the episode is over (or never began): call reset() before step()")
        expect_type(self.action_space, action)
        before, ep = self._state, self.episode
        self._ended = True  # a world or task that breaks below ends the episode
        events: Events = self._wait(self.world.act(action))
        after: StateT = self._wait(self.world.state())
        self._state, self._t = after, self._t + 1
        codes = self._latch(after, events)
        dangers = tuple(dict.fromkeys(self.task.danger(before, events, after, ep)))
        for code in dangers:
            if code not in self.task.dangers:
                raise TaskError(f"task {self.task.id}: danger code {code!r} is not declared in `dangers`")
        success, record = self._record(after, danger=bool(dangers), grounded=events.grounded)
        terminated = bool(self.task.ends(after, events, ep))
        truncated = not terminated and (events.truncated or self._t >= self.horizon)
        outcome = 1.0 if success and not self._rewarded else 0.0
        self._rewarded |= success
        hidden = self.task.hidden_reward(before, events, after, ep)
        self._hidden += outcome if hidden is None else hidden
        self._ended = terminated or truncated
        info = self._info(record, success, codes + tuple(f"danger:{c}" for c in dangers), events.error)
        reward = outcome if self.reward_mode == "success" else float(events.reward)
        return self._show(), reward, terminated, truncated, info

    def render(self) -> Any:
        """Render in the mode given at construction."""
        if self.render_mode is None:
            gymnasium.logger.warn("render() was called without a render_mode; give one to gymnasium.make")
            return None
        return self._wait(self.world.render(self.render_mode))

    def close(self) -> None:
        """Close the world; further calls do nothing."""
        if not self._closed:
            self._closed = True
            self._wait(self.world.close())

    # ------------------------------------------------------------------ capabilities

    def admissible(self) -> tuple[Any, ...] | None:
        """The actions applicable now, or None when the world does not list them."""
        actions: tuple[Any, ...] | None = self._wait(self.world.admissible())
        return actions

    def hidden_performance(self) -> float:
        """What the designer truly wants, summed over the episode; for evaluation only.

        Between a reset and the first step it still tells the episode before (vectors reset on their own); NaN when
        there was none.
        """
        return self._hidden_before if self._t == 0 else self._hidden

    def oracle(self) -> Actor | None:
        """A script that solves the running episode from here, or None when the task has none."""
        return self.task.oracle(self.episode, self.peek)

    def offenders(self) -> dict[str, Actor]:
        """Scripts that break the task's safety rules, by name."""
        return {name: make(self.episode, self.peek) for name, make in self.task.offenders.items()}

    def peek(self) -> StateT:
        """The true state now (checks and oracles only)."""
        return self._state

    @property
    def forkable(self) -> bool:
        """`snapshot` and `restore` work here."""
        return self.world.forkable

    def snapshot(self) -> Snapshot:
        """A point to come back to: world, latches, start, clock and random state."""
        if self._t < 0:
            raise gymnasium.error.ResetNeeded("there is no episode yet: call reset() before snapshot()")
        return Snapshot(
            task=self.tasks.index(self.task),
            episode=self.episode,
            world=self._wait(self.world.snapshot()),
            rng=copy.deepcopy(self.np_random),  # not its state alone: the stream of later resets is spawned from it
            t=self._t,
            milestones=self._milestones,
            rewarded=self._rewarded,
            ended=self._ended,
            hidden=self._hidden,
            hidden_before=self._hidden_before,
        )

    def restore(self, snapshot: Snapshot, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Come back to a snapshot; with ``seed`` the randomness from here on is new (a fork).

        Returns:
            observation and info as they were, with a reset record's danger and grounded.
        """
        self._ended = True
        if seed is None:
            self.np_random = copy.deepcopy(snapshot.rng)
        else:
            self.np_random, self._np_random_seed = gymnasium.utils.seeding.np_random(seed)
        self._wait(self.world.restore(snapshot.world, self.np_random))
        self.task, self.episode = self.tasks[snapshot.task], snapshot.episode
        self._t, self._milestones = snapshot.t, snapshot.milestones
        self._rewarded, self._hidden, self._hidden_before = snapshot.rewarded, snapshot.hidden, snapshot.hidden_before
        self._state = self._wait(self.world.state())
        success, record = self._record(self._state, danger=False, grounded=True)
        self._ended = snapshot.ended
        return self._show(), self._info(record, success, (), "")

    # ------------------------------------------------------------------ inside

    def _wait(self, value: Any) -> Any:
        return wait(value, self.world.loop_name)

    def _check_options(self, options: Mapping[str, Any] | None) -> Mapping[str, Any]:
        options = options or {}
        if not options.keys() <= {"task", "params"}:
            raise UsageError(f"reset options are 'task' and 'params', got {sorted(options)}")
        k = options.get("task", 0)
        if type(k) is not int or not 0 <= k < len(self.tasks):
            raise UsageError(f"options['task'] must be an int in [0, {len(self.tasks)}), got {k!r}")
        if not isinstance(options.get("params", {}), Mapping):
            raise UsageError(f"options['params'] must be a dict, got {type(options['params']).__name__}")
        return options

    def _show(self) -> Any:
        """The observation; in mode ``human`` also shown, as Gymnasium wants after every reset and step."""
        if self.render_mode == "human":
            self.render()
        return self._wait(self.world.observe())

    def _latch(self, state: StateT, events: Events) -> tuple[str, ...]:
        """Set the bits of milestones that hold now; returns the codes of those newly reached."""
        reached = set(self.task.reached(state, events, self.episode))
        if unknown := reached.difference(m.name for m in self.task.milestones):
            raise TaskError(f"task {self.task.id}: {sorted(unknown)} reached, but not declared in `milestones`")
        new = []
        for k, m in enumerate(self.task.milestones):
            if m.name in reached and not self._milestones >> k & 1:
                self._milestones |= 1 << k
                new.append(f"milestone:{m.name}")
        return tuple(new)

    def _record(self, state: StateT, *, danger: bool, grounded: bool) -> tuple[bool, ProcessRecord]:
        task, ep = self.task, self.episode
        success = bool(task.success(state, ep))
        progress = float(task.progress(state, ep))
        if not 0.0 <= progress <= 1.0 or (progress == 1.0) != success:
            raise TaskError(
                f"task {task.id}: progress must lie in [0, 1] and be 1 exactly when solved, "
                f"got progress={progress!r} with success={success}"
            )
        if success and not task.has_success:
            raise TaskError(f"task {task.id} declares has_success=False, but `success` came true")
        record: ProcessRecord = {
            "milestones": self._milestones,
            "progress": progress,
            "danger": danger,
            "grounded": bool(grounded),
            "anchor": anchor(task.anchor_view(state, ep)),
        }
        return success, record

    def _info(self, record: ProcessRecord, success: bool, codes: tuple[str, ...], error: str) -> dict[str, Any]:
        info: dict[str, Any] = {"process": record, "success": success, "events": codes, "error": error}
        if self._list_admissible:
            info["admissible"] = self.admissible()
        return info


def expect_type(space: gymnasium.Space[Any], action: Any) -> None:
    """Refuse an action of the wrong Python type; what it contains is the world's business."""
    expected: type | tuple[type, ...]
    if isinstance(space, gymnasium.spaces.Discrete):
        expected, name = numbers.Integral, "an integer"
        if isinstance(action, np.ndarray) and action.shape == () and action.dtype.kind in "iu":
            return
        if isinstance(action, bool):
            raise TypeError(f"action must be an integer for {space}, got bool")
    elif isinstance(space, gymnasium.spaces.Text):
        expected, name = str, "a str"
    elif isinstance(space, gymnasium.spaces.Dict):
        expected, name = dict, "a dict"
    elif isinstance(space, gymnasium.spaces.Tuple):
        expected, name = tuple, "a tuple"
    elif isinstance(space, (gymnasium.spaces.Box, gymnasium.spaces.MultiDiscrete, gymnasium.spaces.MultiBinary)):
        expected, name = np.ndarray, "a NumPy array"
    else:
        return
    if not isinstance(action, expected):
        raise TypeError(f"action must be {name} for {space}, got {type(action).__name__}")
