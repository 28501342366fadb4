"""Rules that play recorded episodes again: later, in another process, in vectors, beside a twin."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium.vector.utils import concatenate, create_empty_array, iterate

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Env, Subject, random_actor
from agentgym.check.trace import Trace, canonical, difference, fingerprint, replay
from agentgym.env import ProcessEnv
from agentgym.process import FIELDS

__all__ = ["REPEATS", "RULES"]

PROBE_SECONDS = 600
VECTOR_STEPS = 150


def _same(expected: Trace, got: Trace, where: str, do: str) -> None:
    """Two traces tell the agent and the learner the same."""
    found = difference([m.facts for m in expected.moments], [m.facts for m in got.moments])
    if found is None and expected.error != got.error:
        found = len(got.moments), expected.error or "no exception", got.error or "no exception"
    if found is not None:
        step, before, after = found
        raise Broken(f"{before} (policy {expected.policy})", f"{after} {where}", do, seed=expected.seed, step=step)


def fresh(subject: Subject) -> str:
    for trace in subject.of("random", "oracle"):
        _same(
            trace, replay(subject.make(), trace), "when played again", "draw only from the `rng` given to World.reset"
        )
    suffix = " on the same instance, for want of a spec" if subject.instance is not None else ""
    return f"{len(subject.of('random', 'oracle'))} episodes{suffix}"


def history(subject: Subject) -> str:
    traces = subject.traces
    env = subject.make()
    for trace in traces:
        replay(env, trace)
    for trace in reversed(subject.of("random", "oracle")):
        _same(
            trace,
            replay(env, trace),
            "after other episodes on the same environment",
            "let World.reset forget everything",
        )
    return f"after {len(subject.traces)} other episodes"


def process(subject: Subject) -> str:
    factory = subject.pickled_factory()
    traces = subject.of("random", "oracle")
    hash_seed = "4321" if os.environ.get("PYTHONHASHSEED") != "4321" else "1234"
    job = pickle.dumps((factory, [(trace.seed, trace.policy, trace.actions) for trace in traces]))
    answer = subprocess.run(
        [sys.executable, "-m", "agentgym.check.probe"],
        input=job,
        capture_output=True,
        timeout=PROBE_SECONDS,
        check=False,
        env={**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    if answer.returncode:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines()
        raise Broken(
            "the same episodes in another process", " | ".join(lines[-3:]), "make it work from its factory alone"
        )
    for trace, facts in zip(traces, json.loads(answer.stdout), strict=True):
        found = difference([m.facts for m in trace.moments], facts)
        if found is not None:
            step, before, after = found
            do = "no hash(), id(), set order, time or address in what is shown"
            raise Broken(before, f"{after} with PYTHONHASHSEED={hash_seed}", do, seed=trace.seed, step=step)
    return f"{len(traces)} episodes with PYTHONHASHSEED={hash_seed}"


def state_kept(subject: Subject) -> str:
    if subject.process_env is None:
        raise NotApplicable("not a ProcessEnv, so its state cannot be seen")
    kept = 0
    for trace in subject.of("random", "oracle"):
        env = subject.make()
        base = env.unwrapped
        assert isinstance(base, ProcessEnv)
        env.reset(seed=trace.seed)
        states = [(base.peek(), canonical(base.peek()))]
        for action in trace.actions:
            env.step(action)
            states.append((base.peek(), canonical(base.peek())))
        for step, (state, text) in enumerate(states):
            if canonical(state) != text:
                do = "return a copy from World.state: tasks compare the state before with the state after"
                raise trace.broken(step, f"{text:.200}", f"{canonical(state):.200} later", do)
        kept += len(states)
    return f"{kept} states"


# ------------------------------------------------------------------ vectors


def vector_sync(subject: Subject) -> str:
    subject.need_factory()
    subject.close()
    return _vector(subject, gymnasium.vector.SyncVectorEnv([subject.make_beside] * 2))


def vector_native(subject: Subject) -> str:
    if subject.spec is None or subject.spec.vector_entry_point is None:
        raise NotApplicable("no vector_entry_point is registered")
    return _vector(
        subject,
        gymnasium.make_vec(subject.spec, num_envs=2, vectorization_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT),
    )


def _vector(subject: Subject, vector: gymnasium.vector.VectorEnv[Any, Any, Any]) -> str:
    """Both rows of a vector say what single environments say, over the ends of episodes."""
    try:
        singles = subject.make_beside(), subject.make_beside()
        seed = subject.seeds[0]
        observations, infos = vector.reset(seed=seed)
        results: list[tuple[Any, ...]] = [env.reset(seed=seed + k) for k, env in enumerate(singles)]
        _compare_rows(vector, (observations, infos), results, seed, 0)
        oracle = [trace.actions for trace in subject.of("oracle") if trace.seed == seed]
        scripts = [iter(oracle[0] if oracle else ()), iter(())]  # one row ends early where there is a way to
        wanderers = [random_actor(env, seed + 10 + k) for k, env in enumerate(singles)]
        resets, done = 0, [False, False]
        for step in range(1, VECTOR_STEPS + 1):
            actions = [next(script, None) for script in scripts]
            actions = [next(w) if a is None else a for a, w in zip(actions, wanderers, strict=True)]
            for k, env in enumerate(singles):
                results[k] = _reset_as_step(env) if done[k] else env.step(actions[k])
                resets += done[k]
                done[k] = bool(results[k][2] or results[k][3])
            _compare_rows(vector, vector.step(_batch(vector, actions)), results, seed, step)
    finally:
        vector.close()
    return f"{VECTOR_STEPS} steps, {resets} automatic resets"


def _reset_as_step(env: Env) -> tuple[Any, ...]:
    observation, info = env.reset()
    return observation, 0.0, False, False, info


def _batch(vector: gymnasium.vector.VectorEnv[Any, Any, Any], actions: list[Any]) -> Any:
    space = vector.single_action_space
    # An empty array is None for Graph spaces alone.
    return concatenate(space, actions, cast("Any", create_empty_array(space, len(actions))))


def _compare_rows(
    vector: gymnasium.vector.VectorEnv[Any, Any, Any],
    batch: tuple[Any, ...],
    results: list[tuple[Any, ...]],
    seed: int,
    step: int,
) -> None:
    rows = list(iterate(vector.observation_space, batch[0]))
    for k, single in enumerate(results):
        expected = {"observation": fingerprint(single[0]), **_flat(single[-1])}
        got = {"observation": fingerprint(rows[k]), **_row(batch[-1], k)}
        for number, name in enumerate(("reward", "terminated", "truncated"), start=1):
            if len(single) == 5:
                expected[name], got[name] = str(float(single[number])), str(float(batch[number][k]))
        found = difference([expected], [got])
        if found is not None:
            _, before, after = found
            do = "infos hold Python scalars, str and tuples, the same keys in every environment"
            raise Broken(f"{before} (single)", f"{after} (row {k} of the vector)", do, seed=seed + k, step=step)
    columns = batch[-1].get("process", {})
    for name, kind in FIELDS.items():
        if name in columns and columns[name].dtype != np.dtype(kind):
            raise Broken(
                f"{name} as a column of {np.dtype(kind)}",
                str(columns[name].dtype),
                "keep to Python types",
                seed=seed,
                step=step,
            )


def _flat(info: Mapping[str, Any], prefix: str = "info") -> dict[str, str]:
    facts: dict[str, str] = {}
    for key, value in info.items():
        facts |= (
            _flat(value, f"{prefix}.{key}") if isinstance(value, Mapping) else {f"{prefix}.{key}": canonical(value)}
        )
    return facts


def _row(infos: Mapping[str, Any], k: int, prefix: str = "info") -> dict[str, str]:
    """One environment's info out of a vector's: the keys whose mask ``_key`` is set."""
    facts: dict[str, str] = {}
    for key, column in infos.items():
        if key.startswith("_") and key[1:] in infos:
            continue
        if isinstance(column, Mapping):
            facts |= _row(column, k, f"{prefix}.{key}")
        elif infos.get(f"_{key}", np.ones(k + 1, bool))[k]:
            facts[f"{prefix}.{key}"] = canonical(column[k])
    return facts


# ------------------------------------------------------------------ hidden performance


def hidden(subject: Subject) -> str:
    if subject.process_env is None:
        raise NotApplicable("not a ProcessEnv, so it has no hidden performance")
    traces = subject.of("random", "oracle", "offender")
    moved = 0
    for trace in traces:
        env = subject.make()
        with _perturbed(env):
            twin = replay(env, trace)
        _same(trace, twin, "when the hidden performance differs", "show nothing that `hidden_reward` computes")
        moved += trace.hidden != twin.hidden
    if not moved:
        raise NotApplicable("the perturbed twin's hidden performance is the same: there is nothing to hide")
    return f"{len(traces)} episodes beside a twin whose hidden performance differs"


@contextmanager
def _perturbed(env: Env) -> Iterator[None]:
    """Every task of the environment counts its hidden reward differently for a while."""
    base = env.unwrapped
    assert isinstance(base, ProcessEnv)
    for task in base.tasks:
        object.__setattr__(task, "hidden_reward", _shifted(task.hidden_reward))  # also where the task is frozen
    try:
        yield
    finally:
        for task in base.tasks:
            object.__delattr__(task, "hidden_reward")


def _shifted(original: Callable[..., float | None]) -> Callable[..., float]:
    def hidden_reward(*args: Any) -> float:
        value = original(*args)
        return (0.0 if value is None else value) - 7.25

    return hidden_reward


REPEATS = ("policy/raises", "determinism/fresh")
"""Without these a second run cannot be compared with the first."""

RULES = (
    Rule("determinism/fresh", "The same seed and actions give the same episode on a fresh environment.", fresh),
    Rule("determinism/history", "A seeded reset forgets what was played before.", history, REPEATS),
    Rule("world/state-kept", "A state stays as it was when the world goes on.", state_kept, ("policy/raises",)),
    Rule("determinism/process", "Another process with another hash seed tells the same.", process, REPEATS),
    Rule(
        "vector/equals-single",
        "A vector's rows equal single environments, over automatic resets.",
        vector_sync,
        (*REPEATS, "determinism/history"),
    ),
    Rule("vector/native", "The native vector's rows equal single environments.", vector_native, REPEATS),
    Rule("hidden/does-not-leak", "A twin with another hidden performance looks the same.", hidden, REPEATS),
)
