"""One session for many environments of this process: what they announce travels in one message.

An environment that is stepped alone costs a message and its answer, which takes longer than a small world's step. Here
whoever steps many (the loop) announces what it is about to ask of each; the first that is asked sends for all, and the
others find their answers waiting.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from agentgym.envs.remote.line import Line, failed
from agentgym.errors import UsageError, WorldError
from agentgym.serve.codec import ProtocolError, pack

__all__ = ["Berth"]


class _Call(NamedTuple):
    operation: str
    argument: Any

    def same(self, other: _Call) -> bool:
        """Whether this is what was announced: an action is compared by identity, it may be an array."""
        if self.operation != other.operation:
            return False
        return self.argument is other.argument or (self.operation == "reset" and self.argument == other.argument)


class _Session:
    """A line, who is on it, and what they announced. For one thread at a time."""

    running: ClassVar[dict[tuple[Any, ...], _Session]] = {}
    lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, line: Line) -> None:
        self.line = line
        self.taken: set[int] = set()
        self._announced: dict[int, _Call] = {}
        self._answers: dict[int, tuple[_Call, Any]] = {}
        self._why = ""
        self._busy = threading.Lock()

    def announce(self, number: int, call: _Call) -> None:
        try:
            pack(call.argument)
        except UsageError:
            return  # nobody else's call shall fail with it
        self._announced[number] = call

    def call(self, number: int, call: _Call) -> Any:
        if not self._busy.acquire(blocking=False):
            self._break("two threads use it; environments with shared=True are for one")
        try:
            if self._why or self.line.broken:
                raise WorldError(f"the session that this environment shares is over ({self._why or 'closed'})")
            announced, answer = self._answers.pop(number, (None, None))
            if announced is None or not announced.same(call):
                if announced is not None and call.operation != "reset":
                    self._break(f"{announced.operation} was announced and done, and {call.operation} was asked for")
                answer = self._ask(number, call)
            match answer:
                case ["ok", value]:
                    return value
                case ["error", {"kind": str(kind), "message": str(said)}]:
                    raise failed(kind, said)
            raise ProtocolError("the server answered one of many calls in a form that is not known")
        except BaseException as error:
            if self.line.broken:
                self._why = self._why or str(error) or type(error).__name__
            raise
        finally:
            self._busy.release()

    def _ask(self, number: int, call: _Call) -> Any:
        """Send a call, and with it, if it was announced, all that were."""
        calls = {number: call}
        if number in self._announced and self._announced[number].same(call):
            calls, self._announced = self._announced, {}
        self._announced.pop(number, None)
        try:
            answers = self.line.call("many", [[k, *each] for k, each in calls.items()])
            if not isinstance(answers, list) or len(answers) != len(calls):
                raise ProtocolError(f"expected {len(calls)} answers to as many calls")
        except BaseException:  # interrupted, too: what else of it was done there is not known
            self.line.close()
            raise
        self._answers |= {k: (each, answer) for (k, each), answer in zip(calls.items(), answers, strict=True)}
        return self._answers.pop(number)[1]

    def _break(self, why: str) -> None:
        self._why = why
        self.line.close()
        raise WorldError(f"the session that this environment shares is over ({why})")


class Berth:
    """An environment's place in a shared session; used as a `Line` is.

    Raises:
        UsageError: the server does not give a session as many environments.
    """

    def __init__(self, key: tuple[Any, ...], session: _Session, number: int) -> None:
        self._key, self._session, self._number = key, session, number

    @classmethod
    def of(cls, url: str, id: str, options: Mapping[str, Any], **how: Any) -> Berth:
        """The lowest free place; the session is opened by the first. ``how``: as for `Line`."""
        key = (os.getpid(), url, id, json.dumps([options, how], sort_keys=True))
        with _Session.lock:
            session = _Session.running.get(key)
            if session is None or session.line.broken:
                session = _Session.running[key] = _Session(Line(url, id, dict(options), **how))
            most = session.line.told.get("environments", 1)
            number = next((k for k in range(most) if k not in session.taken), None)
            if number is None:
                raise UsageError(
                    f"{url} gives one session {most} environments and all are taken; start it with a larger "
                    "`agentgym serve --environments`, or make environments without shared=True"
                )
            session.taken.add(number)
            return cls(key, session, number)

    @property
    def told(self) -> dict[str, Any]:
        """As `Line.told`."""
        return self._session.line.told

    @property
    def broken(self) -> bool:
        """As `Line.broken`; it is so for all that share the session."""
        return self._session.line.broken

    def announce(self, operation: str, argument: Any) -> None:
        """What `call` will be asked for next."""
        self._session.announce(self._number, _Call(operation, argument))

    def call(self, operation: str, argument: Any = None) -> Any:
        """As `Line.call`."""
        return self._session.call(self._number, _Call(operation, argument))

    def close(self) -> None:
        """Leave the place; the last ends the session."""
        with _Session.lock:
            session = self._session
            session.taken.discard(self._number)
            if not session.taken:
                session.line.close()
                if _Session.running.get(self._key) is session:
                    del _Session.running[self._key]
