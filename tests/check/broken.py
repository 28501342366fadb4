"""One corridor per rule of `agentgym.check`, each broken in one place."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import gymnasium
import numpy as np

from agentgym import Actor, Episode, Events, Milestone, ProcessEnv, ProcessRecord
from agentgym.check.subject import Env
from tests.toy import Corridor, CorridorTask, CorridorWorld, make

BROKEN: dict[str, Callable[[], Env]] = {}
"""Rule id -> makes an environment that breaks this rule and no other."""


def breaks(rule: str) -> Callable[[Callable[[], Env]], Callable[[], Env]]:
    def note(factory: Callable[[], Env]) -> Callable[[], Env]:
        assert rule not in BROKEN
        BROKEN[rule] = factory
        return factory

    return note


def task_env(rule: str, slip: float = 0.1) -> Callable[[type[CorridorTask]], type[CorridorTask]]:
    """The corridor with another task."""

    def note(task: type[CorridorTask]) -> type[CorridorTask]:
        breaks(rule)(lambda: make(task=task(), slip=slip))
        return task

    return note


def world_env(rule: str, **kwargs: Any) -> Callable[[type[CorridorWorld]], type[CorridorWorld]]:
    """The corridor with another world."""

    def note(world: type[CorridorWorld]) -> type[CorridorWorld]:
        breaks(rule)(lambda: ProcessEnv(world(**kwargs), CorridorTask(kwargs.get("view", "text"))))
        return world

    return note


def process_env(rule: str) -> Callable[[type[ProcessEnv[Corridor]]], type[ProcessEnv[Corridor]]]:
    """The corridor whose record is written by another ProcessEnv."""

    def note(env: type[ProcessEnv[Corridor]]) -> type[ProcessEnv[Corridor]]:
        breaks(rule)(lambda: env(CorridorWorld(), CorridorTask()))
        return env

    return note


def spec_env(rule: str, id: str, entry_point: Callable[..., Env], **kwargs: Any) -> None:
    """The corridor under an id of its own; some rules look at the spec."""
    if id not in gymnasium.registry:
        gymnasium.register(id, entry_point, **kwargs)
    breaks(rule)(lambda: gymnasium.make(id))


# ------------------------------------------------------------------ the face


@breaks("make/works")
def no_env() -> Env:
    raise OSError("the browser is not installed")


@world_env("gymnasium/checker", view="array")
class ReusesItsBuffer(CorridorWorld):
    _buffer: Any = None

    def observe(self) -> Any:
        fresh = super().observe()
        self._buffer = fresh if self._buffer is None else self._buffer
        self._buffer[:] = fresh
        return self._buffer


class FloatPicture(CorridorWorld):
    def render(self, mode: str) -> Any:
        picture = super().render(mode)
        return picture / 255 if mode == "rgb_array" else picture


spec_env("render/modes", "toy/FloatPicture-v0", lambda **kw: ProcessEnv(FloatPicture(), CorridorTask(), **kw))


# ------------------------------------------------------------------ what is written


@task_env("task/declares")
class UnknownProgressKind(CorridorTask):
    progress_kind = "roughly"  # type: ignore[assignment]  # this is what the rule is about


@world_env("observation/in-space")
class AccentAtTheGoal(CorridorWorld):
    def observe(self) -> Any:
        seen = super().observe()
        return {**seen, "text": "arrivé"} if self._state.cell == self._state.length - 1 else seen


@process_env("record/present")
class NoError(ProcessEnv[Corridor]):
    def _info(self, *args: Any) -> dict[str, Any]:
        info = super()._info(*args)
        if info["process"]["milestones"]:
            del info["error"]
        return info


@process_env("record/types")
class NumpyProgress(ProcessEnv[Corridor]):
    def _record(self, *args: Any, **kwargs: Any) -> tuple[bool, ProcessRecord]:
        success, record = super()._record(*args, **kwargs)
        return success, {**record, "progress": np.float64(record["progress"])}


@process_env("record/ranges")
class UndeclaredBit(ProcessEnv[Corridor]):
    def _record(self, *args: Any, **kwargs: Any) -> tuple[bool, ProcessRecord]:
        success, record = super()._record(*args, **kwargs)
        return success, {**record, "milestones": record["milestones"] | 1 << 5}


@process_env("record/reset")
class UngroundedReset(ProcessEnv[Corridor]):
    def _record(self, *args: Any, **kwargs: Any) -> tuple[bool, ProcessRecord]:
        success, record = super()._record(*args, **kwargs)
        return success, {**record, "grounded": record["grounded"] and self._t > 0}


@process_env("record/latched")
class Forgetful(ProcessEnv[Corridor]):
    def _latch(self, state: Corridor, events: Events) -> tuple[str, ...]:
        if self._t % 2:
            self._milestones = 0
            return ()
        return super()._latch(state, events)


@process_env("record/events")
class HushedDanger(ProcessEnv[Corridor]):
    def _info(self, record: ProcessRecord, success: bool, codes: tuple[str, ...], error: str) -> dict[str, Any]:
        return super()._info(record, success, tuple(c for c in codes if not c.startswith("danger")), error)


@world_env("record/admissible", view="array")
class ForgetsToListWaiting(CorridorWorld):
    def admissible(self) -> Any:
        return super().admissible()[:2]


@process_env("reward/outcome")
class StepPenalty(ProcessEnv[Corridor]):
    def step(self, action: Any) -> Any:
        observation, reward, *rest = super().step(action)
        return observation, float(reward) - 0.01, *rest


@process_env("episode/ends")
class NeverTruncates(ProcessEnv[Corridor]):
    def step(self, action: Any) -> Any:
        observation, reward, terminated, _, info = super().step(action)
        self._ended = terminated
        return observation, reward, terminated, False, info


# ------------------------------------------------------------------ what the signals mean


@process_env("progress/ends")
class EarlyOne(ProcessEnv[Corridor]):
    def _record(self, *args: Any, **kwargs: Any) -> tuple[bool, ProcessRecord]:
        success, record = super()._record(*args, **kwargs)
        return success, {**record, "progress": 1.0 if record["progress"] > 0.7 else record["progress"]}


@task_env("progress/start")
class HeadStart(CorridorTask):
    def progress(self, state: Corridor, ep: Episode) -> float:
        return 0.5 + super().progress(state, ep) / 2


@task_env("progress/no-echo")
class Echo(CorridorTask):
    def progress(self, state: Corridor, ep: Episode) -> float:
        return sum(bool(m.reached and m.reached(state, ep)) for m in self.milestones) / len(self.milestones)


@task_env("progress/none")
class SaysNone(CorridorTask):
    progress_kind = "none"


@process_env("anchor/equals-view")
class SaltedAnchor(ProcessEnv[Corridor]):
    def _record(self, *args: Any, **kwargs: Any) -> tuple[bool, ProcessRecord]:
        success, record = super()._record(*args, **kwargs)
        return success, {**record, "anchor": record["anchor"] ^ (self.episode.seed or 0)}


@task_env("anchor/varies")
class ConstantAnchor(CorridorTask):
    def anchor_view(self, state: Corridor, ep: Episode) -> Any:
        return "somewhere"


@task_env("anchor/fixes-progress")
class CoarseAnchor(CorridorTask):
    def anchor_view(self, state: Corridor, ep: Episode) -> Any:
        return state.length, state.cell // 2


# ------------------------------------------------------------------ who plays


@task_env("policy/raises")
class FullBeforeTheGoal(CorridorTask):
    def progress(self, state: Corridor, ep: Episode) -> float:
        progress = super().progress(state, ep)
        return 1.0 if progress > 0.7 else progress


@task_env("policy/idle", slip=0.0)
class StandingStillIsDangerous(CorridorTask):
    def danger(self, before: Corridor, events: Events, after: Corridor, ep: Episode) -> Iterable[str]:
        return ("fell",) if before == after or after.cell == 0 else ()


@task_env("oracle/solves")
class WaitingOracle(CorridorTask):
    def oracle(self, ep: Episode, peek: Callable[[], Corridor]) -> Actor | None:
        return self._walk("wait", lambda: False)


@task_env("oracle/milestones")
class RequiresThePit(CorridorTask):
    milestones = (*CorridorTask.milestones, Milestone("been_in_pit", "in cell 0", lambda s, ep: s.cell == 0))


@task_env("oracle/safe")
class DangerousGoal(CorridorTask):
    def danger(self, before: Corridor, events: Events, after: Corridor, ep: Episode) -> Iterable[str]:
        return ("fell",) if self.success(after, ep) else super().danger(before, events, after, ep)


@task_env("offender/danger")
class HarmlessOffender(CorridorTask):
    @property
    def offenders(self) -> Mapping[str, Callable[[Episode, Callable[[], Corridor]], Actor]]:
        return {"sleeper": lambda ep, peek: self._walk("wait", lambda: False)}


@task_env("offender/fails")
class RewardedOffender(CorridorTask):
    @property
    def offenders(self) -> Mapping[str, Callable[[Episode, Callable[[], Corridor]], Actor]]:
        return {"detour": self._detour}

    def _detour(self, ep: Episode, peek: Callable[[], Corridor]) -> Actor:
        yield from self._walk("left", lambda: peek().cell == 0)
        yield from self._walk("right", lambda: False)


# ------------------------------------------------------------------ hostile actions


@world_env("hostile/raises")
class ChokesOnNull(CorridorWorld):
    def act(self, action: Any) -> Any:
        if "\x00" in action:
            raise ValueError("embedded null byte")
        return super().act(action)


@world_env("hostile/state")
class LongActionsPush(CorridorWorld):
    def act(self, action: Any) -> Any:
        events = super().act(action)
        if len(action) > 1000:
            self._state = Corridor(self._state.length, self._state.cell + 1)
        return events


@world_env("hostile/error")
class RefusesInSilence(CorridorWorld):
    def act(self, action: Any) -> Any:
        events = super().act(action)
        return events if events.grounded else Events(grounded=False)


@process_env("hostile/type")
class TakesAnything(ProcessEnv[Corridor]):
    def step(self, action: Any) -> Any:
        return super().step(str(action))


# ------------------------------------------------------------------ again


class _TellsAtTheGoal(CorridorWorld):
    """Says something only in the last cell, where random strings do not lead: Gymnasium's checker does not notice."""

    def observe(self) -> Any:
        seen = super().observe()
        return {**seen, "text": f"Hello {self.whom()}."} if self._state.cell == self._state.length - 1 else seen

    def whom(self) -> int:
        raise AssertionError("each corridor below has its own")


_visitors = itertools.count()


@world_env("determinism/fresh")
class CountsVisitorsOfAll(_TellsAtTheGoal):
    def whom(self) -> int:
        return next(_visitors)


@world_env("determinism/history")
class CountsItsResets(_TellsAtTheGoal):
    resets = 0

    def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> Any:
        self.resets += 1
        super().reset(setup, rng, seed)

    def whom(self) -> int:
        return self.resets


class ShowsAHash(_TellsAtTheGoal):
    def whom(self) -> int:
        return hash("visitor")


@breaks("determinism/process")
def shows_a_hash() -> Env:
    return ProcessEnv(ShowsAHash(), CorridorTask())


@world_env("snapshot/returns", slip=0.5)
class KeepsItsOwnRandomness(CorridorWorld):
    def restore(self, snapshot: Any, rng: np.random.Generator) -> Any:
        super().restore(snapshot, self._rng)


@world_env("snapshot/portable")
class RemembersSnapshotsItself(CorridorWorld):
    def snapshot(self) -> Any:
        self._saved = [*getattr(self, "_saved", ()), super().snapshot()]
        return len(self._saved) - 1

    def restore(self, snapshot: Any, rng: np.random.Generator) -> Any:
        super().restore(self._saved[snapshot], rng)


@world_env("anchor/fixes-future")
class WindsUp(CorridorWorld):
    """Waiting winds a spring, and the next step is a leap: no observation and no anchor tells."""

    _wound = False

    def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> Any:
        super().reset(setup, rng, seed)
        self._wound = False

    def act(self, action: Any) -> Any:
        if action in ("left", "right") and self._wound:
            self._wound = False
            super().act(action)
        self._wound = self._wound or action == "wait"
        return super().act(action)

    def snapshot(self) -> Any:
        return super().snapshot(), self._wound

    def restore(self, snapshot: Any, rng: np.random.Generator) -> Any:
        saved, self._wound = snapshot
        super().restore(saved, rng)


@dataclass
class MutableCorridor:
    length: int
    cell: int


@world_env("world/state-kept")
class OneStateForAll(CorridorWorld):
    """Hands out the very object that it moves about."""

    portable_snapshots = False

    def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> Any:
        super().reset(setup, rng, seed)
        self._shared = MutableCorridor(setup["length"], setup["start"])
        self._start = replace(self._shared)

    def state(self) -> Any:
        # At the start still a copy of its own, so that progress has something to start from.
        if self._state.cell == self._start.cell:
            return replace(self._start)
        self._shared.cell = self._state.cell
        return self._shared


@process_env("vector/equals-single")
class MixedNumbers(ProcessEnv[Corridor]):
    def _info(self, *args: Any) -> dict[str, Any]:
        cell = self.peek().cell
        return {**super()._info(*args), "half": cell / 2 if cell % 2 else cell // 2}


class HalvedRewards(gymnasium.vector.SyncVectorEnv):
    def __init__(self, num_envs: int, **kwargs: Any) -> None:
        super().__init__([make] * num_envs)

    def step(self, actions: Any) -> Any:
        observations, rewards, *rest = super().step(actions)
        return observations, rewards / 2, *rest


spec_env("vector/native", "toy/HalvedRewards-v0", make, vector_entry_point=HalvedRewards)


@process_env("hidden/does-not-leak")
class TellsTheScore(ProcessEnv[Corridor]):
    def _info(self, *args: Any) -> dict[str, Any]:
        return {**super()._info(*args), "score": self._hidden}
