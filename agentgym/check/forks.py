"""Rules about worlds that can be forked: snapshots, and what an anchor promises about the future."""

from __future__ import annotations

import pickle
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.reruns import REPEATS
from agentgym.check.subject import Env, Subject
from agentgym.check.trace import Trace, difference, note, play, scripted
from agentgym.env import ProcessEnv

__all__ = ["RULES"]

FORK_STEPS = 20
PAIRS = 8
"""Forks compared per episode by ``anchor/fixes-future``."""


def _forkable(subject: Subject) -> None:
    if subject.process_env is None or not subject.process_env.forkable:
        raise NotApplicable("the world cannot be forked")


def _onward(env: Env, actions: list[Any]) -> list[dict[str, str]]:
    """What is said when these actions are done from here."""
    facts = []
    for action in actions:
        result = env.step(action)
        facts.append(note(env, action, result).facts)
        if result[2] or result[3]:
            break
    return facts


def _fork_points(subject: Subject) -> Iterator[tuple[Trace, int, Env]]:
    """Environments in the middle of an episode that goes on, with the trace they follow and their step."""
    for trace in subject.of("random", "oracle"):
        middle = len(trace.actions) // 2
        env = subject.make()
        play(env, trace.seed, trace.policy, scripted(trace.actions[:middle]), middle)
        yield trace, middle, env


def snapshot_returns(subject: Subject) -> str:
    _forkable(subject)
    points = 0
    for trace, step, env in _fork_points(subject):
        base = env.unwrapped
        assert isinstance(base, ProcessEnv)
        ahead = trace.actions[step : step + FORK_STEPS]
        there = trace.moments[step]
        saved = base.snapshot()
        expected = _onward(env, ahead)
        for _ in range(2):  # the second time shows whether restoring used the snapshot up
            result = base.restore(saved)
            now = note(env, None, result)
            if (now.observation, _state(now.record)) != (there.observation, _state(there.record)):
                raise _lost(f"{there.observation}, {there.record}", f"{now.observation}, {now.record}", trace, step)
            found = difference(expected, _onward(env, ahead))
            if found is not None:
                raise _lost(found[1], found[2], trace, step + found[0] + 1)
        points += 1
    return f"{points} snapshots, each restored twice"


def _state(record: Mapping[str, Any] | None) -> list[Any]:
    """The fields that belong to the state, not to the step that led there."""
    return [(record or {}).get(name) for name in ("milestones", "progress", "anchor")]


def _lost(expected: str, got: str, trace: Trace, step: int) -> Broken:
    do = "World.snapshot must copy all that changes, and World.restore must go on from the `rng` it is given"
    return Broken(expected, f"{got} after restore", do, seed=trace.seed, step=step)


def snapshot_portable(subject: Subject) -> str:
    _forkable(subject)
    if not subject.process_env or not subject.process_env.world.portable_snapshots:
        raise NotApplicable("snapshots are not declared portable")
    subject.need_factory()
    points = 0
    for trace, step, env in _fork_points(subject):
        other, base = subject.make_beside(), env.unwrapped
        assert isinstance(base, ProcessEnv)
        target = other.unwrapped
        assert isinstance(target, ProcessEnv)
        target.restore(pickle.loads(pickle.dumps(base.snapshot())))
        ahead = trace.actions[step : step + FORK_STEPS]
        found = difference(_onward(base, ahead), _onward(target, ahead))
        if found is not None:
            raise _lost(found[1], f"{found[2]} in another instance", trace, step + found[0] + 1)
        points += 1
    return f"{points} snapshots restored by other instances"


# ------------------------------------------------------------------ anchors


def anchor_fixes_future(subject: Subject) -> str:
    """Fork two moments of equal anchor with the same seed and do the same there: the same must come of it."""
    _forkable(subject)
    compared = 0
    for trace in subject.of("random"):
        env = subject.make()
        base = env.unwrapped
        assert isinstance(base, ProcessEnv)
        visits = defaultdict(list)
        env.reset(seed=trace.seed)
        for step, action in enumerate(trace.actions):
            visits[(trace.moments[step].record or {}).get("anchor")].append((step, base.snapshot()))
            env.step(action)
        rng = np.random.default_rng(trace.seed)
        pairs = [(first, other) for first, *others in visits.values() for other in others]
        for k in rng.permutation(len(pairs))[:PAIRS]:
            (step, one), (other_step, other) = pairs[k]
            ahead = [trace.actions[i] for i in rng.integers(len(trace.actions), size=FORK_STEPS)]
            ways = [_future(base, saved, ahead) for saved in (one, other)]
            length = min(map(len, ways))  # the clock, which no anchor holds, may end the later one first
            found = difference(ways[0][:length], ways[1][:length])
            if found is not None:
                do = "put into `anchor_view` all that affects what happens next"
                got = f"{found[2]} ({found[0] + 1} steps after step {other_step}, which has the same anchor)"
                raise trace.broken(step, found[1], got, do)
            compared += 1
    if not compared:
        raise NotApplicable("no anchor was visited twice")
    return f"{compared} pairs of moments with equal anchors"


def _future(base: ProcessEnv[Any], saved: Any, actions: list[Any]) -> list[dict[str, str]]:
    """What the state says after each action from a snapshot; not the milestones, which remember the past."""
    base.restore(saved, seed=0)
    said = []
    for action in actions:
        *_, terminated, truncated, info = base.step(action)
        record = info["process"]
        if truncated:
            break
        said.append({name: str(record[name]) for name in ("anchor", "progress", "grounded")})
        if terminated:
            break
    return said


RULES = (
    Rule("snapshot/returns", "Restoring a snapshot comes back, and goes on as before.", snapshot_returns, REPEATS),
    Rule(
        "snapshot/portable",
        "Another instance can restore a snapshot.",
        snapshot_portable,
        (*REPEATS, "determinism/history", "snapshot/returns"),
    ),
    Rule(
        "anchor/fixes-future",
        "Equal anchors in one episode mean equal futures.",
        anchor_fixes_future,
        (
            *REPEATS,
            "record/present",
            "anchor/equals-view",
            "anchor/varies",
            "anchor/fixes-progress",
            "snapshot/returns",
        ),
    ),
)
