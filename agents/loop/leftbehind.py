"""Threads whose work is given up: nothing can kill a thread, so it is asked to end, counted, and at a limit refused."""

from __future__ import annotations

import ctypes
import logging
import threading
import time

from agentgym.errors import WorldError

__all__ = ["GivenUp", "LeftBehind", "await_interrupt", "interrupt"]

log = logging.getLogger("agentgym.loop")

LIMIT = 16
"""So many threads may hang at one time; one more ends the run."""
ARRIVAL_SECONDS = 1.0
"""After which an interrupt that has not come will not come: it takes microseconds."""


class GivenUp(BaseException):
    """Raised inside a thread that nobody waits for any more."""


def interrupt(thread: threading.Thread) -> None:
    """Have `GivenUp` raised in a running thread as soon as it executes Python code again.

    That ends loops in Python at once; a call that sleeps or waits first has to return. The thread must be ready to
    catch it until it has come (`await_interrupt`).
    """
    assert thread.ident is not None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(GivenUp))


def await_interrupt() -> None:
    """In the thread: let the interrupt come that another one has sent, so that it hits nothing of what follows.

    Raises:
        GivenUp: unless the environment has swallowed it before.
    """
    until = time.monotonic() + ARRIVAL_SECONDS
    while time.monotonic() < until:
        time.sleep(0.001)


class LeftBehind:
    """The threads that were given up and have not ended yet."""

    def __init__(self) -> None:
        self._threads: list[threading.Thread] = []

    def __len__(self) -> int:
        """How many still hang."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return len(self._threads)

    def add(self, thread: threading.Thread, what: str) -> None:
        """Take note of a thread that was given up while it did ``what``."""
        self._threads.append(thread)
        log.warning("%s is given up; threads left behind so and still at work: %d", what, len(self))

    def check(self) -> None:
        """Refuse to go on with too many.

        Raises:
            WorldError: more than `LIMIT` hang.
        """
        if len(self._threads) > LIMIT and (hanging := len(self)) > LIMIT:
            raise WorldError(
                f"{hanging} environments hang in threads of this process, at most {LIMIT} may: threads cannot be "
                "killed, so run these environments in processes (workers=N with isolation='process'), or give their "
                "steps more time (step_timeout, reset_timeout)"
            )
