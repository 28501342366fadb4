"""Sessions of a server: which environments it has, how many run, and one process for each.

The server relays messages without reading them; only the session's own process does, so that nothing a client sends is
parsed beside another client's environment, and a session that hangs can be killed.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import multiprocessing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium

import agentgym
from agentgym.errors import UsageError, WorldError, WorldTimeout
from agentgym.serve import child
from agentgym.serve.limits import OPTIONS, Limits

__all__ = ["Busy", "Relay", "Served", "Sessions"]


class Busy(WorldError):
    """All sessions are taken."""


@dataclass(frozen=True)
class Served:
    """Which environments are served, and what clients may choose.

    Attributes:
        ids: environments (``id``, or ``module:id`` of your own); the first is what a client gets that names none.
        kwargs: given to ``gymnasium.make`` by the operator; clients cannot change these.
        options: names of the options that clients may choose.
    """

    ids: tuple[str, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: tuple[str, ...] = OPTIONS

    def __post_init__(self) -> None:
        if not self.ids:
            raise UsageError("a server needs at least one environment")
        for id in self.ids:
            module, _, name = id.rpartition(":")
            if module:
                importlib.import_module(module)
            agentgym.find(name)

    def choose(self, id: str, options: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
        """What a client's wish comes to: environment and keyword arguments.

        Raises:
            UsageError: an environment that is not served, or an option that clients may not choose.
        """
        id = id or self.ids[0]
        if id not in self.ids:
            raise UsageError(f"this server has {', '.join(self.ids)}; got {id[:200]!r}")
        for name, value in options.items():
            if name in self.kwargs or name not in self.options:
                free = sorted(set(self.options) - set(self.kwargs))
                raise UsageError(f"clients of this server may choose {free}, got {str(name)[:100]!r}")
            if value is not None and not isinstance(value, bool | int | float | str):
                raise UsageError(f"option {name!r} must be a number, a text or a truth value")
        return id, {**options, **self.kwargs}


class Sessions:
    """Starts sessions and counts them.

    Args:
        served: what there is. limits: bounds.
    """

    def __init__(self, served: Served, limits: Limits) -> None:
        self.served, self.limits = served, limits
        self._context = multiprocessing.get_context("forkserver")
        # what every session needs is imported once; sessions are forked from there in milliseconds
        self._context.set_forkserver_preload(["agentgym.serve.child", *_modules(served.ids)])
        self._open: set[Relay] = set()

    def __len__(self) -> int:
        return len(self._open)

    async def start(self, id: str, options: Mapping[str, Any]) -> Relay:
        """A new session.

        Raises:
            Busy: as many run as may. UsageError: see `Served.choose`.
        """
        id, kwargs = self.served.choose(id, options)
        if len(self._open) >= self.limits.sessions:
            raise Busy(f"all {self.limits.sessions} sessions of this server are taken; try again later")
        relay = Relay(self._context, id, kwargs, self.limits)
        self._open.add(relay)
        try:
            await relay.start()
        except BaseException:
            await self.stop(relay)
            raise
        return relay

    async def stop(self, relay: Relay) -> None:
        """End a session; its process is gone afterwards."""
        try:
            await relay.stop()
        finally:
            self._open.discard(relay)

    async def close(self) -> None:
        """End all."""
        await asyncio.gather(*(self.stop(relay) for relay in list(self._open)))


class Relay:
    """One session's process and the pipe to it; calls go one at a time, in order."""

    def __init__(self, context: Any, id: str, kwargs: Mapping[str, Any], limits: Limits) -> None:
        self.id, self.kwargs, self.limits = id, dict(kwargs), limits
        self._context = context
        self._lock = asyncio.Lock()
        self._first = True
        self._process: Any = None
        self._ours: Any = None

    @property
    def over(self) -> bool:
        """Its process is gone: nothing more is to be had from it."""
        return self._ours is None

    async def start(self) -> None:
        """Start the process (not yet the environment: the first call does, within ``start_seconds``)."""
        self._ours, theirs = self._context.Pipe()
        self._process = self._context.Process(
            target=child.main,
            args=(theirs, self.id, self.kwargs, self.limits.environments),
            name="agentgym-session",
            daemon=True,
        )
        await asyncio.to_thread(self._process.start)  # the first start waits for the fork server's imports
        theirs.close()

    async def call(self, message: bytes) -> bytes:
        """One call and its answer, both as they are on the wire.

        Raises:
            WorldTimeout: no answer in time; the session is over. WorldError: its process died, or answered too much.
        """
        async with self._lock:
            if self._ours is None:
                raise WorldError("this session is over; open another")
            seconds = self.limits.seconds + (self.limits.start_seconds if self._first else 0.0)
            self._first = False
            try:
                async with asyncio.timeout(seconds):
                    self._ours.send_bytes(message)
                    await self._readable()
                answer: bytes = self._ours.recv_bytes(self.limits.reply_bytes)
                return answer
            except TimeoutError:
                await self.stop()
                raise WorldTimeout(f"{self.id} did not answer within {seconds:g} s; its process was stopped") from None
            except (EOFError, OSError) as error:  # OSError: broken pipe, or an answer beyond the limit
                await self.stop()
                raise WorldError(f"the process of {self.id} is gone ({error or 'it ended'})") from error

    async def stop(self) -> None:
        """Let the process close its environment, or kill it if it does not."""
        process, ours, self._process, self._ours = self._process, self._ours, None, None
        if ours is not None:
            ours.close()
        if process is not None and process.pid is not None:
            await asyncio.to_thread(_end, process)

    async def _readable(self) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        descriptor = self._ours.fileno()
        loop.add_reader(descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(descriptor)


def _end(process: Any) -> None:
    process.join(2.0)
    if process.is_alive():
        process.kill()
        process.join()
    with contextlib.suppress(ValueError):
        process.close()


def _modules(ids: Sequence[str]) -> list[str]:
    """The modules behind the environments' entry points, and those that these import late and name as ``PRELOAD``."""
    found = []
    for id in ids:
        module, _, name = id.rpartition(":")
        found += [module] if module else []
        point = gymnasium.spec(name).entry_point
        if isinstance(point, str):
            behind = point.partition(":")[0]
            found += [behind, *getattr(importlib.import_module(behind), "PRELOAD", ())]
    return list(dict.fromkeys(found))
