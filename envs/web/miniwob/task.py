"""What all MiniWoB tasks share: seeds, the page's own reward and end, anchors, dangers, and the signals of a kind."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from agentgym.envs.web.ids import FLIGHT
from agentgym.envs.web.miniwob.kind import LEAVE, Kind, Want
from agentgym.envs.web.miniwob.kinds import kind_of
from agentgym.envs.web.miniwob.make import ORIGIN, VIEWPORT
from agentgym.envs.web.view import PageState, content
from agentgym.envs.web.world import Start
from agentgym.task import Actor, Episode, Milestone, ProgressKind, Task
from agentgym.world import Events

__all__ = ["RELOAD", "MiniWobTask", "make_task"]

_RELOAD_TEXT = """
book-flight book-flight-nodelay choose-date choose-date-easy choose-date-medium drag-items drag-items-grid
drag-sort-numbers form-sequence scroll-text scroll-text-2 use-autocomplete use-autocomplete-nodelay
use-colorwheel use-colorwheel-2 focus-text-2 form-sequence-3 use-slider use-slider-2
"""
RELOAD = frozenset(_RELOAD_TEXT.split())
"""Tasks whose page remembers the episode before when it is kept; they load it again (a test measures this)."""

_PARTIAL_TEXT = """
bisect-angle circle-center click-pie draw-circle draw-line find-midpoint right-angle
"""
PARTIAL = frozenset(_PARTIAL_TEXT.split())
"""Tasks rewarded by accuracy, where any positive reward is success; elsewhere success is the full reward, 1."""

_SKIP = ("reward-display", "click-canvas", "sync-task-cover")
_QUERY = "document.getElementById('query')"


class MiniWobTask(Task[PageState]):
    """One page of MiniWoB++.

    The episode ends with the page's own verdict. Success is the page's full reward (1 without its discount for time;
    any positive one in tasks that measure accuracy). The seed of the page is the only parameter.

    Args:
        name: of the page. kind: what is known of it, or None. keep_page: see `miniwob_env`.
    """

    dangers: Mapping[str, str] = {
        "outside": "A request left the task's own site.",
        "wrong_end": "The page was ended by a wrong choice, which cannot be taken back.",
    }

    def __init__(self, name: str, kind: Kind | None, keep_page: bool = True) -> None:
        self.id = f"MiniWoB-{name}"
        self.name = name
        self.kind = kind
        self.horizon = kind.horizon if kind is not None else 20
        self.progress_kind: ProgressKind = "proxy" if kind is not None and kind.steps else "none"
        self.no_oracle = "" if kind is not None else "no script for this kind of page has been written"
        self.partial = name in PARTIAL or (kind is not None and kind.partial)
        self.viewport = (500, 667) if name in FLIGHT else VIEWPORT
        path = f"{name.replace('.', '/')}/wrapper.html" if name in FLIGHT else f"miniwob/{name}.html"
        self.url = f"{ORIGIN}/{path}"
        self._keep = keep_page and name not in RELOAD and name not in FLIGHT
        steps = dict(kind.steps) if kind is not None else {}
        self.milestones = (
            *(Milestone[PageState](step, text, self._all_of(step)) for step, text in steps.items()),
            Milestone[PageState]("solved", "The page was ended with success.", self.success),
        )

    # ------------------------------------------------------------------ the page

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """The page's seed."""
        return {"seed": int(rng.integers(2**31))}

    def setup(self, params: Mapping[str, Any]) -> Start:
        """Load the page, or keep it, and start an episode with the seed."""
        seed = {"seed": str(int(params["seed"]))}
        return Start(self.url, _script(), _probe(self.kind), seed, _SKIP, self._keep)

    def goal(self, params: Mapping[str, Any]) -> str:
        """Which page; its utterance is known once it is there (`told`)."""
        return f"MiniWoB {self.name}"

    def told(self, ep: Episode) -> str:
        """The page's utterance."""
        return str(ep.start.probe["told"])

    # ------------------------------------------------------------------ signals

    def success(self, state: PageState, ep: Episode) -> bool:
        """The page's verdict is its full reward (or a positive one where it measures accuracy)."""
        at = state.probe
        return at is not None and at["done"] and (at["raw"] > 0 if self.partial else at["raw"] >= 1)

    def progress(self, state: PageState, ep: Episode) -> float:
        """The share of wants that hold now and did not at the start, the last action being one; 0 after a wrong end."""
        if self.success(state, ep):
            return 1.0
        if self.kind is None or not self.kind.steps or state.probe is None or state.probe["done"]:
            return 0.0
        if "held" not in ep.memo:
            ep.memo["held"] = _share(self._wants(ep.start, ep))
        start: float = ep.memo["held"]
        now = _share(self._wants(state, ep))
        return max(0.0, (now - start) / (1.0 - start))

    def ends(self, state: PageState, events: Events, ep: Episode) -> bool:
        """The page gave its verdict."""
        return state.probe is not None and bool(state.probe["done"])

    def danger(self, before: PageState, events: Events, after: PageState, ep: Episode) -> Iterable[str]:
        """See `dangers`."""
        if "outside" in events.codes:
            yield "outside"
        if self.ends(after, events, ep) and not self.success(after, ep):
            yield "wrong_end"

    def anchor_view(self, state: PageState, ep: Episode) -> Any:
        """The utterance, what is on the page, what the kind's probe reads, and the verdict."""
        at = state.probe
        if at is None:
            return (self.name, content(state))
        return (self.name, at["told"], content(state), at["x"], at["done"], at["raw"], state.messages)

    # ------------------------------------------------------------------ scripts

    def oracle(self, ep: Episode, peek: Callable[[], PageState]) -> Actor | None:
        """Bring about the first want that does not hold, then finish; plans again at every step."""
        return self._solve(ep, peek) if self.kind is not None else None

    def _solve(self, ep: Episode, peek: Callable[[], PageState]) -> Actor:
        assert self.kind is not None
        while peek().probe is not None and not peek().probe["done"]:
            state = peek()
            open_wants = [want for want in self._wants(state, ep) if not want.done]
            doable = [want.do for want in open_wants if want.do]
            if open_wants and not doable:
                return
            yield doable[0] if doable else self.kind.finish(self._read(ep), state)

    @property
    def offenders(self) -> Mapping[str, Callable[[Episode, Callable[[], PageState]], Actor]]:
        """One that leaves the site; where the kind is known, one that ends the page wrongly."""
        scripts: dict[str, Callable[[Episode, Callable[[], PageState]], Actor]] = {"leaves": _leave}
        if self.kind is not None:
            scripts["wrong"] = self._offend
        return scripts

    def _offend(self, ep: Episode, peek: Callable[[], PageState]) -> Actor:
        assert self.kind is not None
        yield from self.kind.wrong(self._read(ep), peek)

    # ------------------------------------------------------------------ inside

    def _read(self, ep: Episode) -> Any:
        assert self.kind is not None
        if "goal" not in ep.memo:
            ep.memo["goal"] = self.kind.read(self.told(ep), ep.start)
        return ep.memo["goal"]

    def _wants(self, state: PageState, ep: Episode) -> tuple[Want, ...]:
        assert self.kind is not None
        return tuple(self.kind.wants(self._read(ep), state))

    def _all_of(self, step: str) -> Callable[[PageState, Episode], bool]:
        def reached(state: PageState, ep: Episode) -> bool:
            if self.success(state, ep):
                return True
            if state.probe is None or state.probe["done"]:
                return False
            held = [want.done for want in self._wants(state, ep) if want.step == step]
            return bool(held) and all(held)

        return reached


def _share(wants: tuple[Want, ...]) -> float:
    """Which part of the way lies behind: the last action counts as one more."""
    return sum(want.done for want in wants) / (len(wants) + 1)


def _leave(ep: Episode, peek: Callable[[], PageState]) -> Actor:
    yield LEAVE


@cache
def _script() -> str:
    return (Path(__file__).parent / "page.js").read_text(encoding="utf-8")


def _probe(kind: Kind | None) -> str:
    extra = f"(() => {{ {kind.probe} }})()" if kind is not None and kind.probe else "null"
    return (
        "const g = window.__agentgym; if (g.episode === undefined) return null;"
        " const told = core.getUtterance();"
        " return {told: typeof told === 'string' ? told : told.utterance,"
        " done: WOB_DONE_GLOBAL, raw: WOB_RAW_REWARD_GLOBAL,"
        f" x: {extra}}};"
    )


def make_task(name: str, *, keep_page: bool = True) -> MiniWobTask:
    """The task of a page."""
    return MiniWobTask(name, kind_of(name), keep_page)
