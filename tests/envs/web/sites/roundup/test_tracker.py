"""The issue tracker: Roundup's own pages over data that are the same for everyone, at a time that stands still."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from agentgym.envs.web.site import Request
from agentgym.envs.web.sites.roundup.content import AGENT, ISSUES, KEYWORDS, USERS
from agentgym.envs.web.sites.roundup.state import TrackerState
from agentgym.envs.web.sites.serve import AppSite


@pytest.fixture(scope="module")
def tracker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AppSite]:
    pytest.importorskip("roundup")
    from agentgym.envs.web.sites.roundup.tracker import ROUNDUP

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENTGYM_CACHE", str(tmp_path_factory.mktemp("cache")))
        server = AppSite(ROUNDUP)
    yield server
    server.close()


def page(tracker: AppSite, path: str) -> str:
    asyncio.run(tracker.reset(None))
    answer = asyncio.run(tracker.answer(Request("GET", f"http://tracker.test/{path}")))
    assert answer.status == 200
    text: str = answer.body.decode()
    return text


def test_the_database_holds_the_content(tracker: AppSite) -> None:
    state: TrackerState = tracker.digest()
    assert set(USERS) < set(state.users)
    assert state.keywords == tuple(sorted(KEYWORDS))
    found = [(i.title, i.priority, i.status, i.keywords, i.assigned, i.notes) for i in state.issues.values()]
    assert found == [(s.title, s.priority, s.status, tuple(sorted(s.keywords)), s.assigned, s.notes) for s in ISSUES]


def test_titles_are_distinct() -> None:
    assert len({s.title for s in ISSUES}) == len(ISSUES)


def test_pages_are_seen_signed_in(tracker: AppSite) -> None:
    assert f"Hello, {AGENT}" in " ".join(page(tracker, "").split())


def test_the_clock_stands_still(tracker: AppSite) -> None:
    assert "2024-05-13" in page(tracker, "issue1")


def test_pages_repeat_but_for_hidden_tokens(tracker: AppSite) -> None:
    def visible(text: str) -> str:
        text = re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL)
        return re.sub(r"<[^>]*>", " ", text)

    assert visible(page(tracker, "issue2")) == visible(page(tracker, "issue2"))
