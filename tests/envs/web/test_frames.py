"""Frames on demand: none where nobody looks, one where something of the page waits for it, and never two at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from agentgym import ProcessEnv
from agentgym.envs.web.browser import LOOP, Browser
from agentgym.envs.web.chromium import draws_on_demand, find_chromium
from agentgym.envs.web.session import Session
from agentgym.envs.web.view import PageState
from agentgym.envs.web.world import WebWorld
from agentgym.errors import WorldError
from agentgym.world import wait
from tests.envs.web.pages import bid, visit

GO = "<body style='margin:0'><button onclick='go()'>go</button><p id=p></p>"


def told(env: ProcessEnv[PageState]) -> str:
    """What stands in the page's paragraph."""
    node = env.peek().find(id="p")
    assert node is not None
    return node.name


def session_of(env: ProcessEnv[PageState]) -> Session:
    assert isinstance(env.world, WebWorld)
    assert env.world._session is not None
    return env.world._session


def browser_of(env: ProcessEnv[PageState]) -> Browser:
    return session_of(env)._browser


@pytest.fixture(autouse=True)
def shell(need: Callable[[object, str, str], None]) -> None:
    need(draws_on_demand(find_chromium()), "Chromium's headless shell", "install chromium-headless-shell")


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Every frame that is asked for."""
    asked: list[dict[str, Any]] = []
    draw = Browser.draw

    async def counted(self: Browser, tab: Any, params: dict[str, Any]) -> dict[str, Any]:
        asked.append(params)
        return await draw(self, tab, params)

    monkeypatch.setattr(Browser, "draw", counted)
    return asked


def test_a_click_needs_none(frames: list[Any]) -> None:
    env = visit(GO + "<script>go = () => { p.textContent += 'x'; p.style.width = '50%' }</script>")
    go = bid(env, name="go")
    frames.clear()
    for k in range(1, 4):
        env.step(f"click('{go}')")
        assert told(env) == k * "x"
    assert not frames
    env.close()


@pytest.mark.parametrize(
    "script",
    [
        "addEventListener('scroll', tell); go = () => scrollTo(0, 100)",
        "onscroll = tell; go = () => scrollTo(0, 100)",
        "document.body.setAttribute('onscroll', 'tell()'); go = () => scrollTo(0, 100)",
        "new ResizeObserver(tell).observe(p); go = () => { p.style.height = '77px'; p.textContent = '' }",
        "new IntersectionObserver(tell).observe(far); go = () => { p.textContent = ''; far.scrollIntoView() }",
        "p.addEventListener('animationend', tell); go = () => { p.style.animation = 'fade 1s' }",
    ],
)
def test_what_a_page_is_told_in_frames_it_is_told_within_the_step(script: str, frames: list[Any]) -> None:
    env = visit(
        GO + "<style>@keyframes fade { from { opacity: 0 } }</style><div style='height:3000px'></div><p id=far>far</p>"
        f"<script>tell = () => {{ p.textContent = 'told' }}; {script}</script>"
    )
    frames.clear()
    env.step(f"click('{bid(env, name='go')}')")
    assert env.peek().find(name="told") is not None
    assert 2 <= len(frames) <= 8
    env.close()


def test_the_mouse_alone_moves_at_once(frames: list[Any]) -> None:
    """Chromium holds a move back until the next frame."""
    env = visit("<body style='margin:0'><p id=p onmousemove='p.textContent += \"x\"' style='height:90px'>p</p>")
    frames.clear()
    env.step(f"hover('{bid(env, id='p')}')")
    assert told(env) == "px"
    env.step("mouse_move(50, 50)")
    assert told(env) == "pxx"
    assert frames
    env.close()


def test_a_picture_is_of_what_the_text_says() -> None:
    env = visit(
        "<body style='margin:0;background:red'><button onclick='document.body.style.background = \"blue\"'>go</button>",
        observation=["text", "screenshot"],
    )
    seen = env.reset(seed=0)[0]["screenshot"]
    assert seen.shape == (400, 600, 3)
    np.testing.assert_array_equal(seen[300, 300], (255, 0, 0))
    seen = env.step(f"click('{bid(env, name='go')}')")[0]["screenshot"]
    np.testing.assert_array_equal(seen[300, 300], (0, 0, 255))
    env.close()


def test_a_picture_is_made_where_none_is_observed() -> None:
    env = visit("<body style='background:lime'>")
    picture = wait(env.world.render("rgb_array"), LOOP)
    np.testing.assert_array_equal(picture[300, 300], (0, 255, 0))
    env.close()


def test_a_popup_is_drawn_on_demand_too(frames: list[Any]) -> None:
    two = GO + "<script>go = () => p.append(1)</script>"
    env = visit({"/": "<button onclick='window.open(\"/two\")'>go</button>", "/two": two})
    env.step(f"click('{bid(env, name='go')}')")
    assert len(env.peek().tabs) == 2
    go = bid(env, name="go")
    frames.clear()
    env.step(f"click('{go}')")
    assert told(env) == "1"
    assert not frames
    env.close()


def gpu_process(browser: Browser) -> int:
    async def find() -> int:
        answer = await browser._send("SystemInfo.getProcessInfo", {})
        return next(int(one["id"]) for one in answer["processInfo"] if one["type"] == "GPU")

    return wait(find(), LOOP)


def test_many_pages_draw_and_none_at_the_same_time() -> None:
    """Chromium takes two frames at once for a fault, and loses its display process, then all pages."""
    page = "<body style='margin:0'><p id=p onmousemove='p.textContent += \"x\"' style='height:90px'></p>"
    envs = [visit(page) for _ in range(5)]
    browser = browser_of(envs[0])
    before = gpu_process(browser)

    def play(env: Any) -> str:
        for k in range(10):
            env.step(f"mouse_move({100 + k}, 50)")
        return told(env)

    with ThreadPoolExecutor(5) as pool:
        assert list(pool.map(play, envs)) == 5 * [10 * "x"]
    assert gpu_process(browser) == before
    for env in envs:
        env.close()


def test_a_page_that_ends_no_frame_loses_itself_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.envs.web.browser.FRAME_CAP", 1.0)
    hostile = visit(
        GO + "<script>new ResizeObserver(() => { if (p.style.height) for (;;); }).observe(p);"
        "go = () => { p.style.height = '77px' }</script>"
    )
    other = visit("<body style='margin:0'><p id=p onmousemove='p.textContent += \"x\"' style='height:90px'></p>")
    before = gpu_process(browser_of(other))
    with ThreadPoolExecutor(1) as pool:
        stuck = pool.submit(hostile.step, f"click('{bid(hostile, name='go')}')")
        for k in range(10):
            other.step(f"mouse_move({100 + k}, 50)")
        with pytest.raises(WorldError, match="did not come to the end of a frame within 1 s"):
            stuck.result()
    assert told(other) == 10 * "x"
    hostile.reset(seed=0)
    assert hostile.peek().find(name="go") is not None
    assert gpu_process(browser_of(other)) == before
    for env in (hostile, other):
        env.close()


def test_who_asked_for_a_frame_and_went_away_leaves_it_to_end() -> None:
    """Given up in the middle of a frame, a step takes no other page along."""
    slow = visit(
        GO + "<script>const now = __agentgym.clock.real;"
        "new ResizeObserver(() => { const end = now() + 300; while (now() < end); }).observe(p)</script>"
    )
    other = visit("<p>p</p>")
    browser = browser_of(other)
    before = gpu_process(browser)
    tab = session_of(slow).active

    async def give_up() -> None:
        await tab.run("(p.style.height = '7px', 'null')")
        asked = asyncio.ensure_future(browser.draw(tab, {}))
        await asyncio.sleep(0.1)
        asked.cancel()

    wait(give_up(), LOOP)
    for k in range(5):
        other.step(f"mouse_move({100 + k}, 50)")
    assert gpu_process(browser) == before
    for env in (slow, other):
        env.close()
