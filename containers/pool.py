"""Sandboxes made before they are needed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, Self, TypeVar

from agentgym.containers.sandbox import RunnerSandbox
from agentgym.errors import UsageError

__all__ = ["Pool"]

BoxT = TypeVar("BoxT", bound=RunnerSandbox)


class Pool(Generic[BoxT]):
    """Keeps some fresh sandboxes warm: started, prepared, and never used by anyone before.

    Args:
        make: gives a new sandbox, not started.
        size: how many to keep.
        prepare: called with each one after its start, for example to put a repository into it.

    Example:
        >>> with Pool(new_sandbox, size=2) as pool, pool.take() as box:
        ...     box.exec("true").code
        0
    """

    def __init__(self, make: Callable[[], BoxT], size: int, prepare: Callable[[BoxT], object] | None = None) -> None:
        if size < 1:
            raise UsageError(f"a pool keeps at least one sandbox, got size {size}")
        self._make, self._prepare = make, prepare
        self._ready: queue.Queue[BoxT | BaseException] = queue.Queue()
        self._wanted = threading.Semaphore(size)
        self._closing = threading.Event()
        self._filler = threading.Thread(target=self._fill, name="agentgym-pool", daemon=True)
        self._filler.start()

    def take(self) -> BoxT:
        """A fresh sandbox, which is the caller's from now on; another one is made in its place.

        What was lost while it waited, or could not be made before (an engine that was down, say), is made now.

        Raises:
            AgentGymError: what making one raised.
            UsageError: the pool is closed.
        """
        if self._closing.is_set():
            raise UsageError("this pool is closed")
        got = self._ready.get()
        self._wanted.release()
        if isinstance(got, BaseException):
            return self._one()
        if not got.answers():
            got.close()
            return self._one()
        return got

    def close(self) -> None:
        """End the sandboxes that nobody took. Those taken belong to their takers."""
        self._closing.set()
        self._wanted.release()
        self._filler.join()
        while not self._ready.empty():
            got = self._ready.get()
            if isinstance(got, RunnerSandbox):
                got.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _fill(self) -> None:
        while True:
            self._wanted.acquire()
            if self._closing.is_set():
                return
            try:
                self._ready.put(self._one())
            except Exception as error:  # noqa: BLE001  (see take)
                self._ready.put(error)

    def _one(self) -> BoxT:
        box = self._make()
        try:
            box.start()
            if self._prepare is not None:
                self._prepare(box)
        except BaseException:
            box.close()
            raise
        return box
