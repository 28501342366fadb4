"""The environment on trial: how to make another one, and the episodes that the rules judge."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property, partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.registration import EnvSpec

from agentgym.check.report import NotApplicable
from agentgym.check.trace import Moment, Trace, play, scripted
from agentgym.env import ProcessEnv
from agentgym.process import FIELDS
from agentgym.registration import find
from agentgym.task import Actor

__all__ = ["Env", "Subject", "looked", "moments", "random_actor", "records", "ungrounded_action"]

Env = gymnasium.Env[Any, Any]

INERT_CANDIDATES = 8
INERT_STEPS = 10


class Subject:
    """One environment and what is known of it.

    Args:
        what: an id, an environment, or a callable that makes one.
        seeds: how many seeds every policy plays.
        steps: at most so many steps of policies that have no end of their own.

    An environment without a ``spec`` cannot be made again: every rule then works on that very instance, one episode
    after the other, and rules that need two at once are not applicable.
    """

    def __init__(self, what: str | Env | Callable[[], Env], seeds: int = 3, steps: int = 100) -> None:
        self.seeds = tuple(range(seeds))
        self.steps = steps
        self.instance: Env | None = None
        self.factory: Callable[[], Env]
        self._opened: list[Env] = []
        if isinstance(what, str):
            self.name = what
            self.factory = partial(gymnasium.make, gymnasium.spec(find(what).id))
        elif not isinstance(what, gymnasium.Env):
            self.name = _name(what)
            self.factory = what
        elif what.spec is not None:
            self.name = str(what)
            self.factory = partial(gymnasium.make, what.spec)
        else:
            self.name = str(what)
            self.factory = partial(_identity, what)
            self.instance = what

    def make(self) -> Env:
        """A fresh environment, or the only instance; closes those made before: a world may be a whole machine."""
        self.close()
        return self.make_beside()

    def make_beside(self) -> Env:
        """A fresh environment beside those made before; closed with them."""
        env = self.factory()
        if self.instance is None:
            self._opened.append(env)
        return env

    def need_factory(self) -> None:
        """Refuse to go on with a single instance."""
        if self.instance is not None:
            raise NotApplicable("an instance without a spec cannot be made twice; check its id or a factory")

    def close(self) -> None:
        """Close every environment made here."""
        while self._opened:
            self._opened.pop().close()

    def pickled_factory(self) -> bytes:
        """The factory as bytes for another process."""
        self.need_factory()
        target = self.factory.func if isinstance(self.factory, partial) else self.factory
        if getattr(target, "__module__", "") == "__main__":
            raise NotApplicable("the factory lives in __main__, which another process cannot import")
        try:
            return pickle.dumps(self.factory)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise NotApplicable(f"the factory cannot be sent to another process ({error})") from None

    # ------------------------------------------------------------------ episodes

    @cached_property
    def _declared(self) -> tuple[EnvSpec | None, Env]:
        env = self.factory()
        if self.instance is None:
            env.close()
        return env.spec, env.unwrapped

    @property
    def spec(self) -> EnvSpec | None:
        """How Gymnasium made it, if it did."""
        return self._declared[0]

    @property
    def process_env(self) -> ProcessEnv[Any] | None:
        """The ProcessEnv inside, or None; for what it declares, not for playing: it is closed."""
        base = self._declared[1]
        return base if isinstance(base, ProcessEnv) else None

    @cached_property
    def traces(self) -> list[Trace]:
        """Every policy on every seed, each on an environment of its own."""
        return [trace for seed in self.seeds for trace in self._play_all(seed)]

    def of(self, *policies: str) -> list[Trace]:
        """The traces of some policies; "offender" stands for all offenders."""
        return [trace for trace in self.traces if trace.policy.partition(":")[0] in policies]

    def _play_all(self, seed: int) -> Iterator[Trace]:
        yield play(self.make(), seed, "random", partial(random_actor, seed=seed), self.steps)
        env = self.make()
        idle = ungrounded_action(env.action_space)
        if idle is not None:
            yield play(env, seed, "idle", scripted([idle] * self.steps), self.steps)
        inert = self._inert_action(seed)
        if inert is not None:
            yield play(self.make(), seed, "inert", scripted([inert] * self.steps), self.steps)
        declared = self.process_env
        if declared is None:
            return
        trace = play(self.make(), seed, "oracle", _oracle_actor, declared.horizon)
        if trace.actions or trace.error:
            yield trace
        for name in dict.fromkeys(name for task in declared.tasks for name in task.offenders):
            trace = play(self.make(), seed, f"offender:{name}", partial(_offender_actor, name=name), declared.horizon)
            if trace.task is None or name in trace.task.offenders:  # else this seed drew another task
                yield trace

    def _inert_action(self, seed: int) -> Any:
        """An action that is grounded and yet, done again and again at the start, changes nothing; None if not found."""
        env = self.make()
        for action in _candidates(env, seed)[:INERT_CANDIDATES]:
            trace = play(env, seed, "search", scripted([action] * INERT_STEPS), INERT_STEPS)
            records = [moment.record for moment in trace.moments]
            if trace.error or None in records or len(records) < 2:
                continue
            if {r["anchor"] for r in records if r} == {records[0]["anchor"]} and all(  # type: ignore[index]  # no None left
                r["grounded"] and not r["danger"] for r in records if r
            ):
                return action
        return None


def _name(factory: Callable[[], Env]) -> str:
    if isinstance(factory, partial):
        arguments = [*map(repr, factory.args), *(f"{key}={value!r}" for key, value in factory.keywords.items())]
        return f"{_name(factory.func)}({', '.join(arguments)})"
    return getattr(factory, "__qualname__", repr(factory))


def _identity(env: Env) -> Env:
    return env


def _candidates(env: Env, seed: int) -> list[Any]:
    space = env.action_space
    if isinstance(space, gymnasium.spaces.Discrete):
        return [int(space.start) + k for k in reversed(range(int(space.n)))]  # the idle one tends to come last
    if isinstance(env.unwrapped, ProcessEnv):
        env.reset(seed=seed)
        return list(reversed(env.unwrapped.admissible() or ()))
    return []


def ungrounded_action(space: gymnasium.Space[Any]) -> Any:
    """An action of the right type that no world can ground, or None for spaces where there is none."""
    if isinstance(space, gymnasium.spaces.Discrete):
        return int(space.start + space.n)
    return "" if isinstance(space, gymnasium.spaces.Text) else None


def random_actor(env: Env, seed: int) -> Actor:
    """Mostly admissible actions where they are listed, else samples of the action space."""
    space, rng, base = copy.deepcopy(env.action_space), np.random.default_rng(seed), env.unwrapped
    space.seed(seed)
    while True:
        listed = base.admissible() if isinstance(base, ProcessEnv) else None
        if listed and rng.random() < 0.9:
            yield listed[int(rng.integers(len(listed)))]
        else:
            yield space.sample()


def _oracle_actor(env: Env) -> Actor:
    base = env.unwrapped
    script = base.oracle() if isinstance(base, ProcessEnv) else None
    if script is not None:
        yield from script


def _offender_actor(env: Env, name: str) -> Actor:
    base = env.unwrapped
    script = base.offenders().get(name) if isinstance(base, ProcessEnv) else None
    if script is not None:
        yield from script


def moments(subject: Subject) -> Iterator[tuple[Trace, int, Moment]]:
    """Every reset and step of every trace, with its number."""
    for trace in subject.traces:
        for step, moment in enumerate(trace.moments):
            yield trace, step, moment


def records(subject: Subject) -> Iterator[tuple[Trace, int, Moment, Mapping[str, Any]]]:
    """Those moments whose record has all fields with comparable values; the others are the affair of ``record/…``."""
    for trace, step, moment in moments(subject):
        record = moment.record
        if record is not None and all(isinstance(record.get(name), (int, float)) for name in FIELDS):
            yield trace, step, moment, record


def looked(subject: Subject) -> str:
    """How much was looked at."""
    return f"{len(subject.traces)} episodes, {sum(len(trace.actions) for trace in subject.traces)} steps"
