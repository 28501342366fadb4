"""What a probe is, what it finds, and what stands on the host while probes run."""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from agentgym.containers.limits import MIB, Limits
from agentgym.containers.sandbox import Result, RunnerSandbox
from agentgym.containers.seccomp import numbers
from agentgym.errors import AgentGymError

__all__ = ["COUNT", "LIMITS", "PROBES", "Finding", "Host", "Probe", "Seen", "on_host", "probe", "python", "run_probes"]

LIMITS = Limits(
    memory=192 * MIB,
    pids=64,
    disk=64 * MIB,
    scratch=16 * MIB,
    file_size=32 * MIB,
    open_files=256,
    output=16 << 10,
    flood=16 * MIB,
    seconds=20,
    transfer=8 * MIB,
)
"""Small, so that probing a machine costs it little."""

Status = Literal["held", "BROKEN", "unproven", "cannot"]


@dataclass(frozen=True)
class Seen:
    """What one probe saw.

    Attributes:
        held: the attack did not succeed.
        control: the same means did work where they may; None where this machine does not let it be shown.
        words: what was seen.
    """

    held: bool
    control: bool | None
    words: str = ""


@dataclass(frozen=True)
class Finding:
    """One probe's answer for one back-end.

    Attributes:
        status: ``held``: blocked, and the control worked; ``BROKEN``: not blocked, or the sandbox did not survive;
            ``unproven``: blocked, but the control did not work here; ``cannot``: this back-end says that it cannot
            bound this on this machine.
    """

    backend: str
    id: str
    what: str
    status: Status
    words: str
    seconds: float


@dataclass(frozen=True)
class Probe:
    """One attack. `run` gets a fresh sandbox and what stands on the host."""

    id: str
    what: str
    run: Callable[[RunnerSandbox, Host], Seen]
    needs: str = ""
    """What the back-end must be able to bound: ``memory`` or ''."""


PROBES: dict[str, Probe] = {}


def probe(
    id: str, what: str, needs: str = ""
) -> Callable[[Callable[[RunnerSandbox, Host], Seen]], Callable[[RunnerSandbox, Host], Seen]]:
    """Register a function as a probe."""

    def register(run: Callable[[RunnerSandbox, Host], Seen]) -> Callable[[RunnerSandbox, Host], Seen]:
        if id in PROBES:
            raise ValueError(f"two probes are called {id!r}")
        PROBES[id] = Probe(id, what, run, needs)
        return run

    return register


class Host:
    """Bait on the host: a secret file, a file to overwrite, and servers that note who comes.

    Attributes:
        folder: a temporary folder, readable by everyone.
        secret: a file in it, and `token`, its content.
        port: of a TCP server on loopback.
        abstract: name of an abstract socket, without its leading NUL.
        visitors: what connected.
    """

    def __init__(self) -> None:
        # Not in /tmp, of which a sandbox has one of its own.
        place = "/var/tmp" if os.access("/var/tmp", os.W_OK) else None
        self.folder = Path(tempfile.mkdtemp(prefix="agentgym-bait-", dir=place))
        self.folder.chmod(0o755)
        self.token = os.urandom(16).hex()
        self.secret = self.folder / "secret"
        self.secret.write_text(self.token)
        self.victim = self.folder / "victim"
        self.victim.write_text("untouched")
        self.victim.chmod(0o666)
        self.abstract = f"agentgym-bait-{self.token[:12]}"
        self.visitors: list[str] = []
        tcp = socket.create_server(("127.0.0.1", 0))
        self.port: int = tcp.getsockname()[1]
        unix = socket.socket(socket.AF_UNIX)
        unix.bind(f"\0{self.abstract}")
        named = socket.socket(socket.AF_UNIX)
        self.socket = self.folder / "socket"
        named.bind(str(self.socket))
        self.socket.chmod(0o777)
        self._servers = [tcp, unix, named]
        self._threads = [
            threading.Thread(target=self._serve, args=pair, daemon=True)
            for pair in zip(self._servers, ("tcp", "abstract", "unix"), strict=True)
        ]
        for server in self._servers[1:]:
            server.listen()
        for thread in self._threads:
            thread.start()

    def _serve(self, server: socket.socket, name: str) -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return  # closed
            with connection, contextlib.suppress(OSError):
                self.visitors.append(name)
                connection.sendall(b"hello")

    def manifest(self) -> dict[str, str]:
        """Path -> hash of everything in the folder."""
        return {
            str(path): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else oct(path.stat().st_mode)
            for path in sorted(self.folder.rglob("*"))
        }

    def close(self) -> None:
        for server in self._servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        for thread in self._threads:
            thread.join(5)
        for path in self.folder.iterdir():
            path.unlink()
        self.folder.rmdir()

    def __enter__(self) -> Host:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


PRELUDE = f"""import ctypes, errno, os, signal, socket, struct, sys, time
libc = ctypes.CDLL(None, use_errno=True)
NR = {numbers(platform.machine())!r}
def call(name, *given):
    number = NR[name] if isinstance(name, str) else name
    words = [ctypes.c_long(x) if isinstance(x, int) else x for x in given]
    got = libc.syscall(ctypes.c_long(number), *words)
    return got if got >= 0 else -ctypes.get_errno()
def tell(name, got):
    print(name, errno.errorcode.get(-got, got) if isinstance(got, int) and got < 0 else got, flush=True)
def attempt(function, *given):
    try:
        function(*given)
    except OSError as error:
        return -error.errno
    return 0
"""


COUNT = "set -- /proc/[0-9]*; echo $#"
"""Counts processes: PID 1 and the shell that counts make two."""


def python(box: RunnerSandbox, code: str, seconds: float | None = None) -> Result:
    """Run Python in the sandbox, with a few helpers: `call` (a system call), `attempt`, `tell`."""
    return box.exec(["python3", "-I", "-c", PRELUDE + code], seconds=seconds)


def on_host(code: str) -> str:
    """The same code in a process of the host; what it printed. Only for what harms nobody."""
    words = [sys.executable, "-I", "-c", PRELUDE + code]
    return subprocess.run(words, capture_output=True, text=True, timeout=30).stdout


def run_probes(
    make: Callable[[], RunnerSandbox],
    ids: Iterable[str] = (),
    cannot: Iterable[str] = (),
    tick: Callable[[int, int], None] | None = None,
) -> Iterator[Finding]:
    """Run probes against one back-end, each in a sandbox of its own.

    Args:
        make: a new sandbox with `LIMITS`, not started.
        ids: which probes; all when empty.
        cannot: what the back-end says it cannot bound here (``memory``).
        tick: told of (done, total).
    """
    chosen = [PROBES[id] for id in ids] or list(PROBES.values())
    cannot = set(cannot)
    with Host() as host:
        for k, one in enumerate(chosen):
            yield _run(one, make(), host, one.needs in cannot)
            if tick is not None:
                tick(k + 1, len(chosen))


def _run(one: Probe, box: RunnerSandbox, host: Host, excused: bool) -> Finding:
    import time

    started = time.monotonic()
    status: Status
    before = host.manifest()
    try:
        with box:
            seen = one.run(box, host)
            after = box.exec(COUNT)
            alive = after.out.text == "2\n"
            words = seen.words if alive else f"{seen.words}; afterwards the sandbox says {after!r}"
        if not seen.held or not alive:
            status = "cannot" if excused and alive else "BROKEN"
        else:
            status = "held" if seen.control else "unproven"
    except (AgentGymError, ValueError, IndexError) as error:
        # The last two: the probe could not read what came back, so it proves nothing good.
        status, words = "BROKEN", f"{type(error).__name__}: {error}"
    if host.manifest() != before:
        status, words = "BROKEN", f"{words}; files on the host have changed"
    words = " ".join(words.split())[:300]
    return Finding(box.backend, one.id, one.what, status, words, round(time.monotonic() - started, 3))
