"""The issue tracker: Roundup's own pages over data that are the same for everyone, at a time that stands still."""

from __future__ import annotations

import http.client
import re
from collections.abc import Iterator

import pytest

from agentgym.envs.web.sites.roundup.content import AGENT, ISSUES, KEYWORDS, USERS
from agentgym.envs.web.sites.roundup.state import TrackerState
from agentgym.envs.web.sites.server import SiteServer


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SiteServer]:
    pytest.importorskip("roundup")
    from agentgym.envs.web.sites.roundup.tracker import ROUNDUP

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        server = SiteServer(ROUNDUP)
    yield server
    server.close()


def page(tracker: SiteServer, path: str) -> str:
    connection = http.client.HTTPConnection(tracker.proxy.removeprefix("http://"), timeout=30)
    cookie = "; ".join(f"{k}={v}" for k, v in tracker.cookies.items())
    connection.request("GET", f"http://tracker.test/{path}", headers={"Host": "tracker.test", "Cookie": cookie})
    response = connection.getresponse()
    assert response.status == 200
    text = response.read().decode()
    connection.close()
    return text


def test_the_database_holds_the_content(tracker: SiteServer) -> None:
    state: TrackerState = tracker.state()
    assert set(USERS) < set(state.users)
    assert state.keywords == tuple(sorted(KEYWORDS))
    found = [(i.title, i.priority, i.status, i.keywords, i.assigned, i.notes) for i in state.issues.values()]
    assert found == [(s.title, s.priority, s.status, tuple(sorted(s.keywords)), s.assigned, s.notes) for s in ISSUES]


def test_titles_are_distinct() -> None:
    assert len({s.title for s in ISSUES}) == len(ISSUES)


def test_pages_are_seen_signed_in(tracker: SiteServer) -> None:
    assert f"Hello, {AGENT}" in " ".join(page(tracker, "").split())


def test_the_clock_stands_still(tracker: SiteServer) -> None:
    assert "2024-05-13" in page(tracker, "issue1")


def test_pages_repeat_but_for_hidden_tokens(tracker: SiteServer) -> None:
    def visible(text: str) -> str:
        text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
        return re.sub(r"<[^>]*>", " ", text)

    assert visible(page(tracker, "issue2")) == visible(page(tracker, "issue2"))
