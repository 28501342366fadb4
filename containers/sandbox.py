"""What a sandbox can do, whichever back-end holds it, and what comes back."""

from __future__ import annotations

import functools
import itertools
import marshal
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import MAGIC_NUMBER
from pathlib import Path, PurePosixPath
from typing import Any, Protocol, Self, runtime_checkable

from agentgym.containers.limits import Limits
from agentgym.containers.seccomp import filter_program
from agentgym.containers.wire import Wire
from agentgym.errors import UsageError, WorldError

__all__ = ["FileRefused", "Output", "Result", "RunnerSandbox", "Sandbox", "Session"]

_GRACE = 30.0
"""Seconds beyond a step's own time until a runner that does not answer counts as lost: ending all may take it 20."""
_ANSWER = 60.0
"""Seconds for a request that runs no command."""
_ENV = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/tmp",
    "LANG": "C.UTF-8",
    "USER": "agent",
    "TERM": "dumb",
    "PAGER": "cat",
    "PYTHONDONTWRITEBYTECODE": "1",
}


class FileRefused(UsageError):
    """A put, get, snapshot or restore that cannot be carried out. The sandbox is as it was, or has written a part.

    Attributes:
        kind: ``missing``, ``outside`` (of the writable folders), ``link`` (in the way), ``kind`` (not a regular file),
            ``size``, ``full`` (disk, or the room for snapshots), ``depth``, ``path`` or ``denied``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, repr=False)
class Output:
    """One stream of a step: its first and last bytes, and how many there were.

    ``head`` and ``tail`` together are everything where ``total`` says so.
    """

    head: bytes = b""
    tail: bytes = b""
    total: int = 0

    def __repr__(self) -> str:
        shown = repr(self.text) if self.total <= 200 else f"{self.text[:100]!r} ... {self.text[-60:]!r}"
        return f"<Output of {self.total} bytes: {shown}>"

    @property
    def left_out(self) -> int:
        """Bytes between head and tail that were not kept."""
        return self.total - len(self.head) - len(self.tail)

    @property
    def text(self) -> str:
        """As text, with a line that says what was left out; bytes that are no UTF-8 become U+FFFD."""
        if not self.left_out:
            return (self.head + self.tail).decode("utf-8", "replace")
        head, tail = (part.decode("utf-8", "replace") for part in (self.head, self.tail))
        return f"{head}\n[... {self.left_out} bytes left out ...]\n{tail}"


@dataclass(frozen=True)
class Result:
    """What one command did.

    Attributes:
        code: exit code; minus the signal's number where a signal ended it; None where the step was cut short.
        out: standard output (both streams, in order, when merged).
        err: standard error.
        cut: why the step was cut short: '', ``time`` or ``output``.
        trouble: why the command could not start, in a sentence; '' when it did. The code is 127 then.
        killed: processes that were still alive when the command had ended, and were killed.
        fresh_shell: the persistent shell was started for this step: what earlier steps had set is gone.
        seconds: as the runner measured.
    """

    code: int | None
    out: Output
    err: Output
    cut: str = ""
    trouble: str = ""
    killed: int = 0
    fresh_shell: bool = False
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """It ended by itself with exit code 0."""
        return self.code == 0


@runtime_checkable
class Sandbox(Protocol):
    """A place where commands of an agent run and harm nobody.

    Use one from one thread at a time. Whatever a command does is a `Result`; a sandbox that is lost raises
    `WorldError`, and every later call does too.
    """

    limits: Limits

    def start(self) -> Self:
        """Make the sandbox. Fresh: the working folder is empty, or a copy of the image's seed folder."""

    def exec(
        self,
        command: str | Sequence[str],
        *,
        seconds: float | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        merge: bool = False,
    ) -> Result:
        """Run one command to its end; nothing it started lives on.

        Args:
            command: a line for the shell, or a program with its arguments.
            seconds: time limit; the limits' own when None.
            cwd: folder, relative to the working folder.
            env: further environment variables.
            stdin: what it may read; nothing (``/dev/null``) when empty.
            merge: both streams into `Result.out`, in order.

        Raises:
            WorldError: the sandbox is lost. `WorldTimeout` where it does not answer.
        """

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        """Write a file, with its folders. A link that stands at the path is replaced; one on the way is refused.

        Raises:
            FileRefused: says why.
        """

    def put_many(self, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        """`put` of many files in one request."""

    def get(self, path: str, *, limit: int | None = None) -> bytes:
        """A file's content. Links are not followed, whoever made them.

        Raises:
            FileRefused: says why.
        """

    def snapshot(self) -> str:
        """Keep all files; returns the name for `restore`. Ends a persistent shell."""

    def restore(self, name: str) -> None:
        """Bring all files back as they were, and end all processes."""

    def forget(self, name: str) -> None:
        """Free what a snapshot holds."""

    def close(self) -> None:
        """End everything in the sandbox and free what it used. Closing twice is nothing."""


@dataclass(frozen=True)
class Session:
    """What both back-ends are made with.

    Attributes:
        limits: upper bounds.
        workdir: the working folder, an absolute path that is not within the image's system folders.
        seed: a folder of the image that is copied into the working folder at the start; '' for none.
        shell: one bash carries all string commands: variables, the current folder and background jobs stay. A command
            that exits it, or is cut short, ends it; the next step begins a fresh one.
        env: further environment variables for all commands.
    """

    limits: Limits = field(default_factory=Limits)
    workdir: str = "/work"
    seed: str = ""
    shell: bool = False
    env: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        path = PurePosixPath(self.workdir)
        if not path.is_absolute() or ".." in path.parts or len(path.parts) < 2 or str(path) != self.workdir:
            raise UsageError(f"workdir: expected an absolute path such as '/work', got {self.workdir!r}")
        if path.parts[1] in ("bin", "dev", "etc", "lib", "lib64", "proc", "run", "sbin", "sys", "tmp", "usr"):
            raise UsageError(f"workdir: {self.workdir!r} belongs to the system; choose a folder such as '/work'")

    @property
    def roots(self) -> list[str]:
        """Every folder that can be written."""
        return [self.workdir, "/tmp", "/dev/shm"]


_count = itertools.count(1)


class RunnerSandbox(ABC):
    """The part that all back-ends share: a conversation with the runner. Back-ends say how it is launched and ended."""

    backend: str

    def __init__(self, session: Session) -> None:
        self.session, self.limits = session, session.limits
        self.name = f"agentgym-{os.getpid()}-{next(_count)}-{os.urandom(3).hex()}"
        self.facts: dict[str, Any] = {}
        """What the runner said of itself: version of Python, uid, shell."""
        self._wire: Wire | None = None
        self._lost = ""
        self._names = itertools.count(1)
        self._requests = itertools.count(1)
        self._lock = threading.RLock()

    @abstractmethod
    def _launch(self) -> Wire:
        """Start the runner as PID 1 of a new sandbox; returns the channel to it."""

    @abstractmethod
    def _end(self) -> None:
        """End the sandbox, however far it got, and free what it used. Called once or more."""

    @abstractmethod
    def _why(self) -> str:
        """What is known of why the runner is gone: a few words, or ''."""

    def start(self) -> Self:
        with self._lock:
            if self._wire is not None or self._lost:
                raise UsageError("this sandbox was started before; make another one")
            try:
                self._wire = self._launch()
                self.facts = self._wire.receive(_ANSWER)[0]
            except WorldError as error:
                why = self._why()
                self._lose(f"it did not start: {error}")
                raise WorldError(f"the {self.backend} sandbox did not start: {error}{why and f'; {why}'}") from error
            except BaseException:
                self._lose("it did not start")
                raise
        return self

    def exec(
        self,
        command: str | Sequence[str],
        *,
        seconds: float | None = None,
        cwd: str = "",
        env: Mapping[str, str] | None = None,
        stdin: bytes = b"",
        merge: bool = False,
    ) -> Result:
        shell = self.session.shell and isinstance(command, str)
        words = command if isinstance(command, str) else list(command)
        if not words or any("\0" in word for word in ([words] if isinstance(words, str) else words)):
            return Result(127, Output(), Output(), trouble="a command is neither empty nor holds NUL characters")
        time = self.limits.seconds if seconds is None else seconds
        request = {
            "op": "run",
            "command": words,
            "timeout": time,
            "cwd": cwd,
            "env": dict(env or {}),
            "merge": merge and not shell,
            "shell": shell,
            "output": self.limits.output,
            "flood": self.limits.flood,
        }
        answer, payload = self._ask(request, stdin, wait=time + _GRACE)
        if answer["trouble"]:
            return Result(127, Output(), Output(), trouble=answer["trouble"], fresh_shell=answer["fresh_shell"])
        parts, offset = [], 0
        for length in answer["lengths"]:
            parts.append(payload[offset : offset + length])
            offset += length
        outputs = [Output(parts[2 * k], parts[2 * k + 1], total) for k, total in enumerate(answer["totals"])]
        return Result(
            code=answer["code"],
            out=outputs[0],
            err=outputs[1] if len(outputs) > 1 else Output(),
            cut=answer["why"] if answer["why"] in ("time", "output") else "",
            killed=answer["killed"],
            fresh_shell=answer["fresh_shell"],
            seconds=answer["seconds"],
        )

    def put(self, path: str, data: bytes, *, mode: int = 0o644) -> None:
        self.put_many({path: data}, mode=mode)

    def put_many(self, files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
        size = sum(map(len, files.values()))
        if size > self.limits.transfer:
            raise FileRefused("size", f"{size} bytes in one put; at most {self.limits.transfer} are taken")
        listed = [[path, mode & 0o777, len(data)] for path, data in files.items()]
        self._ask({"op": "put", "files": listed}, b"".join(files.values()))

    def get(self, path: str, *, limit: int | None = None) -> bytes:
        most = self.limits.transfer if limit is None else min(limit, self.limits.transfer)
        return self._ask({"op": "get", "path": path, "limit": most})[1]

    def snapshot(self) -> str:
        name = f"s{next(self._names)}"
        self._ask({"op": "snapshot", "name": name})
        return name

    def restore(self, name: str) -> None:
        self._ask({"op": "restore", "name": name})

    def forget(self, name: str) -> None:
        self._ask({"op": "forget", "name": name})

    def answers(self) -> bool:
        """Whether its runner is still there; changes nothing in the sandbox."""
        try:
            self.put_many({})
        except WorldError:
            return False
        return True

    def close(self) -> None:
        with self._lock:
            self._lose(self._lost or "it was closed")

    def __enter__(self) -> Self:
        return self if self._wire is not None else self.start()

    def __exit__(self, *_: object) -> None:
        self.close()

    def _hello(self, roots: Sequence[str] | None = None) -> tuple[dict[str, Any], bytes]:
        """The runner's configuration, and the filter."""
        session = self.session
        config = {
            "workdir": session.workdir,
            "roots": list(roots or session.roots),
            "seed": session.seed,
            "snapshots": session.limits.disk,
            "env": {**_ENV, **(session.env or {})},
            "rlimits": self._rlimits(),
        }
        return config, filter_program()

    def _rlimits(self) -> dict[str, int]:
        return self.limits.rlimits()

    def _ask(
        self, request: dict[str, Any], payload: bytes = b"", wait: float = _ANSWER
    ) -> tuple[dict[str, Any], bytes]:
        """One request and its answer.

        Raises:
            FileRefused: the runner refuses it.
            WorldError: the sandbox is lost; it is closed.
        """
        with self._lock:
            if self._wire is None:
                raise WorldError(f"the {self.backend} sandbox is gone: {self._lost or 'it was never started'}")
            number = next(self._requests)
            try:
                self._wire.send({**request, "id": number}, payload, wait)
                answer, body = self._wire.receive(wait)
                if "broken" in answer:
                    raise WorldError(f"its runner failed: {answer['broken']}")
                if answer.get("id") != number:
                    raise WorldError(f"its runner answered request {answer.get('id')!r} instead of {number}")
            except WorldError as error:
                why = self._why()
                self._lose(str(error))
                message = f"the {self.backend} sandbox is lost: {error}{why and f' ({why})'}"
                raise type(error)(message) from error
            except BaseException:
                # Interrupted between request and answer: the next answer would belong to this request.
                self._lose("a request was interrupted")
                raise
            if "refused" in answer:
                raise FileRefused(*answer["refused"])
            return answer, body

    def _lose(self, why: str) -> None:
        self._lost = why
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
        self._end()


def runner_source() -> bytes:
    """The runner, as it is sent."""
    return Path(__file__).with_name("runner.py").read_bytes()


# Reads the runner from the channel, and not one byte more; compiled, where the Python there takes this one's code.
BOOT = """import os,marshal,_frozen_importlib_external as f
def r(n):
 b=b''
 while len(b)<n:
  c=os.read(0,n-len(b))
  if not c:os._exit(0)
  b+=c
 return b
s,m,c=[r(int(r(8))) for _ in 'smc']
exec(marshal.loads(c) if m==f.MAGIC_NUMBER else compile(s,'<runner>','exec'))"""


def boot_data() -> bytes:
    """What `BOOT` reads: the runner, what marks code of this Python, the runner's code; each after eight digits."""
    return _boot_data(runner_source())


@functools.cache
def _boot_data(source: bytes) -> bytes:
    code = marshal.dumps(compile(source, "<runner>", "exec", dont_inherit=True))
    return b"".join(b"%08d" % len(part) + part for part in (source, MAGIC_NUMBER, code))
