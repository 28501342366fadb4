"""One environment's share of the browser: a context, its tabs, what goes in and out, and what happened meanwhile."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import inspect
import json
import time
from collections.abc import Awaitable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urljoin

from agentgym.envs.web.browser import Browser, bounded, told
from agentgym.envs.web.site import Answer, Request, Site, origin_of
from agentgym.errors import WorldError, WorldTimeout

if TYPE_CHECKING:
    from playwright.async_api import BrowserContext, CDPSession, Dialog, Download, Page, Route, WebSocketRoute
    from playwright.async_api import Request as Asked

__all__ = ["ACTION_CAP", "MAX_DIALOGS", "SETTLE_CAP", "Session", "Tab"]

ACTION_CAP = 60.0
"""Seconds after which a page that answers nothing is given up (WorldTimeout)."""
SETTLE_CAP = 10_000
"""Milliseconds for which an action's consequences are awaited; what is still moving then is reported."""
NAVIGATION_CAP = 60.0
LOAD_CAP = 30_000
"""Milliseconds for which a document is awaited that has begun; it is looked at as it is then."""
MAX_DIALOGS = 5
"""Dialogs answered within one action; after that the script that opens them is stopped."""
MAX_TABS = 8
_HOPS = 8
"""Documents that one action may lead through (redirects by script)."""

T = TypeVar("T")


class Tab:
    """One page and the channel to it.

    Attributes:
        on_demand: frames are drawn when `frame` asks for one, and at no other time.
        points: element number -> where a press reaches it, as found by the last look; empty once anything has been
            done since. The page's time stands still between a look and an action, so nothing has moved.
    """

    def __init__(self, page: Page, cdp: CDPSession, browser: Browser) -> None:
        self.page = page
        self.cdp = cdp
        self.on_demand = browser.on_demand
        self._browser = browser
        self.documents = 0
        self.refusals = 0
        self._moved, self._begun = asyncio.Event(), asyncio.Event()
        self.dead: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.points: dict[int, tuple[float, float]] = {}
        self._defined: set[str] = set()
        cdp.on("Page.frameNavigated", self._commit)
        page.on("domcontentloaded", lambda _: self._arrive())
        page.on("crash", lambda _: self.die("the page crashed"))
        page.on("close", lambda _: self.die("the page is closed"))

    def _commit(self, event: Mapping[str, Any]) -> None:
        # On the channel that scripts go out on: it comes before any answer of the new document.
        if "parentId" not in event["frame"]:
            self._defined, self.points = set(), {}
            self._begun.set()

    def _arrive(self) -> None:
        self.documents += 1
        self.refusals = 0
        self._moved.set()

    def refuse(self) -> None:
        """The navigation under way brings no new document."""
        self.refusals += 1
        self._moved.set()

    async def moved(self, documents: int) -> bool:
        """Wait for the end of a navigation that began in document number ``documents``: whether a new one came."""
        while self.documents == documents and not self.refusals:
            self._moved.clear()
            await self.alive(self._moved.wait(), NAVIGATION_CAP, "the new page")
        self.refusals = 0
        return self.documents != documents

    def die(self, why: str) -> None:
        """The page will answer no more."""
        if not self.dead.done():
            self.dead.set_result(why)

    async def alive(self, value: Awaitable[T], seconds: float = ACTION_CAP, what: str = "the page's answer") -> T:
        """The awaited value, unless the page dies first.

        Raises:
            WorldError: the page or the browser died, or (WorldTimeout) did not answer in time.
        """
        task = asyncio.ensure_future(value)
        both: set[asyncio.Future[Any]] = {task, self.dead}
        done, _ = await asyncio.wait(both, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            with told(what):
                return task.result()
        task.cancel()
        task.add_done_callback(lambda t: t.cancelled() or t.exception())
        await asyncio.wait({task}, timeout=1.0)
        if self.dead in done:
            raise WorldError(f"{self.dead.result()} while {what} was awaited; the next reset opens a new one")
        raise WorldTimeout(f"{what} did not come within {seconds:g} s; the next reset opens a new page")

    async def send(self, method: str, params: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """A command of Chromium's DevTools protocol."""
        answer: dict[str, Any] = await self.alive(self.cdp.send(method, dict(params or {})), what=method)
        return answer

    async def send_all(self, method: str, many: Sequence[Mapping[str, Any]]) -> None:
        """The same command several times, sent at once and carried out in order."""
        await self.alive(asyncio.gather(*(self.cdp.send(method, dict(params)) for params in many)), what=method)

    async def frame(self, **params: Any) -> dict[str, Any]:
        """Have a frame drawn, where that is `on_demand`; comes back when it is, with a picture of it if asked."""
        return await self.alive(self._browser.draw(self, params), what="a frame")

    async def drawn(self, value: Awaitable[T]) -> T:
        """The awaited value, of which the browser holds something back until the next frame (a move of the mouse)."""
        task = asyncio.ensure_future(self.alive(value))
        try:
            while self.on_demand and not task.done():
                await self.frame()
        except BaseException:
            task.cancel()
            task.add_done_callback(lambda t: t.cancelled() or t.exception())
            raise
        return await task

    async def see(self, wanted: Mapping[str, Any], scripts: Sequence[_Script]) -> Any:
        """What the walker's `see` answers; scripts go along where this document has not had them yet."""
        known = [script for script in scripts if script.name]
        new = [script for script in known if script.name not in self._defined]
        while True:
            defined = self._defined
            define = "".join(f" __agentgym.define({json.dumps(s.name)}, {s.source});" for s in new)
            seen = await self.run(
                "(async () => { if (!window.__agentgym || !__agentgym.see) return JSON.stringify({bare: true});"
                f"{define} return __agentgym.see({json.dumps(wanted)}); }})()"
            )
            end = time.monotonic() + ACTION_CAP
            while seen and "frame" in seen:
                if time.monotonic() > end:
                    raise WorldTimeout(f"the page was still asking for frames after {ACTION_CAP:g} s")
                await self.frame()
                seen = await self.run("window.__agentgym && __agentgym.more ? __agentgym.more() : 'null'")
            defined.update(s.name for s in new)  # of the document that was there when they went out
            if not seen or "missing" not in seen or new == known:
                return seen
            new, wanted = known, {**wanted, "mouse": None}  # another document has come that nobody told of yet

    async def goto(self, url: str) -> None:
        """Lead the tab to an address, until the new document has begun; see `Session.goto`."""
        self._begun.clear()
        if await self.page.goto(url, wait_until="commit", timeout=NAVIGATION_CAP * 1000) is not None:
            await self._begun.wait()  # told on a channel of its own

    async def run(self, expression: str) -> Any:
        """The value of a (promised) JavaScript expression that gives a JSON text; None if the document went away.

        Raises:
            WorldError: the expression threw, or the page died.
        """
        self.points = {}
        command = {"expression": expression, "awaitPromise": True, "returnByValue": True}
        try:
            answer = await self.send("Runtime.evaluate", command)
        except WorldTimeout:
            raise
        except WorldError as error:
            if any(sign in str(error) for sign in _GONE):
                return None
            raise
        if "exceptionDetails" in answer:
            details = answer["exceptionDetails"]
            text = details.get("exception", {}).get("description") or details.get("text", "")
            raise WorldError(f"the page's walker failed: {str(text)[:300]}")
        value = answer["result"].get("value")
        return json.loads(value) if isinstance(value, str) else None


class _Script:
    """A JavaScript function, and the name that it has in every page; both empty for none."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.name = _name_of(source) if source else ""


@functools.lru_cache(maxsize=256)
def _name_of(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


_GONE = (
    "Execution context was destroyed",
    "Cannot find context",
    "Inspected target navigated",
    "Promise was collected",
    "uniqueContextId not found",
)


class Session:
    """A browser context with its tabs.

    Attributes:
        tabs: open pages, oldest first. active: the one that the agent looks at.
        blocked: addresses that were asked for since `clear_notes` and refused.
        notes: what else happened since (dialogs, downloads, closed or refused tabs), in order.
        messages: what the agent said in this episode, as (kind, text).
        home: the episode's first page. loaded: the page that is ready for another episode; '' for none.
        pointer: where the mouse was last sent by coordinates. held, keys: buttons and keys that are down.
        ready: what must be over before a page is answered, None for nothing; until then only `home` may be asked for.
    """

    def __init__(self, browser: Browser, sites: Mapping[str, Site], viewport: tuple[int, int]) -> None:
        self._browser = browser
        self._sites = sites
        self.viewport = viewport
        self._context: BrowserContext | None = None
        self._adopting: list[asyncio.Task[None]] = []
        self._opening = 0
        self._opened = asyncio.Event()
        self._dialogs = 0
        self.home = self.loaded = ""
        self.tabs: list[Tab] = []
        self.active: Tab
        self.blocked: list[str] = []
        self.notes: list[str] = []
        self.messages: list[tuple[str, str]] = []
        self.ready: asyncio.Future[Any] | None = None
        self.pointer: tuple[float, float] | None = None
        self.held: set[str] = set()
        self.keys: set[str] = set()

    # ------------------------------------------------------------------ opening and closing

    async def open(self) -> None:
        """Make the context and its first tab."""
        width, height = self.viewport
        self._context = await self._browser.context(
            viewport={"width": width, "height": height},
            locale="en-US",
            timezone_id="UTC",
            service_workers="block",
            color_scheme="light",
            reduced_motion="reduce",
            accept_downloads=True,
        )
        await bounded(self._context.route("**/*", self._route), ACTION_CAP, "routing")
        await bounded(self._context.route_web_socket("**/*", self._socket), ACTION_CAP, "routing")
        self._context.on("page", self._popup)
        await self.new_tab()

    async def close(self) -> None:
        """Close the context and all its tabs. Never raises."""
        for task in self._adopting:
            task.cancel()
        context, self._context, self.tabs = self._context, None, []
        if context is not None:
            await self._browser.release(context)

    @property
    def healthy(self) -> bool:
        """Whether every tab still answers."""
        return self._context is not None and bool(self.tabs) and not any(tab.dead.done() for tab in self.tabs)

    def closed(self, tab: Tab) -> bool:
        """The tab closed itself, and another one is left."""
        return tab.page.is_closed() and tab.dead.done() and not all(each.dead.done() for each in self.tabs)

    @property
    def full(self) -> bool:
        """No more tabs may be opened."""
        return len(self.tabs) >= MAX_TABS

    async def new_tab(self) -> None:
        """Open an empty tab and look at it."""
        assert self._context is not None
        self._opens(None)
        await self._browser.open_tab(self._context, self.viewport)
        await self.adopted()  # the context tells of it as of any popup

    async def focus(self, tab: Tab) -> None:
        """Look at another tab."""
        self.active = tab
        await tab.alive(tab.page.bring_to_front(), what="the other tab")

    async def close_tab(self, tab: Tab) -> None:
        """Close a tab; the one before it is looked at."""
        place = self.tabs.index(tab)
        self.tabs.remove(tab)
        await bounded(tab.page.close(), ACTION_CAP, "closing a tab")
        if tab is self.active:
            await self.focus(self.tabs[max(0, place - 1)])

    async def only_first_tab(self) -> None:
        """Close all tabs but the first."""
        for tab in self.tabs[1:]:
            await self.close_tab(tab)

    async def adopted(self) -> None:
        """Wait until popups of this action have become tabs; forget those that closed themselves."""
        while self._opening > 0 or self._adopting:
            if not self._adopting:
                self._opened.clear()
                await bounded(self._opened.wait(), NAVIGATION_CAP, "a new tab")
            tasks, self._adopting = self._adopting, []
            await asyncio.gather(*tasks)
        gone = [tab for tab in self.tabs if tab.dead.done() and tab.page.is_closed()]
        if gone and len(gone) < len(self.tabs):
            self.tabs = [tab for tab in self.tabs if tab not in gone]
            if self.active in gone:
                await self.focus(self.tabs[-1])

    def _opens(self, _: Any) -> None:
        self._opening += 1

    def _popup(self, page: Page) -> None:
        self._opening = max(0, self._opening - 1)
        self._opened.set()
        self._adopting.append(asyncio.get_running_loop().create_task(self._adopt(page)))

    async def _adopt(self, page: Page) -> None:
        assert self._context is not None
        if self.full:
            self.notes.append(f"a new tab was closed again: {MAX_TABS} are open")
            await bounded(page.close(), ACTION_CAP, "closing a tab")
            return
        cdp = await bounded(self._context.new_cdp_session(page), ACTION_CAP, "a channel to the page")
        tab = Tab(page, cdp, self._browser)
        cdp.on("Page.windowOpen", self._opens)
        await tab.send("Page.enable")
        page.on("dialog", lambda dialog: self._dialog(tab, dialog))
        page.on("download", self._download)
        self.tabs.append(tab)
        self.active = tab

    # ------------------------------------------------------------------ what happens meanwhile

    def clear_notes(self) -> None:
        """Forget what happened up to now."""
        self.blocked, self.notes, self._dialogs = [], [], 0

    async def _dialog(self, tab: Tab, dialog: Dialog) -> None:
        self._dialogs += 1
        if self._dialogs <= MAX_DIALOGS:
            self.notes.append(f"{dialog.type} dialog, answered with OK: {dialog.message[:500]}")
        elif self._dialogs == MAX_DIALOGS + 1:
            self.notes.append(f"more than {MAX_DIALOGS} dialogs: the script that opens them was stopped")
        closing = [dialog.accept(dialog.default_value if dialog.type == "prompt" else None)]
        if self._dialogs > MAX_DIALOGS:
            closing.append(self._stop_script(tab))
        await asyncio.gather(*closing, return_exceptions=True)

    async def _stop_script(self, tab: Tab) -> None:
        await tab.cdp.send("Runtime.terminateExecution")

    def _stays(self, page: Page | None) -> None:
        """No new document will come to this page from the navigation under way."""
        for tab in self.tabs:
            if page is not None and tab.page == page:
                tab.refuse()

    def _download(self, download: Download) -> None:
        self._stays(download.page)
        self.notes.append(f"a file was offered for download and not kept: {download.suggested_filename[:100]}")
        task = asyncio.get_running_loop().create_task(download.cancel())
        task.add_done_callback(lambda t: t.cancelled() or t.exception())

    async def _socket(self, socket: WebSocketRoute) -> None:
        self.blocked.append(socket.url)
        await socket.close(code=1008, reason="blocked")

    def allows(self, url: str, navigation: bool) -> bool:
        """Whether a page may fetch (or show) this address."""
        site = self._sites.get(origin_of(url))
        return site is not None and site.allows(url, navigation, self.home)

    async def _route(self, route: Route) -> None:
        from playwright.async_api import Error

        asked = route.request
        try:
            page = _shows_in(asked)
            navigation = page is not None or (asked.is_navigation_request() and _is_new(asked))
            if not self.allows(asked.url, navigation):
                self.blocked.append(asked.url)
                if navigation:
                    await route.fulfill(status=204)  # the page stays where it is
                    self._stays(page)
                else:
                    await route.abort("blockedbyclient")
                return
            if self.ready is not None and not self.ready.done():
                if page is None or asked.url.partition("#")[0] != self.home.partition("#")[0]:
                    await route.abort("aborted")  # the episode before asks for more
                    return
                await asyncio.wait({self.ready})
            site = self._sites[origin_of(asked.url)]
            answer = site.known(asked.method, asked.url)
            if answer is None:
                headers = await asked.all_headers() if site.wants_headers else {}
                request = Request(asked.method, asked.url, headers, asked.post_data_buffer or b"")
                answer = await self._answer(request, navigation=asked.is_navigation_request())
            if answer is None:
                await route.abort("blockedbyclient")
            else:
                await route.fulfill(status=answer.status, headers=dict(answer.headers), body=answer.body)
        except Error:
            return  # the page that asked is gone

    async def _answer(self, request: Request, *, navigation: bool) -> Answer | None:
        """What the site says, redirects followed; None when one leads to a place that may not be reached.

        The browser would follow a redirect without asking here again, so it is never told of one: documents move on
        by script, everything else gets what stands at the end.
        """
        for _ in range(_HOPS):
            answer: Answer = await _awaited(self._sites[origin_of(request.url)].answer(request))
            location = answer.headers.get("location")
            if answer.status not in _REDIRECTS or location is None:
                return answer
            url = urljoin(request.url, location)
            if navigation:
                return Answer(200, {**_kept(answer), "content-type": "text/html; charset=utf-8"}, _moved(url))
            if not self.allows(url, navigation=False):
                self.blocked.append(url)
                return None
            again = answer.status in (307, 308)
            method, body = (request.method, request.body) if again else ("GET", b"")
            request = Request(method, url, request.headers, body)
        return Answer(508, {"content-type": "text/plain"}, b"too many redirects")

    # ------------------------------------------------------------------ going and looking

    async def forget_cookies(self) -> None:
        """Clear cookies."""
        assert self._context is not None
        await bounded(self._context.clear_cookies(), ACTION_CAP, "clearing cookies")

    async def forget_storage(self) -> None:
        """Clear all else that pages have stored."""
        storage = [{"origin": origin, "storageTypes": "all"} for origin in self._sites]
        await self.active.send_all("Storage.clearDataForOrigin", storage)

    async def forget_history(self) -> None:
        """Nothing lies behind the active page or ahead of it."""
        await self.active.send("Page.resetNavigationHistory")

    async def release(self) -> None:
        """Let go of the keys and buttons that are down."""
        for key in sorted(self.keys):
            await self.active.alive(self.active.page.keyboard.up(key))
        x, y = self.away
        for button in sorted(self.held):
            await self.active.send(
                "Input.dispatchMouseEvent", {"type": "mouseReleased", "x": x, "y": y, "button": button}
            )
        self.keys, self.held, self.pointer = set(), set(), None

    async def mouse_away(self) -> None:
        """Take the mouse where it touches nothing."""
        x, y = self.away
        # A move alone waits for the next frame; an event behind it takes it along.
        events = [{"type": "mouseMoved", "x": x, "y": y}, {"type": "mouseReleased", "button": "none", "x": x, "y": y}]
        await self.active.send_all("Input.dispatchMouseEvent", events)

    @property
    def away(self) -> tuple[int, int]:
        """The corner of the view where the mouse waits between episodes."""
        return self.viewport[0] - 1, self.viewport[1] - 1

    async def goto(self, url: str) -> None:
        """Lead the active tab to an address; comes back when its document begins, for `look` to wait for the rest.

        A refused address leaves the page as it is.
        """
        from playwright.async_api import Error

        async def load() -> None:
            try:
                await self.active.goto(url)
            except Error as error:
                if not any(sign in str(error) for sign in ("ERR_ABORTED", "interrupted by another navigation")):
                    raise

        await self.active.alive(load(), NAVIGATION_CAP + 1, f"the page {url[:200]}")

    async def look(
        self,
        milliseconds: float,
        probe: str,
        first: str = "",
        given: Mapping[str, Any] | None = None,
        mouse: tuple[int, int] | None = None,
    ) -> dict[str, Any]:
        """Let the active page settle for so long of its own time, and describe it (see walker.js).

        Args:
            milliseconds: of the page's clock.
            probe: JavaScript, a function body whose value comes along under "probe"; "" for none.
            first: JavaScript, an async function body run before; what it returns comes along under "told".
            given: what ``first`` finds under the names in here.
            mouse: where the mouse, on its way there, is awaited before all; None for no wait.
        """
        looks = _Script(f"() => {{ {probe} }}" if probe else "")
        begins = _Script(f"async ({{{', '.join(given or {})}}}) => {{ {first} }}" if first else "")
        wanted: dict[str, Any] = {"time": milliseconds, "cap": SETTLE_CAP, "load": LOAD_CAP}
        wanted["demand"] = self._browser.on_demand
        wanted |= {"probe": looks.name, "first": begins.name, "given": dict(given or {}), "mouse": mouse}
        for hop in range(_HOPS):
            await self.adopted()
            tab = self.active
            before = tab.documents
            if hop:
                wanted |= {"first": "", "mouse": None}
            try:
                seen = await tab.see(wanted, (looks, begins))
            except WorldError:
                if not self.closed(tab):
                    raise
            if self._opening or self._adopting or self.closed(tab):
                continue
            if seen is None or seen.get("navigating"):
                if await tab.moved(before):
                    await tab.alive(_loaded(tab.page), NAVIGATION_CAP + 1, "the new page")
                else:  # refused, or a download: the page stays
                    await tab.run("window.__agentgym ? (__agentgym.status.navigating = false, 'null') : 'null'")
                continue
            tab.points = {int(bid): (x, y) for bid, (x, y) in seen.pop("points", {}).items()}
            return dict(seen)
        raise WorldTimeout(f"the page went through more than {_HOPS} documents without settling")


def _is_new(request: Asked) -> bool:
    """The request is a popup's first: its page is not there yet."""
    from playwright.async_api import Error

    try:
        return request.frame is None
    except Error:
        return True


def _shows_in(request: Asked) -> Page | None:
    """The page whose main frame this request is to fill; None for all other requests, and for a popup's first."""
    if not request.is_navigation_request() or _is_new(request):
        return None
    return None if request.frame.parent_frame is not None else request.frame.page


_REDIRECTS = frozenset((301, 302, 303, 307, 308))


def _kept(answer: Answer) -> dict[str, str]:
    return {k: v for k, v in answer.headers.items() if k == "set-cookie"}


def _moved(url: str) -> bytes:
    """A document that leads on to another and leaves no trace in the history."""
    written = json.dumps(url).replace("<", "\\u003c")
    return f"<!doctype html><script>location.replace({written})</script>".encode()


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def _loaded(page: Page) -> None:
    from playwright.async_api import Error

    try:
        await page.wait_for_load_state("load", timeout=NAVIGATION_CAP * 1000)
    except Error as error:
        if "Timeout" not in str(error):
            raise
