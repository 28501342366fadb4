"""Nursery: one small process that starts workers by forking itself, with everything they need loaded already.

`multiprocessing` is not used, because each of its new processes first runs the caller's main module again: a script
without the ``__main__`` guard would start itself over and over, and a training script would load torch in every worker.

The loop sends ``F`` and the worker's end of a socket pair, and is told the worker's process id; or ``W`` and a process
id, and is told its exit status. Nobody is waited for unasked, so a process id stays taken until the loop is done with
it. The nursery ends when the loop's end of its socket is closed, however that comes about.
"""

from __future__ import annotations

import importlib
import json
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Callable, Sequence

__all__ = ["Nursery", "tend"]

NUMBER = struct.Struct("<q")
BOOT = (
    "import json, sys; at = json.loads(sys.argv[1]); sys.path[:] = at['path'];"
    " from agentgym.agents.loop.nursery import tend; tend(at['fd'], at['preload'], at['work'])"
)


class Nursery:
    """The loop's end.

    Args:
        work: ``module:function`` that a worker runs with its socket.
        preload: modules to import before the first worker is forked; those that are missing are left out.
    """

    def __init__(self, work: str, preload: Sequence[str] = ()) -> None:
        self._line, theirs = socket.socketpair()
        with theirs:
            at = {"path": sys.path, "fd": theirs.fileno(), "work": work, "preload": list(preload)}
            # a session of its own: Ctrl-C in the terminal reaches the loop alone
            self._process = subprocess.Popen(
                [sys.executable, "-c", BOOT, json.dumps(at)],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self) -> tuple[int, socket.socket]:
        """A new worker: its process id, which is also that of its process group, and the loop's end of its socket."""
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._line, [b"F" + NUMBER.pack(0)], [theirs.fileno()])
            return self._answer(), ours

    def reap(self, pid: int) -> int:
        """Wait for the end of a worker; its exit code, or minus the signal that killed it."""
        self._line.sendall(b"W" + NUMBER.pack(pid))
        return os.waitstatus_to_exitcode(self._answer())

    def close(self) -> None:
        """End the nursery. Workers live on until their own sockets are closed."""
        self._line.close()
        self._process.wait()

    def _answer(self) -> int:
        data = self._line.recv(NUMBER.size, socket.MSG_WAITALL)
        if len(data) < NUMBER.size:
            raise ChildProcessError(f"the process that starts workers ended (exit code {self._process.wait()})")
        number: int = NUMBER.unpack(data)[0]
        return number


def tend(fd: int, preload: Sequence[str], work: str) -> None:
    """The nursery's own life."""
    module, _, name = work.partition(":")
    run: Callable[[socket.socket], None] = getattr(importlib.import_module(module), name)
    for wanted in preload:
        try:
            importlib.import_module(wanted)
        except ImportError:  # the worker that needs it will say so
            continue
    line = socket.socket(fileno=fd)
    while True:
        data, fds, _, _ = socket.recv_fds(line, 1 + NUMBER.size, 1)
        if not data:
            return
        number: int = NUMBER.unpack(data[1:])[0]
        if data[:1] == b"W":
            line.sendall(NUMBER.pack(os.waitpid(number, 0)[1]))
            continue
        pid = os.fork()
        if pid == 0:
            line.close()
            _live(run, fds[0])
        os.close(fds[0])
        line.sendall(NUMBER.pack(pid))


def _live(run: Callable[[socket.socket], None], fd: int) -> None:
    """A worker, from its first breath to its last; never returns."""
    code = 1
    try:
        os.setpgid(0, 0)
        with socket.socket(fileno=fd) as line:
            run(line)
        code = 0
    except BaseException:  # noqa: BLE001  (the last frame before the end: whatever came this far is shown)
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
