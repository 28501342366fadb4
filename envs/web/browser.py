"""One Chromium for all web environments of a process, and another for those that take pictures: started on first use,
replaced when it dies, closed when idle.

Everything here runs on the event-loop thread of the family ("web"); `close_browsers` may be called from anywhere.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing.util
import os
import shutil
import time
from collections.abc import Awaitable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentgym.envs.web.chromium import ARGUMENTS, AT_ONCE
from agentgym.errors import MissingExtra, WorldError, WorldTimeout
from agentgym.world import wait

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, Playwright

__all__ = ["LINGER", "LOOP", "Browser", "bounded", "browser", "close_browsers", "told"]

LOOP = "web"
"""Name of the family's event-loop thread."""
LINGER = 5.0
"""Seconds for which a browser without environments is kept, since the next one tends to come soon."""
START_CAP = 60.0
CONTEXT_CAP = 30.0
CLEAR_CAP = 10.0

SCRIPT = "\n".join((Path(__file__).parent / name).read_text(encoding="utf-8") for name in ("clock.js", "walker.js"))
"""What runs in every page before the page's own scripts."""

T = TypeVar("T")


async def bounded(value: Awaitable[T], seconds: float, what: str) -> T:
    """The awaited value.

    Raises:
        WorldTimeout: it did not come in time.
        WorldError: Playwright lost the browser or refused.
    """
    try:
        with told(what):
            return await asyncio.wait_for(value, seconds)
    except TimeoutError:
        raise WorldTimeout(
            f"{what} did not come within {seconds:g} s; the browser hangs or the machine is overloaded"
        ) from None


@contextmanager
def told(what: str) -> Iterator[None]:
    """Playwright's errors in here as WorldError."""
    from playwright.async_api import Error

    try:
        yield
    except Error as error:
        raise WorldError(f"{what} failed: {str(error).splitlines()[0][:300]}") from error


class Browser:
    """One running Chromium, shared by environments; each has a context (cookies, storage, pages) of its own.

    Args:
        path: Chromium's executable.
        pictures: it draws at once (`AT_ONCE`).
    """

    def __init__(self, path: str, pictures: bool = False) -> None:
        self.path, self.pictures = path, pictures
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        self._folders: tuple[Path, ...] = ()
        self._lock = asyncio.Lock()
        self._contexts = 0
        self._closing: asyncio.TimerHandle | None = None

    async def context(self, **options: Any) -> BrowserContext:
        """A fresh context with the scripts of `SCRIPT`; starts or replaces the browser when need be.

        Raises:
            WorldError: the browser does not start.
        """
        async with self._lock:
            if self._closing is not None:
                self._closing.cancel()
                self._closing = None
            if self._chromium is None or not self._chromium.is_connected():
                await self._start()
            assert self._chromium is not None
            context = await bounded(self._chromium.new_context(**options), CONTEXT_CAP, "a new browser context")
            await bounded(context.add_init_script(SCRIPT), CONTEXT_CAP, "the page script")
            self._contexts += 1
            return context

    async def release(self, context: BrowserContext) -> None:
        """Close a context; the last one leaves the browser to close after `LINGER` seconds. Never raises."""
        self._contexts -= 1
        await _quietly(context.unroute_all(behavior="ignoreErrors"))
        await _quietly(context.close())
        if self._contexts <= 0 and self._closing is None:
            loop = asyncio.get_running_loop()
            self._closing = loop.call_later(LINGER, lambda: loop.create_task(self._close_idle()))

    async def close(self) -> None:
        """End the browser and its driver now. Never raises."""
        async with self._lock:
            await self._stop()

    async def _close_idle(self) -> None:
        async with self._lock:
            if self._contexts <= 0:
                await self._stop()

    async def _start(self) -> None:
        try:
            from playwright.async_api import async_playwright
        except ModuleNotFoundError as error:
            raise MissingExtra("playwright", "web") from error
        await self._stop()
        arguments = [*ARGUMENTS, *[AT_ONCE] * self.pictures]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")
        self._playwright = await bounded(async_playwright().start(), START_CAP, "Playwright's driver")
        self._chromium = await bounded(
            self._playwright.chromium.launch(executable_path=self.path, args=arguments),
            START_CAP,
            f"starting {self.path}",
        )

        self._folders = await _folders_of(self._chromium)

    async def _stop(self) -> None:
        chromium, playwright, self._chromium, self._playwright = self._chromium, self._playwright, None, None
        folders, self._folders = self._folders, ()
        self._closing = None
        if chromium is not None:
            await _quietly(chromium.close())
        # After a death the driver still clears up; stopped in the middle of it, it would leave folders behind.
        end = time.monotonic() + CLEAR_CAP
        while folders and folders[0].exists() and time.monotonic() < end:
            await asyncio.sleep(0.02)
        if playwright is not None:
            await _quietly(playwright.stop())
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)


async def _folders_of(chromium: Chromium) -> tuple[Path, ...]:
    """The browser's temporary folders: its profile, and that of its lock, which a killed Chromium leaves behind.

    Read from /proc; empty where there is none.
    """
    from playwright.async_api import Error

    flag = b"--user-data-dir="
    try:
        channel = await chromium.new_browser_cdp_session()
        told = await asyncio.wait_for(channel.send("SystemInfo.getProcessInfo"), START_CAP)
        await channel.detach()
        pid = next(int(process["id"]) for process in told["processInfo"] if process["type"] == "browser")
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        profile = next(Path(os.fsdecode(word.removeprefix(flag))) for word in words if word.startswith(flag))
    except (TimeoutError, Error, OSError, StopIteration):
        return ()
    try:
        lock = Path(os.readlink(profile / "SingletonSocket")).parent
    except OSError:  # the headless shell has none
        return (profile,)
    return (profile, lock) if lock.name.startswith("org.chromium.") else (profile,)


async def _quietly(value: Awaitable[Any]) -> None:
    """Wait for a clean-up that may find its object gone already."""
    from playwright.async_api import Error

    try:
        await asyncio.wait_for(value, CONTEXT_CAP)
    except (TimeoutError, Error, ConnectionError, OSError):
        return


_browsers: dict[tuple[str, bool], Browser] = {}


def browser(path: str, pictures: bool = False) -> Browser:
    """The process's browser of this executable, for those that take pictures or for the others; on the loop thread."""
    if not _browsers:
        # atexit does not run in multiprocessing's children, whose way out is this.
        multiprocessing.util.Finalize(None, close_browsers, exitpriority=100)
    if (path, pictures) not in _browsers:
        _browsers[path, pictures] = Browser(path, pictures)
    return _browsers[path, pictures]


def close_browsers() -> None:
    """End every browser of this process now, whoever uses it; a later reset starts a new one."""
    if _browsers:
        wait(_close_all(), LOOP)


async def _close_all() -> None:
    while _browsers:
        await _browsers.popitem()[1].close()


def _forget() -> None:
    """In a forked child the browser is the parent's."""
    _browsers.clear()


os.register_at_fork(after_in_child=_forget)
atexit.register(close_browsers)
