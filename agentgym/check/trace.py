"""What an environment said, written down so that rules can judge it and two runs can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from hashlib import blake2b
from typing import Any

import gymnasium
import numpy as np

from agentgym.anchor import encode
from agentgym.check.report import Broken
from agentgym.env import ProcessEnv
from agentgym.task import Actor, Task

__all__ = ["Moment", "Trace", "canonical", "difference", "fingerprint", "note", "play", "replay", "scripted"]


def canonical(value: Any) -> str:
    """A text that is the same for equal data in every process; NumPy scalars count as the Python numbers they hold."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray):
        data = canonical(value.tolist()) if value.dtype.hasobject else blake2b(value.tobytes()).hexdigest()
        return f"array({value.dtype}, {value.shape}, {data})"
    if isinstance(value, Mapping):
        return "{" + ", ".join(sorted(f"{canonical(k)}: {canonical(v)}" for k, v in value.items())) + "}"
    if isinstance(value, (tuple, list)):
        return f"{type(value).__name__}({', '.join(map(canonical, value))})"
    if is_dataclass(value) and not isinstance(value, type):
        return f"{type(value).__name__}({canonical({f.name: getattr(value, f.name) for f in fields(value)})})"
    if isinstance(value, (set, frozenset)):
        return "set(" + ", ".join(sorted(map(canonical, value))) + ")"
    return f"{type(value).__name__} {value!r}"


def fingerprint(value: Any) -> str:
    """`canonical`, as it is when short, else its beginning and a digest."""
    text = canonical(value)
    return text if len(text) <= 120 else text[:100] + "… " + blake2b(text.encode("utf-8", "replace")).hexdigest()[:16]


@dataclass(frozen=True)
class Moment:
    """One reset or step.

    Attributes:
        action: None at a reset.
        observation: fingerprint.
        in_space: the observation lies in the observation space.
        info: key -> fingerprint.
        record: a copy of ``info["process"]``; None when there is none.
        success, events, error: those of info, as they were.
        view: the encoded anchor view, where the environment is a ProcessEnv.
        admissible: the actions that were listed before the action, where they are.
    """

    action: Any
    observation: str
    in_space: bool
    reward: Any
    terminated: Any
    truncated: Any
    info: Mapping[str, str]
    record: Mapping[str, Any] | None
    success: Any
    events: Any
    error: Any
    view: bytes | None
    admissible: Sequence[Any] | None

    @property
    def facts(self) -> dict[str, str]:
        """Everything the agent or learner can tell, as text."""
        flags = {"reward": self.reward, "terminated": self.terminated, "truncated": self.truncated}
        return {
            "observation": self.observation,
            **{name: canonical(value) for name, value in flags.items()},
            **{f"info[{key!r}]": text for key, text in self.info.items()},
        }


@dataclass
class Trace:
    """One episode, or its beginning.

    Attributes:
        policy: who acted.
        seed: of the reset.
        moments: the reset and every step.
        task: the task that was played, where the environment has one.
        error: what was raised, '' when nothing.
        hidden: the hidden performance at the end; None where there is none.
        unanswered: the action during which it was raised, if it was one.
    """

    policy: str
    seed: int
    moments: list[Moment] = field(default_factory=list)
    task: Task[Any] | None = None
    error: str = ""
    hidden: float | None = None
    unanswered: list[Any] = field(default_factory=list)

    @property
    def actions(self) -> list[Any]:
        """What was done, also the action that was answered with an exception."""
        return [moment.action for moment in self.moments[1:]] + self.unanswered

    @property
    def ended(self) -> bool:
        """The last step terminated or truncated the episode."""
        return bool(self.moments) and bool(self.moments[-1].terminated or self.moments[-1].truncated)

    def broken(self, step: int, expected: str, got: str, do: str) -> Broken:
        """A rule is broken at this step."""
        return Broken(expected, got, do, seed=self.seed, step=step)

    @property
    def solved(self) -> bool:
        """Success was reached."""
        return any(moment.success is True for moment in self.moments)


def note(env: gymnasium.Env[Any, Any], action: Any, result: tuple[Any, ...], admissible: Any = None) -> Moment:
    """Write down what ``reset`` (two values) or ``step`` (five) returned."""
    observation, info = result[0], result[-1]
    reward, terminated, truncated = result[1:4] if len(result) == 5 else (0.0, False, False)
    base, record = env.unwrapped, info.get("process")
    return Moment(
        action=action,
        observation=fingerprint(observation),
        in_space=observation in env.observation_space,
        reward=reward,
        terminated=terminated,
        truncated=truncated,
        info={str(key): fingerprint(value) for key, value in info.items()},
        record=dict(record) if isinstance(record, Mapping) else None,
        success=info.get("success"),
        events=info.get("events"),
        error=info.get("error"),
        view=encode(base.task.anchor_view(base.peek(), base.episode)) if isinstance(base, ProcessEnv) else None,
        admissible=admissible,
    )


def play(
    env: gymnasium.Env[Any, Any],
    seed: int,
    policy: str,
    actor: Callable[[gymnasium.Env[Any, Any]], Actor],
    limit: int,
    prepare: Callable[[], None] | None = None,
) -> Trace:
    """Reset with ``seed`` and let an actor play until the end, its own end, or ``limit`` steps.

    Whatever is raised on the way is part of what the environment said: it ends the trace and stands in `Trace.error`.
    """
    trace = Trace(policy, seed)
    base = env.unwrapped
    try:
        result: tuple[Any, ...] = env.reset(seed=seed)
        trace.task = getattr(base, "task", None)
        trace.moments.append(note(env, None, result))
        script = actor(env)
        action = next(script)
        while len(trace.moments) <= limit:
            admissible = base.admissible() if isinstance(base, ProcessEnv) else None
            trace.unanswered = [action]
            result = env.step(action)
            trace.moments.append(note(env, action, result, admissible))
            trace.unanswered = []
            if trace.ended:
                break
            action = script.send(result[0])
    except StopIteration:
        pass
    except Exception as error:  # noqa: BLE001  (the environment is on trial: anything it raises is evidence)
        trace.error = f"{type(error).__name__}: {str(error)[:500]}"
    hidden = getattr(base, "hidden_performance", None)
    trace.hidden = float(hidden()) if callable(hidden) else None
    return trace


def scripted(actions: Sequence[Any]) -> Callable[[gymnasium.Env[Any, Any]], Actor]:
    """An actor that does these actions whatever it sees."""

    def actor(env: gymnasium.Env[Any, Any]) -> Actor:
        for action in actions:  # noqa: UP028  (`yield from` a list cannot be sent observations)
            yield action

    return actor


def replay(env: gymnasium.Env[Any, Any], trace: Trace) -> Trace:
    """Play a trace's seed and actions again."""
    return play(env, trace.seed, trace.policy, scripted(trace.actions), len(trace.actions))


def difference(expected: Sequence[Mapping[str, str]], got: Sequence[Mapping[str, str]]) -> tuple[int, str, str] | None:
    """The first step at which two lists of `Moment.facts` differ: its number, what was expected, what came."""
    for step, (a, b) in enumerate(zip(expected, got, strict=False)):
        for key in sorted(a.keys() | b.keys()):
            if a.get(key) != b.get(key):
                return step, f"{key} = {a.get(key, 'absent')}", f"{key} = {b.get(key, 'absent')}"
    if len(expected) != len(got):
        return min(len(expected), len(got)), f"{len(expected) - 1} steps", f"{len(got) - 1} steps"
    return None
