"""One Chromium for all web environments of a process: started on first use, replaced when it dies, closed when idle.

Everything here runs on the event-loop thread of the family ("web"); `close_browsers` may be called from anywhere.
"""

from __future__ import annotations

import asyncio
import atexit
import multiprocessing.util
import os
import shutil
import time
from collections.abc import Awaitable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from agentgym.envs.web.chromium import ARGUMENTS, AT_ONCE, ON_DEMAND, draws_on_demand
from agentgym.errors import MissingExtra, WorldError, WorldTimeout
from agentgym.world import wait

if TYPE_CHECKING:
    from playwright.async_api import Browser as Chromium
    from playwright.async_api import BrowserContext, CDPSession, Playwright

    from agentgym.envs.web.session import Tab

__all__ = ["LINGER", "LOOP", "Browser", "bounded", "browser", "close_browsers", "told"]

LOOP = "web"
"""Name of the family's event-loop thread."""
LINGER = 5.0
"""Seconds for which a browser without environments is kept, since the next one tends to come soon."""
START_CAP = 60.0
CONTEXT_CAP = 30.0
CLEAR_CAP = 10.0
FRAME_CAP = 10.0
"""Seconds for a page to come to a frame's end."""

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
        at_once: it draws whenever something changed (`AT_ONCE`).

    Attributes:
        on_demand: it draws when asked to, and never else (`ON_DEMAND`).
    """

    def __init__(self, path: str, at_once: bool = False) -> None:
        self.path, self.at_once = path, at_once
        self.on_demand = draws_on_demand(path) and not at_once
        self._playwright: Playwright | None = None
        self._chromium: Chromium | None = None
        self._channel: CDPSession | None = None
        self._ids: dict[BrowserContext, str] = {}
        self._folders: tuple[Path, ...] = ()
        self._lock, self._drawing = asyncio.Lock(), asyncio.Lock()
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
            known = await self._context_ids()
            context = await bounded(self._chromium.new_context(**options), CONTEXT_CAP, "a new browser context")
            self._ids[context] = (await self._context_ids() - known).pop()
            await bounded(context.add_init_script(SCRIPT), CONTEXT_CAP, "the page script")
            self._contexts += 1
            return context

    async def open_tab(self, context: BrowserContext, size: tuple[int, int]) -> None:
        """Open an empty page of the context, which tells of it by its event "page".

        Raises:
            WorldError: the browser is gone, or refused.
        """
        if not self.on_demand:
            await bounded(context.new_page(), CONTEXT_CAP, "a new tab")
            return
        where = {"url": "about:blank", "browserContextId": self._ids[context]}
        how = {"enableBeginFrameControl": True, "width": size[0], "height": size[1]}
        await self._send("Target.createTarget", where | how)

    async def draw(self, tab: Tab, params: Mapping[str, Any]) -> dict[str, Any]:
        """Have a frame of this tab drawn, where frames come `on_demand`: what Chromium answers when it is.

        One at a time, whosever tab it is: Chromium takes a second one for a fault and loses all pages. A tab that keeps
        the others waiting for `FRAME_CAP` dies.

        Raises:
            WorldError: the tab is dead.
        """
        # A frame whose asker has gone away is still under way.
        task = asyncio.ensure_future(self._draw(tab, params))
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        return await asyncio.shield(task)

    async def _draw(self, tab: Tab, params: Mapping[str, Any]) -> dict[str, Any]:
        async with self._drawing:
            sent = tab.cdp.send("HeadlessExperimental.beginFrame", dict(params))
            try:
                with told("a frame"):
                    answer: dict[str, Any] = await asyncio.wait_for(sent, FRAME_CAP)
                    return answer
            except TimeoutError:
                why = f"the page did not come to the end of a frame within {FRAME_CAP:g} s"
                tab.die(why)
                await _quietly(tab.page.close())
                raise WorldTimeout(f"{why}; the next reset opens a new one") from None

    async def release(self, context: BrowserContext) -> None:
        """Close a context; the last one leaves the browser to close after `LINGER` seconds. Never raises."""
        self._contexts -= 1
        self._ids.pop(context, None)
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
        arguments = [*ARGUMENTS, *[AT_ONCE] * self.at_once, *ON_DEMAND * self.on_demand]
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            arguments.append("--no-sandbox")
        self._playwright = await bounded(async_playwright().start(), START_CAP, "Playwright's driver")
        self._chromium = await bounded(
            self._playwright.chromium.launch(executable_path=self.path, args=arguments),
            START_CAP,
            f"starting {self.path}",
        )
        self._channel = await bounded(self._chromium.new_browser_cdp_session(), START_CAP, "a channel to the browser")
        self._folders = await _folders_of(self._channel)

    async def _send(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        assert self._channel is not None
        answer: dict[str, Any] = await bounded(self._channel.send(method, dict(params)), CONTEXT_CAP, method)
        return answer

    async def _context_ids(self) -> set[str]:
        return set((await self._send("Target.getBrowserContexts", {}))["browserContextIds"])

    async def _stop(self) -> None:
        chromium, playwright, self._chromium, self._playwright = self._chromium, self._playwright, None, None
        folders, self._folders = self._folders, ()
        self._closing = self._channel = None
        self._ids.clear()
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


async def _folders_of(channel: CDPSession) -> tuple[Path, ...]:
    """The browser's temporary folders: its profile, and that of its lock, which a killed Chromium leaves behind.

    Read from /proc; empty where there is none.
    """
    from playwright.async_api import Error

    flag = b"--user-data-dir="
    try:
        told = await asyncio.wait_for(channel.send("SystemInfo.getProcessInfo"), START_CAP)
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
    """The process's browser of this executable; on the loop thread.

    One for all environments where it draws on demand, else one for those that take ``pictures`` and one for the others.
    """
    at_once = pictures and not draws_on_demand(path)
    if not _browsers:
        # atexit does not run in multiprocessing's children, whose way out is this.
        multiprocessing.util.Finalize(None, close_browsers, exitpriority=100)
    if (path, at_once) not in _browsers:
        _browsers[path, at_once] = Browser(path, at_once)
    return _browsers[path, at_once]


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
