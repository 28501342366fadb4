"""WebWorld: pages of some sites in a real browser."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentgym.envs.web import parts as observation_parts
from agentgym.envs.web.actions import MAX_ACTION, VERBS, BadAction, describe, parse
from agentgym.envs.web.applicable import Applicable, words_of
from agentgym.envs.web.browser import LOOP, browser
from agentgym.envs.web.chromium import find_chromium
from agentgym.envs.web.perform import perform
from agentgym.envs.web.session import MAX_TABS, SETTLE_CAP, Session
from agentgym.envs.web.site import Site
from agentgym.envs.web.view import PageState, nodes_of, text_of
from agentgym.errors import UnknownName, WorldError
from agentgym.world import Events, World

__all__ = ["STEP", "Start", "WebWorld"]

STEP = 500.0
"""Milliseconds of the page's own clock that pass with every action."""


@dataclass(frozen=True)
class Start:
    """What an episode starts from.

    Attributes:
        url: the first page.
        script: JavaScript run there when it has loaded, an async function body that may return the goal as text.
        probe: JavaScript, a function body that returns what the task wants to know of the page, at each step.
        given: what ``script`` finds under these names (JSON values); a script that stays the same is compiled once.
        skip: ids of elements that are no part of the page.
        keep: the page may be kept from the episode before, when it is the same; `script` then brings it back.
        server: given to the sites' `reset`.
        goal: what is wanted, where `script` does not tell.
    """

    url: str
    script: str = ""
    probe: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    skip: tuple[str, ...] = ()
    keep: bool = False
    server: Any = None
    goal: str = ""


class WebWorld(World[PageState]):
    """Pages in Chromium, driven by trusted input.

    Args:
        sites: what the pages may reach; every other request is refused and named in `Events.codes` as ``outside``.
        observation: parts of the observation (see `agentgym.envs.web.parts.PARTS`).
        verbs: the actions that are known here; all by default.
        viewport: width and height of the view in CSS pixels.
        chromium: its executable; by default AGENTGYM_CHROMIUM or the one on PATH.

    Time stands still between actions; each lets `STEP` milliseconds of the page's clock pass at once (``noop`` as many
    as it says), so that animations and timers are over when the agent looks, and no step waits for them.

    Raises:
        UsageError: no Chromium, at construction.
    """

    render_modes = ("ansi", "rgb_array")
    loop_name = LOOP

    def __init__(
        self,
        sites: Sequence[Site],
        *,
        observation: Iterable[str] = observation_parts.DEFAULT,
        verbs: Iterable[str] = tuple(VERBS),
        viewport: tuple[int, int] = (1280, 720),
        chromium: str | None = None,
    ) -> None:
        self.sites = {site.origin: site for site in sites}
        self.parts = observation_parts.check(observation)
        self.verbs = frozenset(verbs)
        for verb in self.verbs:
            if verb not in VERBS:
                raise UnknownName("action", verb, VERBS, f"known: {', '.join(VERBS)}")
        self.viewport = viewport
        self.path = find_chromium(chromium)
        self.observation_space = observation_parts.observation_space(self.parts, viewport)
        self.action_space = observation_parts.AnyText(5_000_000)
        self._costly = any(part in _COSTLY for part in self.parts)
        self._pictures = any(part in _PICTURES for part in self.parts)
        self._session: Session | None = None
        self._start = Start("")
        self._state = PageState()
        self._table: Applicable | None = None
        self._extra: dict[str, Any] = {}
        self._history = (False, False)
        self._error = self._last = self.goal = ""
        self._notes: tuple[str, ...] = ()

    # ------------------------------------------------------------------ World

    async def reset(self, setup: Start, rng: np.random.Generator, seed: int | None = None) -> None:
        """Go to the first page and run the start's script there."""
        try:
            await self._begin(setup)
        except (WorldError, asyncio.CancelledError):
            await self._drop()
            raise

    async def act(self, action: str) -> Events:
        """Carry out one action and look at what became of it."""
        session = self._live()
        self._last, self._error = action, ""
        session.clear_notes()
        milliseconds = STEP
        try:
            parsed = parse(action)
            if parsed.verb not in self.verbs:
                raise BadAction(
                    f"{parsed.verb} is not known here; known: {', '.join(v for v in VERBS if v in self.verbs)}"
                )
        except BadAction as why:
            self._error, self._notes = str(why), ()
            return Events(grounded=False, error=self._error)
        if parsed.verb == "noop":
            milliseconds = parsed.args["wait_ms"]
        try:
            self._error = await perform(session, parsed)
            if self._error:
                self._notes = ()
                return Events(grounded=False, error=self._error)
            whole = await self._look(milliseconds)
            await self._more()
        except (WorldError, asyncio.CancelledError):
            await self._drop()
            raise
        codes = [*(["outside"] if session.blocked else []), *([] if whole else ["unsettled"])]
        return Events(codes=tuple(codes))

    def observe(self) -> dict[str, Any]:
        """The parts asked for."""
        seen: dict[str, Any] = {}
        for part in self.parts:
            if part in self._extra:
                seen[part] = self._extra[part]
            elif part == "text":
                seen[part] = self._text()
            else:
                seen[part] = self._cheap(part)
        return seen

    def state(self) -> PageState:
        """The page as it stands; immutable."""
        return self._state

    async def admissible(self) -> Applicable:  # type: ignore[override]  # a coroutine, like the other members
        """What can be done now; ``action in admissible()`` also judges what the list cannot spell out."""
        if self._table is None:
            session = self._live()
            table = await session.active.run(
                "JSON.stringify(window.__agentgym && __agentgym.applicable ? __agentgym.applicable() : {})"
            )
            tabs = (len(session.tabs), MAX_TABS, *self._history)
            self._table = Applicable(table or {}, words_of(self.goal), self.verbs, self.viewport, tabs)
        return self._table

    async def render(self, mode: str) -> Any:
        """``ansi``: the page in words; ``rgb_array``: a picture of the view."""
        if mode == "ansi":
            return self._text()
        return await observation_parts.screenshot(self._live())

    async def close(self) -> None:
        """Close the pages; the browser goes with its last environment, a few seconds later."""
        await self._drop()
        for site in self.sites.values():
            await _awaited(site.close())

    # ------------------------------------------------------------------ beyond World

    def describe_actions(self) -> str:
        """The signatures of the known actions, one a line, for a prompt."""
        return describe(self.verbs)

    async def read(self, expression: str) -> Any:
        """The value of a JavaScript expression in the page, for checks and tests; never for agents."""
        return await self._live().active.run(f"JSON.stringify({expression})")

    # ------------------------------------------------------------------ inside

    def _live(self) -> Session:
        if self._session is None:
            raise WorldError("there is no page: the browser was lost or never opened; call reset()")
        return self._session

    async def _begin(self, start: Start) -> None:
        session = self._session
        if session is not None and not session.healthy:
            await self._drop()
            session = None
        if session is None:
            session = self._session = Session(browser(self.path, self._pictures), self.sites, self.viewport)
            await session.open()
        await session.only_first_tab()
        await session.release()
        # A link to "#" leads nowhere: the document is the same.
        here = self._state.url.removesuffix("#")
        kept = start.keep and self._start.url == start.url and here == start.url and session.loaded == start.url
        session.home, session.loaded = start.url, ""
        self._start = start
        if kept:
            await self._put_back(start)
        else:
            await self._load(session, start)
        if not kept or any(self._history) or self._state.url != start.url:
            await session.forget_history()
        session.loaded = start.url
        session.messages = []
        self.goal, self._error, self._last = start.goal, "", ""
        session.clear_notes()
        settle = f"if (!again) await g.settle({STEP:g}, {SETTLE_CAP});" if start.script else ""
        look = self._look(
            STEP,
            f"const g = window.__agentgym; g.skip(...skip); {settle}"
            " if (again && location.href !== url) history.replaceState(null, '', url);"
            f" const told = await (async ({{{', '.join(start.given)}}}) => {{ {start.script} }})(given); g.forget();"
            " return told;",
            {"again": kept, "url": start.url, "skip": start.skip, "given": start.given},
            session.away if kept else None,
        )
        await (asyncio.gather(session.mouse_away(), look) if kept else look)
        session.clear_notes()
        self._notes = ()
        for site in self.sites.values():
            site.opened()
        await self._more()

    async def _load(self, session: Session, start: Start) -> None:
        """Go to the first page; it is answered when nothing of the episode before is left."""
        ready = asyncio.gather(session.mouse_away(), session.forget_storage(), self._put_back(start))
        try:
            await session.forget_cookies()  # they would go along with the request
            session.ready = ready
            await asyncio.gather(ready, session.goto(start.url))
        finally:
            session.ready = None

    async def _put_back(self, start: Start) -> None:
        """Take the sites back to what the episode starts from."""
        for site in self.sites.values():
            site.opens("" if start.script else start.url)
            await _awaited(site.reset(start.server))

    async def _look(
        self,
        milliseconds: float,
        first: str = "",
        given: Mapping[str, Any] | None = None,
        mouse: tuple[int, int] | None = None,
    ) -> bool:
        """Settle and read the page, ``first`` run before; whether it came to rest."""
        session = self._live()
        seen = await session.look(milliseconds, self._start.probe, first, given, mouse)
        if isinstance(seen.get("told"), str):
            self.goal = seen["told"]
        server = [await _awaited(site.digest()) for site in self.sites.values()]
        self._table, self._extra = None, {}
        self._history = (bool(seen.get("back")), bool(seen.get("forward")))
        notes = list(session.notes)
        notes += [f"blocked: {url[:200]}" for url in session.blocked[:5]]
        if not (whole := bool(seen.get("whole", True))):
            notes.append("the page was still changing when this was read")
        self._notes = tuple(notes)
        self._state = PageState(
            url=seen.get("url", session.active.page.url),
            title=seen.get("title", ""),
            nodes=nodes_of(seen.get("nodes", ())),
            fields=tuple((str(name), str(value)) for name, value in seen.get("fields", ())),
            tabs=tuple(tab.page.url for tab in session.tabs),
            active=session.tabs.index(session.active),
            scroll=tuple(seen.get("scroll", (0, 0))),
            messages=tuple(session.messages),
            probe=seen.get("probe"),
            server=tuple(server) if any(d is not None for d in server) else None,
            blocked=len(session.blocked),
        )
        return whole

    async def _more(self) -> None:
        if self._costly:
            self._extra = await observation_parts.costly(self.parts, self._live(), self._state)

    def _text(self) -> str:
        text, most = text_of(self._state, self._notes), observation_parts.MAX_TEXT
        return text if len(text) <= most else text[: most - len(_CUT)] + _CUT

    def _cheap(self, part: str) -> Any:
        state = self._state
        match part:
            case "goal":
                return self.goal[: observation_parts.LENGTHS["goal"]]
            case "last_action_error":
                return self._error
            case "url":
                return state.url[: observation_parts.LENGTHS["url"]]
            case "open_pages_urls":
                return state.tabs
            case "active_page_index":
                return state.active
            case "focused_element_bid":
                return str(state.focused.bid) if state.focused else ""
            case "last_action":
                return self._last[:MAX_ACTION]
            case _:
                return tuple({"role": kind, "message": text} for kind, text in state.messages)

    async def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


_CUT = "\n(the page goes on; this is all that is shown of it)"
_PICTURES = frozenset(("screenshot", "screenshot_som"))
_COSTLY = _PICTURES | frozenset(("axtree_object", "dom_object", "extra_element_properties"))


async def _awaited(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value
