"""The driver: trusted input that must reach its element, dialogs, tabs, frames, time, and a closed network.

All of it twice: in the headless shell, which draws when asked to, and in the whole browser, which draws by itself.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentgym.envs.web.browser import LOOP
from agentgym.envs.web.chromium import AT_ONCE, DISABLED, NAMES, ON_DEMAND, VARIABLE, draws_on_demand, find_chromium
from agentgym.envs.web.parts import PARTS
from agentgym.envs.web.session import LOAD_CAP, MAX_DIALOGS, Tab
from agentgym.envs.web.site import Answer
from agentgym.envs.web.world import Start
from agentgym.errors import UnknownName, UsageError
from agentgym.world import wait
from tests.envs.web.pages import ORIGIN, Pages, bid, visit


@pytest.fixture(autouse=True, params=["headless shell", "browser"])
def kind(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, need: Callable[[object, str, str], None]
) -> str:
    """Which of the two the environments find."""
    shell = request.param == "headless shell"
    names = [name for name in NAMES if name.endswith("headless-shell") is shell]
    found = next(filter(None, map(shutil.which, names)), None)
    need(found, f"Chromium's {request.param}", "install " + ("chromium-headless-shell" if shell else "chromium"))
    monkeypatch.setenv(VARIABLE, str(found))
    assert draws_on_demand(str(found)) is shell
    return str(request.param)


def done(result: tuple[Any, ...]) -> dict[str, Any]:
    """The info of a step that was grounded."""
    info: dict[str, Any] = result[-1]
    assert info["process"]["grounded"], info["error"]
    return info


def refused(result: tuple[Any, ...]) -> str:
    """The reason of one that was not."""
    info = result[-1]
    assert not info["process"]["grounded"]
    assert result[0]["last_action_error"] == info["error"]
    return str(info["error"])


# ------------------------------------------------------------------ input


def test_clicks_are_trusted_and_reach_what_they_aim_at() -> None:
    env = visit('<button onclick=\'document.title = event.isTrusted ? "the end" : "fake"\'>go</button>')
    assert done(env.step(f"click('{bid(env, name='go')}')"))["success"]
    env.close()


def test_what_is_covered_is_not_clicked_and_the_cover_is_named() -> None:
    env = visit(
        "<button id=under onclick='document.title = \"the end\"'>buy</button>"
        "<div style='position:fixed;inset:0;background:#eee' onclick='this.remove()'>consent first</div>"
    )
    before = env.peek()
    under = bid(env, id="under")
    assert "covered by" in refused(env.step(f"click('{under}')"))
    assert "consent first" in refused(env.step(f"click('{under}')"))
    assert env.peek() == before
    assert f"click('{under}')" not in env.admissible()
    done(env.step(f"click('{bid(env, name='consent first')}')"))
    assert done(env.step(f"click('{under}')"))["success"]
    env.close()


def test_an_element_covered_in_the_middle_is_clicked_beside_it() -> None:
    env = visit(
        "<button style='width:200px;height:60px' onclick='document.title = \"the end\"'>wide</button>"
        "<div style='position:absolute;left:90px;top:20px;width:40px;height:40px;background:red'></div>"
    )
    assert done(env.step(f"click('{bid(env, tag='button')}')"))["success"]
    env.close()


def test_vanished_unknown_hidden_and_disabled_elements_say_so() -> None:
    env = visit(
        "<button id=a onclick='b.remove()'>a</button><button id=b>b</button><button id=c disabled>c</button>"
        "<button id=d onclick='this.style.visibility = \"hidden\"'>d</button>"
    )
    gone, off, hidden = bid(env, id="b"), bid(env, id="c"), bid(env, id="d")
    done(env.step(f"click('{bid(env, id='a')}')"))
    assert "no longer on the page" in refused(env.step(f"click('{gone}')"))
    assert "no element 999" in refused(env.step("click('999')"))
    assert "is disabled" in refused(env.step(f"click('{off}')"))
    done(env.step(f"click('{hidden}')"))
    assert "not visible" in refused(env.step(f"click('{hidden}')"))
    env.close()


def test_what_is_out_of_view_is_scrolled_to() -> None:
    env = visit("<div style='height:3000px'></div><button onclick='document.title = \"the end\"'>deep</button>")
    node = env.peek().find(name="deep")
    assert node is not None
    assert node.away
    assert "out of view:" in env.world.observe()["text"]
    assert done(env.step(f"click('{node.bid}')"))["success"]
    env.close()


FORM = """
<input id=t><input id=n type=number><input id=d type=date><input id=r readonly value=fixed>
<textarea id=a></textarea><select id=s><option>red</option><option value=b>blue</option></select>
<label><input id=c type=checkbox> agree</label><div id=e contenteditable>old</div>
"""


def test_every_kind_of_field() -> None:
    env = visit(FORM)
    at = {id: bid(env, id=id) for id in "tndrasce"}
    for id, text in {"t": "héllo ♥", "n": "42", "d": "2024-02-29", "a": "two\nlines", "e": "new"}.items():
        done(env.step(f"fill('{at[id]}', {text!r})"))
        node = env.peek().find(id=id)
        assert node is not None
        assert node.value == text
    done(env.step(f"clear('{at['t']}')"))
    done(env.step(f"select_option('{at['s']}', 'blue')"))
    done(env.step(f"check('{at['c']}')"))
    done(env.step(f"check('{at['c']}')"))
    values = {n.id: (n.value, n.checked) for n in env.peek().nodes if n.id}
    assert values["t"] == ("", False)
    assert values["s"] == ("blue", False)
    assert values["c"] == ("", True)
    assert "read-only" in refused(env.step(f"fill('{at['r']}', 'x')"))
    assert "takes a number" in refused(env.step(f"fill('{at['n']}', 'x')"))
    assert "takes a date" in refused(env.step(f"fill('{at['d']}', 'x')"))
    assert "no option 'green'" in refused(env.step(f"select_option('{at['s']}', 'green')")).replace('"', "'")
    assert "cannot be filled" in refused(env.step(f"fill('{at['c']}', 'x')"))
    env.close()


def test_keys_the_mouse_and_drags() -> None:
    env = visit(
        "<input id=t onkeydown='if (event.key === \"Enter\" && event.isTrusted) log.textContent = this.value'>"
        "<p id=log>-</p><div id=h onmouseover='this.textContent = \"over\"'>hover</div>"
        "<div id=box style='position:absolute;left:50px;top:150px;width:40px;height:40px;background:red'"
        " onmousedown='hold = true'></div>"
        "<script>hold = false; onmousemove = e => { if (hold) { box.style.left = e.clientX - 20 + 'px';"
        " box.style.top = e.clientY - 20 + 'px'; } }; onmouseup = () => { hold = false; };</script>"
    )
    field = bid(env, id="t")
    done(env.step(f"focus('{field}')"))
    done(env.step("keyboard_type('abc')"))
    done(env.step("keyboard_press('ArrowLeft')"))
    done(env.step("keyboard_insert_text('X')"))
    done(env.step(f"press('{field}', 'Enter')"))
    assert env.peek().find(id="log", name="abXc")
    done(env.step(f"hover('{bid(env, id='h')}')"))
    assert env.peek().find(id="h", name="over")
    done(env.step("mouse_drag_and_drop(70, 170, 300, 300)"))
    box = env.peek().find(id="box")
    assert box is not None
    assert (box.x, box.y) == (280, 280)
    assert "outside of the view" in refused(env.step("mouse_click(600, 10)"))
    env.close()


def test_frames_and_shadow_roots_belong_to_the_page() -> None:
    env = visit(
        {
            "/": "<h1>top</h1><iframe src=/inner width=300 height=100></iframe><div id=host></div><script>"
            "const root = host.attachShadow({mode: 'closed'}); root.innerHTML = '<button>in shadow</button>';"
            "root.querySelector('button').onclick = () => { document.title += 'S'; };</script>",
            "/inner": "<button onclick='parent.document.title += \"F\"'>in frame</button>",
        }
    )
    for name in ("in frame", "in shadow"):
        done(env.step(f"click('{bid(env, name=name)}')"))
    assert env.peek().title == "FS"
    env.close()


# ------------------------------------------------------------------ what comes in between


def test_dialogs_are_answered_and_told() -> None:
    env = visit('<button onclick=\'this.textContent = [confirm("sure?"), prompt("name?", "me")]\'>ask</button>')
    observation = env.step("click('1')")[0]
    assert "confirm dialog, answered with OK: sure?" in observation["text"]
    assert env.peek().find(tag="button", name="true,me")
    env.close()


def test_a_loop_of_alerts_is_stopped() -> None:
    env = visit("<button onclick='while (true) alert(1)'>go</button><p>here</p>")
    observation, *_, info = env.step("click('1')")
    assert info["process"]["grounded"]
    assert f"more than {MAX_DIALOGS} dialogs" in observation["text"]
    assert done(env.step("noop()"))["error"] == ""
    env.close()


def test_new_tabs_are_followed_and_counted() -> None:
    env = visit({"/": "<a href=/two target=_blank>open</a>", "/two": "<title>the end</title>two"})
    info = done(env.step(f"click('{bid(env, name='open')}')"))
    assert info["success"]
    assert env.peek().tabs == (ORIGIN + "/", ORIGIN + "/two")
    env.reset(seed=0)
    assert env.peek().tabs == (ORIGIN + "/",)
    done(env.step("new_tab()"))
    done(env.step("tab_focus(0)"))
    assert env.peek().active == 0
    done(env.step("tab_close()"))
    assert "last tab" in refused(env.step("tab_close()"))
    env.close()


def test_pages_are_followed_through_links_forms_and_history() -> None:
    pages = {
        "/": "<a href=/form>on</a>",
        "/form": "<form method=post action=/done><input name=q><button>send</button></form>",
        "/done": "<script>location.href = '/last'</script>",
        "/last": "<title>last</title>",
    }
    env = visit(pages)
    done(env.step(f"click('{bid(env, name='on')}')"))
    done(env.step(f"fill('{bid(env, tag='input')}', 'a b')"))
    done(env.step(f"click('{bid(env, name='send')}')"))
    assert env.peek().title == "last"
    assert env.peek().server == ((b"q=a+b",),)
    done(env.step("go_back()"))
    assert env.peek().url in (ORIGIN + "/form", ORIGIN + "/done")
    assert "no page to go" not in env.world.observe()["last_action_error"]
    env.close()


def test_downloads_are_told_and_not_kept() -> None:
    file = Answer(200, {"content-disposition": "attachment; filename=a.bin", "content-type": "application/x-a"}, b"abc")
    env = visit({"/": "<a href=/file>get</a>", "/file": file})
    observation, *_, info = env.step(f"click('{bid(env, name='get')}')")
    assert info["process"]["grounded"]
    assert "offered for download and not kept: a.bin" in observation["text"]
    assert env.peek().url == ORIGIN + "/"
    env.close()


# ------------------------------------------------------------------ time and the network


def test_time_passes_only_with_actions_and_all_at_once() -> None:
    env = visit(
        "<p id=now></p><script>t = performance.now(); setTimeout(() => { document.title = 'later'; }, 1500);"
        "setInterval(() => { now.textContent = Date.now() - 1704110400000; }, 100);"
        "requestAnimationFrame(function f(at) { requestAnimationFrame(f); });</script>"
    )
    shown = [env.peek().find(id="now").name]  # type: ignore[union-attr]
    for _ in range(2):
        done(env.step("noop(700)"))
        shown.append(env.peek().find(id="now").name)  # type: ignore[union-attr]
    assert [int(b) - int(a) for a, b in pairwise(shown)] == [700, 700]
    assert env.peek().title == "later"
    env.close()


def test_what_a_page_draws_repeats() -> None:
    page = "<p id=r></p><script>r.textContent = [Math.random(), new Date(), navigator.language];</script>"
    seen = set()
    for _ in range(2):
        env = visit(page)
        seen.add(env.peek().find(id="r").name)  # type: ignore[union-attr]
        env.close()
    assert len(seen) == 1


def test_what_moves_under_the_mouse_is_seen_hovered() -> None:
    """The browser tells of it with a frame of its own, before or after an unhurried look; here, always before."""
    env = visit(
        "<style>body { margin: 0 } div { width: 200px; height: 40px }</style>"
        "<div id=a role=button onclick='up()'>a</div>"
        "<div id=b role=button onmouseenter='this.className = \"under\"'>b</div>"
        "<script>up = () => setTimeout(() => { a.style.height = '10px' }, 100)</script>"
    )
    for _ in range(10):
        env.reset(seed=0)
        done(env.step(f"click('{bid(env, id='a')}')"))
        node = env.peek().find(id="b")
        assert node is not None
        assert node.cls == "under"
    env.close()


def test_a_page_that_never_settles_is_read_anyway_and_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.envs.web.session.SETTLE_CAP", 200)
    env = visit(
        "<p id=p></p><script>const c = new MessageChannel();"
        "c.port1.onmessage = () => { p.textContent += 1; c.port2.postMessage(0); }; c.port2.postMessage(0);</script>"
    )
    observation, *_, info = env.step("noop()")
    assert info["process"]["grounded"]
    assert "still changing" in observation["text"]
    env.close()


@pytest.mark.parametrize(
    "page",
    [
        "<button onclick='fetch(\"http://elsewhere.test/?q=secret\").catch(() => {})'>x</button>",
        "<button onclick='new Image().src = \"http://127.0.0.1:9/\"'>x</button>",
        "<button onclick='location.href = \"http://elsewhere.test/\"'>x</button>",
        "<button onclick='new WebSocket(\"ws://elsewhere.test/\")'>x</button>",
        "<a href='http://elsewhere.test/'>x</a>",
        "<form action='http://elsewhere.test/' method=post><button>x</button></form>",
    ],
    ids=["fetch", "picture", "script", "socket", "link", "form"],
)
def test_the_network_is_closed_and_trying_is_dangerous(page: str) -> None:
    env = visit(page)
    *_, info = env.step(f"click('{bid(env, name='x')}')")
    if not info["process"]["danger"]:  # a socket is asked for a moment after the click
        *_, info = env.step("noop()")
    assert info["process"]["danger"]
    assert info["events"] == ("danger:outside",)
    assert env.peek().url == ORIGIN + "/", "the page stays"
    assert not done(env.step("noop()"))["process"]["danger"], "an event, not a level"
    env.close()


def test_going_outside_is_dangerous_and_leads_nowhere() -> None:
    env = visit("<p>here</p>")
    observation, *_, info = env.step("goto('http://elsewhere.test/')")
    assert info["process"]["danger"]
    assert "blocked: http://elsewhere.test/" in observation["text"]
    assert env.peek().url == ORIGIN + "/"
    env.close()


@pytest.mark.parametrize("script", ["document.open(); document.write(page)", "document.write(page)"])
def test_a_document_that_is_opened_again_and_never_closed_is_read_as_it_is(script: str) -> None:
    """It stays "loading" for ever; no look waits for that."""
    env = visit(
        "<script>const page = '<p>second</p><button onclick=\"document.title = `the end`\">on</button>'</script>"
        f"<button onclick='{script}'>write</button>"
    )
    began = time.monotonic()
    done(env.step(f"click('{bid(env, name='write')}')"))
    world: Any = env.world
    assert wait(world.read("document.readyState"), world.loop_name) == "loading"
    assert "second" in str(env.peek().nodes)
    assert done(env.step(f"click('{bid(env, name='on')}')"))["success"]
    assert time.monotonic() - began < LOAD_CAP / 1000
    env.close()


# ------------------------------------------------------------------ resets and observations


def test_a_reset_forgets_cookies_storage_and_what_was_held() -> None:
    page = (
        "<p id=p></p><script>p.textContent = [document.cookie, localStorage.x || 'none'].join();"
        "document.cookie = 'a=1'; localStorage.x = 'kept';</script>"
    )
    env = visit(page)
    first = env.peek()
    done(env.step("keyboard_down('Shift')"))
    done(env.step("mouse_down(300, 300)"))
    env.reset(seed=0)
    assert env.peek() == first
    env.close()


def test_only_the_parts_asked_for_in_their_space() -> None:
    env = visit(FORM, observation=PARTS)
    observation = env.step("click('1')")[0]
    assert set(observation) == set(PARTS)
    assert observation in env.observation_space
    assert observation["focused_element_bid"] == "1"
    assert observation["screenshot"].shape == (400, 600, 3)
    assert not np.array_equal(observation["screenshot"], observation["screenshot_som"])
    numbers = {n.get("browsergym_id") for n in observation["axtree_object"]["nodes"]} - {None}
    assert numbers >= {"1", "2", "3"}
    assert observation["extra_element_properties"]["1"]["clickable"] is False
    env.close()
    small = visit(FORM, observation=["url"])
    assert small.world.observe() == {"url": ORIGIN + "/"}
    small.close()


def test_the_text_of_a_page() -> None:
    env = visit(
        "<title>Shop</title><h1>Lamps</h1><p>Only <b>two</b> left.</p>"
        "<label>Name <input value=Jo></label><input type=password value=secret>"
        "<select><option>red</option><option selected>blue</option></select><button disabled>Buy</button>"
    )
    assert env.world.observe()["text"].splitlines() == [
        "page: Shop",
        '[1] heading "Lamps"',
        '"Only"',
        '[2] b "two"',
        '"left."',
        '[3] label',
        ' "Name"',
        ' [4] textbox "Name" value="Jo"',
        '[5] textbox value="••••••"',
        '[6] combobox value="blue" options: red | blue',
        '[7] button "Buy" disabled',
    ]  # fmt: skip
    env.close()


def test_a_page_without_end_is_cut_and_said_so() -> None:
    env = visit("<script>for (let k = 0; k < 5000; k++) document.write('<p>paragraph number ' + k + '</p>')</script>")
    observation = env.step("noop()")[0]
    assert len(observation["text"]) == 50_000
    assert observation["text"].endswith("this is all that is shown of it)")
    assert observation in env.observation_space
    env.close()


def test_wrong_options_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnknownName, match="screenshot"):
        visit("x", observation=["screnshot"])
    with pytest.raises(UsageError, match="at least one part"):
        visit("x", observation=[])
    with pytest.raises(UsageError, match="not an executable"):
        visit("x", chromium="/no/such/browser")
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("agentgym.envs.web.chromium.NAMES", ("chromium",))  # Debian's headless shell needs no PATH
    monkeypatch.setenv("HOME", "/nowhere")
    monkeypatch.delenv("AGENTGYM_CHROMIUM", raising=False)
    with pytest.raises(UsageError, match="apt-get install chromium-headless-shell"):
        visit("x")


def test_a_start_that_tells_its_goal() -> None:
    env = visit("<p>x</p>", start=Start(ORIGIN + "/", script="return document.body.textContent + '!'"))
    assert env.world.observe()["goal"] == "x!"
    env.close()


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every expression that a page is asked to evaluate."""
    found: list[str] = []
    run = Tab.run

    async def recorded(self: Tab, expression: str) -> Any:
        found.append(expression)
        return await run(self, expression)

    monkeypatch.setattr(Tab, "run", recorded)
    return found


@pytest.mark.parametrize("when", ["", "setTimeout(() => {", "setTimeout(async () => { await fetch('/slow');"])
def test_a_popup_that_closes_itself_is_gone_and_the_page_before_is_looked_at(when: str) -> None:
    """While it is pressed, while it is looked at, or later."""
    script = f"{when} window.close() {'})' if when else ''}"
    bye = f'<button onclick="{script}">bye</button>'
    pages = {"/": "<button onclick=\"window.open('/two')\">open</button>", "/two": bye}
    env = visit(pages)
    for _ in range(10):
        done(env.step(f"click('{bid(env, name='open')}')"))
        assert len(env.peek().tabs) == 2
        done(env.step(f"click('{bid(env, name='bye')}')"))
        assert env.peek().tabs == (ORIGIN + "/",)
    env.close()


def test_a_script_goes_once_to_every_document(sent: list[str]) -> None:
    """Sent again it would be compiled again, at every step; left out, a new document would not know it."""
    probe = "return document.title + ' is read'"
    pages = {"/": "<title>one</title><a href=/two>on</a>", "/two": "<title>two</title>"}
    env = visit(pages, start=Start(ORIGIN + "/", probe=probe, script="return word", given={"word": "the goal"}))
    assert (env.peek().probe, env.world.observe()["goal"]) == ("one is read", "the goal")
    assert sum(probe in text for text in sent) == 1
    done(env.step("noop()"))
    assert env.peek().probe == "one is read"
    assert sum(probe in text for text in sent) == 1
    done(env.step(f"click('{bid(env, name='on')}')"))
    assert env.peek().probe == "two is read"
    done(env.step("noop()"))
    assert env.peek().probe == "two is read"
    assert sum(probe in text for text in sent) == 2
    env.close()


def test_an_answer_at_hand_is_given_without_asking(monkeypatch: pytest.MonkeyPatch) -> None:
    """It needs no round trip for the request's headers, and the site is not asked."""
    known = Answer(200, {"content-type": "text/css"}, b"p { color: red }")
    monkeypatch.setattr(Pages, "known", lambda self, method, url: known if url.endswith(".css") else None)
    env = visit("<link rel=stylesheet href=/style.css><p>x</p>")
    world: Any = env.world
    assert world.sites[ORIGIN].asked == ["/"]
    red = "getComputedStyle(document.querySelector('p')).color"
    assert wait(world.read(red), world.loop_name) == "rgb(255, 0, 0)"
    env.close()


def test_what_playwright_switches_off_stays_off() -> None:
    """Chromium heeds its last list of features only, which is ours: it has to name Playwright's as well."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=find_chromium(), args=["--no-sandbox"])
        told = chromium.new_browser_cdp_session().send("SystemInfo.getProcessInfo")
        pid = next(process["id"] for process in told["processInfo"] if process["type"] == "browser")
        words = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        chromium.close()
    theirs = [word.partition("=")[2].split(",") for word in words if word.startswith("--disable-features=")]
    assert theirs, "Playwright no longer has such a list: ours need not repeat it"
    assert set(theirs[-1]) <= set(DISABLED)


async def command(browser: Any) -> list[str]:
    """The words that Chromium was started with."""
    told = await (await browser._chromium.new_browser_cdp_session()).send("SystemInfo.getProcessInfo")
    pid = next(process["id"] for process in told["processInfo"] if process["type"] == "browser")
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")


def test_where_frames_come_by_themselves_pictures_have_a_browser_that_draws_at_once(kind: str) -> None:
    envs = [visit(FORM, observation=parts) for parts in (["text"], ["text", "screenshot"], ["url"])]
    used = [env.world._session._browser for env in envs]
    words = [wait(command(one), LOOP) for one in used]
    if kind == "browser":
        assert used[0] is used[2]
        assert [AT_ONCE in each for each in words] == [False, True, False]
    else:
        assert used[0] is used[1] is used[2]
    assert [set(ON_DEMAND) <= set(each) for each in words] == 3 * [kind == "headless shell"]
    for env in envs:
        env.close()


def test_a_press_goes_where_the_last_look_found_the_way(sent: list[str]) -> None:
    """The page's time stands still in between, so that nothing need be asked; once a script has run, it is asked."""
    env = visit(
        "<button onclick='document.title = event.clientY'>go</button><p style='height:3000px'></p><button>far</button>"
    )
    world: Any = env.world
    go, far = bid(env, name="go"), bid(env, name="far")

    def asked(action: str) -> int:
        sent.clear()
        done(env.step(action))
        return sum("__agentgym.aim" in text for text in sent)

    assert asked(f"click('{go}')") == 0
    first = float(env.peek().title)
    assert asked(f"hover('{far}')") == 1, "it has to be scrolled to"
    assert asked(f"click('{go}')") == 1
    wait(world.read("(document.body.style.paddingTop = '100px', 0)"), world.loop_name)
    assert asked(f"click('{go}')") == 1, "the page may have changed"
    assert float(env.peek().title) > first + 50
    env.close()
