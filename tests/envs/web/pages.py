"""Small pages under an origin of their own, and a task that only looks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from agentgym import ProcessEnv
from agentgym.envs.web.site import Answer, Request, Site
from agentgym.envs.web.view import PageState, content
from agentgym.envs.web.world import Start, WebWorld
from agentgym.task import Episode, Task
from agentgym.world import Events

ORIGIN = "http://pages.test"


class Pages(Site):
    """Answers from a dict: path -> HTML (or an `Answer`); counts what was posted."""

    def __init__(self, pages: Mapping[str, str | Answer]) -> None:
        self.origin = ORIGIN
        self.pages = pages
        self.asked: list[str] = []
        self.posted: list[bytes] = []
        self.resets = 0

    def answer(self, request: Request) -> Answer:
        path = urlsplit(request.url).path
        self.asked.append(path)
        if request.method == "POST":
            self.posted.append(request.body)
        page = self.pages.get(path)
        if page is None:
            return Answer(404, {"content-type": "text/html"}, b"<p>not here</p>")
        return (
            page
            if isinstance(page, Answer)
            else Answer(200, {"content-type": "text/html; charset=utf-8"}, page.encode())
        )

    def reset(self, setup: Any) -> None:
        self.resets += 1
        self.posted = []

    def digest(self) -> Any:
        return tuple(self.posted)


class Visit(Task[PageState]):
    """Stand on the page whose title is "the end"."""

    id = "Visit"
    horizon = 200
    no_oracle = "made for tests of the driver"
    dangers: Mapping[str, str] = {"outside": "A request left the site."}

    def __init__(self, start: Start) -> None:
        self._start = start

    def setup(self, params: Mapping[str, Any]) -> Start:
        return self._start

    def goal(self, params: Mapping[str, Any]) -> str:
        return "reach the end"

    def success(self, state: PageState, ep: Episode) -> bool:
        return state.title == "the end"

    def progress(self, state: PageState, ep: Episode) -> float:
        return float(self.success(state, ep))

    def anchor_view(self, state: PageState, ep: Episode) -> Any:
        return (content(state), state.server, state.tabs)

    def danger(self, before: PageState, events: Events, after: PageState, ep: Episode) -> tuple[str, ...]:
        return tuple(code for code in events.codes if code == "outside")


def visit(pages: Mapping[str, str | Answer] | str, **options: Any) -> ProcessEnv[PageState]:
    """An environment on these pages (a string: on this one page), reset and ready."""
    site = Pages({"/": pages} if isinstance(pages, str) else pages)
    start = options.pop("start", Start(ORIGIN + "/"))
    env = ProcessEnv(WebWorld([site], viewport=(600, 400), **options), Visit(start))
    env.reset(seed=0)
    return env


def bid(env: ProcessEnv[PageState], **what: Any) -> str:
    """The number of the element that fits."""
    node = env.peek().find(**what)
    assert node is not None, f"{what} is not among {[(n.role, n.name, n.id) for n in env.peek().nodes]}"
    return str(node.bid)
