"""One session: an environment in a process of its own, which answers calls over a pipe.

Where the server allows it, a session has further environments of the same kind beside the first, by number; then one
message carries the steps of all of them (`many`), and costs little more than a message for one.

A call is ``[number, operation, argument]``, its answer ``[number, "ok", value]`` or ``[number, "error", {kind,
message}]``; the number is the caller's and comes back unchanged.

| operation | argument | value |
|---|---|---|
| make | none | what the environment is: spaces, task, horizon, render modes |
| reset | seed, options | observation, info, task, admissible actions (see below) |
| step | action | observation, reward, terminated, truncated, info, admissible actions, hidden performance at the end |
| admissible | none | as the environment's; from then on every reset and step tells them, for one round trip less |
| hidden_performance, render | none | as the environment's |
| script | '' for the oracle, or an offender's name | None when there is none; else a number |
| script_next | that number | one action in a list; [] at the script's end |
| offenders | none | names |
| many | calls, each ``[environment, operation, argument]`` | each one's ``["ok", value]`` or ``["error", {…}]`` |
"""

from __future__ import annotations

import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import gymnasium

import agentgym
from agentgym.errors import AgentGymError, TaskError, UsageError, WorldError, WorldTimeout
from agentgym.serve.codec import ProtocolError, describe, pack, unpack
from agentgym.task import Actor

__all__ = ["ERRORS", "Session", "failure", "main"]

ERRORS: dict[str, type[Exception]] = {
    "protocol": ProtocolError,
    "timeout": WorldTimeout,
    "usage": UsageError,
    "reset_needed": gymnasium.error.ResetNeeded,
    "task": TaskError,
    "world": WorldError,
    "type": TypeError,
}
"""How errors are named on the wire; an error has the first name that fits."""
_GRACE = 5.0
"""Seconds that an environment has to close itself once the server is gone."""
_MAX_SCRIPTS = 16


def main(pipe: Connection, id: str, kwargs: Mapping[str, Any], most: int = 1) -> None:
    """Serve at most so many environments until the pipe closes. Runs in the session's process."""
    threading.Thread(target=_leave_with, args=(pipe.fileno(),), daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the server's business; it closes the pipe
    session = Session(id, kwargs, most)
    try:
        while (message := _next(pipe)) is not None:
            pipe.send_bytes(session.answer(message))
    except BrokenPipeError:
        pass  # the server gave this session up while it worked: nobody is left to be told
    finally:
        session.close()
        os._exit(0)  # threads of a world (a browser's, a sandbox's) must not keep the process


def _leave_with(descriptor: int) -> None:
    """No session outlives its server, not even one that hangs in a step: the pipe tells when the server is gone."""
    watch = select.poll()
    watch.register(descriptor, 0)  # the other end's close is always reported
    watch.poll()
    time.sleep(_GRACE)
    os._exit(1)


def _next(pipe: Connection) -> bytes | None:
    try:
        return pipe.recv_bytes()
    except (EOFError, ConnectionResetError):
        return None


def failure(error: BaseException) -> dict[str, str]:
    """An error as it is told to the client."""
    kind = next((name for name, known in ERRORS.items() if isinstance(error, known)), "world")
    message = str(error) if isinstance(error, AgentGymError | TypeError | gymnasium.error.Error) else repr(error)
    return {"kind": kind, "message": message[:4000]}


class Session:
    """Answers the calls of one client.

    Args:
        id: environment. kwargs: given to ``gymnasium.make``.
        most: environments that there may be, this one included.
    """

    def __init__(self, id: str, kwargs: Mapping[str, Any], most: int = 1) -> None:
        self.id, self.kwargs, self.most = id, dict(kwargs), most
        self._beside: dict[int, Session] = {}
        self._made: gymnasium.Env[Any, Any] | None = None
        self._told: Any = None
        self._scripts: dict[int, Actor] = {}
        self._begun: set[int] = set()
        self._observation: Any = None
        self._tells_admissible = False
        self._operations: dict[str, Callable[[Any], Any]] = {
            "make": self._make,
            "reset": self._reset,
            "step": self._step,
            "admissible": self._admissible,
            "hidden_performance": lambda _: self._env.hidden_performance(),
            "render": lambda _: self._env.render(),
            "script": self._script,
            "script_next": self._script_next,
            "offenders": lambda _: sorted(self._env.offenders()),
        }

    def answer(self, message: bytes) -> bytes:
        """The answer to one message. Never raises: whatever goes wrong is part of the answer."""
        number = -1
        try:
            match unpack(message):
                case [int(number), "many", list(calls)]:
                    return pack([number, "ok", [self._one_of_many(call) for call in calls]])
                case [int(number), str(operation), argument]:
                    return pack([number, *self.perform(operation, argument)])
                case _:
                    raise ProtocolError("expected a call as [number, operation, argument]")
        except (AgentGymError, RecursionError) as error:  # a message, or an answer that cannot be sent
            return pack([number, "error", failure(error)])

    def perform(self, operation: str, argument: Any) -> list[Any]:
        """``["ok", value]`` or ``["error", {kind, message}]``."""
        try:
            if operation not in self._operations:
                raise ProtocolError(f"unknown operation {operation[:100]!r}; known: {', '.join(self._operations)}")
            return ["ok", self._operations[operation](argument)]
        except Exception as error:  # noqa: BLE001  (anything a world or task may raise; it ends an episode, not a server)
            if not isinstance(error, AgentGymError | TypeError | gymnasium.error.Error):
                traceback.print_exc()  # a bug: the operator sees where
            return ["error", failure(error)]

    def _one_of_many(self, call: Any) -> list[Any]:
        match call:
            case [int(k), str(operation), argument] if 0 <= k < self.most:
                which = self if k == 0 else self._beside.get(k)
                if which is None:
                    which = self._beside[k] = Session(self.id, self.kwargs)
                return which.perform(operation, argument)
        raise ProtocolError(f"expected calls as [environment, operation, argument], environment below {self.most}")

    def close(self) -> None:
        """Close scripts and environments."""
        for other in self._beside.values():
            other.close()
        for script in self._scripts.values():
            script.close()
        if self._made is not None:
            self._made.close()

    @property
    def _env(self) -> Any:
        if self._made is None:
            self._made = gymnasium.make(self.id, disable_env_checker=True, **self.kwargs)
        return self._made.unwrapped

    def _make(self, _: Any) -> dict[str, Any]:
        env = self._env
        return {
            "id": self.id,
            "version": agentgym.__version__,
            "observation_space": describe(env.observation_space),
            "action_space": describe(env.action_space),
            "render_modes": [mode for mode in env.metadata.get("render_modes", []) if mode != "human"],
            "render_fps": int(env.metadata.get("render_fps", 10)),
            "reward": env.reward_mode,
            "horizon": int(env.horizon),
            "environments": self.most,
            "task": _task(env),
        }

    def _reset(self, argument: Any) -> list[Any]:
        match argument:
            case [None | int(), None | dict()]:
                seed, options = argument
            case _:
                raise ProtocolError("expected reset's argument as [seed or nothing, options or nothing]")
        for script in self._scripts.values():
            script.close()
        self._scripts.clear()
        self._begun.clear()
        self._observation, info = self._env.reset(seed=seed, options=options)
        return [self._observation, info, _task(self._env), self._actions()]

    def _step(self, action: Any) -> list[Any]:
        self._observation, reward, terminated, truncated, info = self._env.step(action)
        ended = bool(terminated), bool(truncated)
        hidden = self._env.hidden_performance() if any(ended) else None
        return [self._observation, float(reward), *ended, info, None if any(ended) else self._actions(), hidden]

    def _admissible(self, _: Any) -> Any:
        self._tells_admissible = True
        return self._actions()

    def _actions(self) -> Any:
        return self._env.admissible() if self._tells_admissible else None

    def _script(self, name: Any) -> int | None:
        if len(self._scripts) >= _MAX_SCRIPTS:
            raise ProtocolError(f"{_MAX_SCRIPTS} scripts are open in this episode; reset closes them")
        script: Actor | None
        if name == "":
            script = self._env.oracle()
        else:
            offenders = self._env.offenders()
            if name not in offenders:
                raise UsageError(f"this task has the offenders {sorted(offenders)}, got {str(name)[:100]!r}")
            script = offenders[name]
        if script is None:
            return None
        handle = len(self._scripts)
        self._scripts[handle] = script
        return handle

    def _script_next(self, handle: Any) -> list[Any]:
        if type(handle) is not int or handle not in self._scripts:
            raise ProtocolError("expected the number of a script of this episode")
        script = self._scripts[handle]
        try:
            if handle in self._begun:
                return [script.send(self._observation)]
            self._begun.add(handle)
            return [next(script)]
        except StopIteration:
            return []


def _task(env: Any) -> dict[str, Any]:
    """What is told of the environment's present task."""
    task = env.task
    return {
        "id": task.id,
        "milestones": [[m.name, m.description, bool(m.required)] for m in task.milestones],
        "dangers": dict(task.dangers),
        "progress_kind": task.progress_kind,
        "horizon": int(task.horizon),
        "has_success": bool(task.has_success),
        "no_oracle": task.no_oracle,
        "vocabulary": list(task.vocabulary()) if hasattr(task, "vocabulary") else None,
    }
