"""Carries out parsed actions with trusted input, where the element really can be reached."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

from agentgym.envs.web.actions import MAX_TYPED, Action
from agentgym.envs.web.session import Session
from agentgym.errors import WorldError

__all__ = ["perform"]

_BITS = {"Alt": 1, "Control": 2, "Meta": 4, "Shift": 8, "ControlOrMeta": 2}
DRAG_STEPS = 4


async def perform(session: Session, action: Action) -> str:
    """Do it; '' when done, else why it cannot be done, in a sentence for the agent (then nothing was done).

    Raises:
        agentgym.errors.WorldError: the page or the browser died.
    """
    tab = session.active
    try:
        return await _DO[action.verb](session, **action.args)
    except WorldError:
        if not session.closed(tab):  # a popup may close itself when pressed
            raise
        return ""
    finally:
        tab.points = {}


# ------------------------------------------------------------------ aiming


async def _aim(session: Session, bid: int, verb: str, given: Any = None) -> dict[str, Any]:
    """Where to press, or what was done already, or ``error`` (see `aim` in walker.js)."""
    if verb in ("click", "hover") and bid in session.active.points:
        x, y = session.active.points[bid]
        return {"x": x, "y": y}
    expression = (
        "JSON.stringify(window.__agentgym && __agentgym.aim "
        f"? __agentgym.aim({bid}, {json.dumps(verb)}, {json.dumps(given)}) : null)"
    )
    answer: dict[str, Any] | None = await session.active.run(expression)
    return answer or {"error": "the page has gone away"}


async def _mouse(session: Session, *events: tuple[str, float, float, dict[str, Any]]) -> None:
    """Trusted mouse events, sent at once and answered in order."""
    many = [{"type": kind, "x": x, "y": y, **more} for kind, x, y, more in events]
    sent = session.active.send_all("Input.dispatchMouseEvent", many)
    # A move waits for the next frame, unless something comes behind it that takes it along.
    await (session.active.drawn(sent) if events[-1][0] in ("mouseMoved", "mouseWheel") else sent)


def _press(x: float, y: float, button: str, modifiers: tuple[str, ...] = (), count: int = 1) -> list[Any]:
    bits = 0
    for name in modifiers:
        bits |= _BITS[name]
    held = {"button": button, "clickCount": count, "modifiers": bits}
    return [("mousePressed", x, y, held), ("mouseReleased", x, y, held)]


def _in_view(session: Session, x: float, y: float) -> str:
    width, height = session.viewport
    if 0 <= x < width and 0 <= y < height:
        return ""
    return f"({x:g}, {y:g}) is outside of the view, which is {width} wide and {height} high"


# ------------------------------------------------------------------ elements


async def _click(session: Session, bid: int, button: str, modifiers: tuple[str, ...], verb: str = "click") -> str:
    at = await _aim(session, bid, verb)
    if "x" in at:
        await _mouse(session, ("mouseMoved", at["x"], at["y"], {}), *_press(at["x"], at["y"], button, modifiers))
    return str(at.get("error", ""))


async def _dblclick(session: Session, bid: int, button: str, modifiers: tuple[str, ...]) -> str:
    at = await _aim(session, bid, "click")
    if "x" in at:
        x, y = at["x"], at["y"]
        twice = [*_press(x, y, button, modifiers), *_press(x, y, button, modifiers, 2)]
        await _mouse(session, ("mouseMoved", x, y, {}), *twice)
    return str(at.get("error", ""))


async def _hover(session: Session, bid: int) -> str:
    at = await _aim(session, bid, "hover")
    if "x" in at:
        await _mouse(session, ("mouseMoved", at["x"], at["y"], {}))
    return str(at.get("error", ""))


async def _fill(session: Session, bid: int, value: str) -> str:
    at = await _aim(session, bid, "fill", value)
    if at.get("type"):
        if value:
            await session.active.send("Input.insertText", {"text": value})
        else:
            await session.active.alive(session.active.page.keyboard.press("Delete"))
    return str(at.get("error", ""))


async def _clear(session: Session, bid: int) -> str:
    return await _fill(session, bid, "")


async def _check(session: Session, bid: int) -> str:
    return await _click(session, bid, "left", (), "check")


async def _uncheck(session: Session, bid: int) -> str:
    return await _click(session, bid, "left", (), "uncheck")


async def _select(session: Session, bid: int, options: tuple[str, ...]) -> str:
    return str((await _aim(session, bid, "select", list(options))).get("error", ""))


async def _focus(session: Session, bid: int) -> str:
    return str((await _aim(session, bid, "focus")).get("error", ""))


async def _key(session: Session, bid: int, key_comb: str) -> str:
    error = await _focus(session, bid)
    return error or await _keyboard_press(session, key_comb)


async def _drag(session: Session, from_bid: int, to_bid: int) -> str:
    end = await _aim(session, to_bid, "hover")
    start = await _aim(session, from_bid, "drag")
    if error := start.get("error") or end.get("error"):
        return str(error)
    end = await _aim(session, to_bid, "hover")  # bringing the first into view may have moved it
    if "error" in end:
        return str(end["error"])
    return await _mouse_drag(session, start["x"], start["y"], end["x"], end["y"])


# ------------------------------------------------------------------ the view


async def _scroll(session: Session, delta_x: float, delta_y: float) -> str:
    width, height = session.viewport
    x, y = session.pointer or (width / 2, height / 2)
    if session.active.on_demand:
        await session.active.frame()  # what can be scrolled is known from the last one
    await _mouse(session, ("mouseWheel", x, y, {"deltaX": delta_x, "deltaY": delta_y}))
    await session.active.drawn(session.active.run(_TWO_FRAMES))
    return ""


_TWO_FRAMES = "__agentgym.clock.frame().then(() => __agentgym.clock.frame()).then(() => 'true')"


async def _mouse_move(session: Session, x: float, y: float) -> str:
    if error := _in_view(session, x, y):
        return error
    session.pointer = (x, y)
    await _mouse(session, ("mouseMoved", x, y, {"buttons": 1 if session.held else 0}))
    return ""


async def _mouse_down(session: Session, x: float, y: float, button: str) -> str:
    if error := _in_view(session, x, y):
        return error
    session.pointer = (x, y)
    session.held.add(button)
    await _mouse(session, ("mouseMoved", x, y, {}), _press(x, y, button)[0])
    return ""


async def _mouse_up(session: Session, x: float, y: float, button: str) -> str:
    if error := _in_view(session, x, y):
        return error
    session.pointer = (x, y)
    held = {"buttons": 1} if button in session.held else {}
    session.held.discard(button)
    await _mouse(session, ("mouseMoved", x, y, {"button": button, **held} if held else {}), _press(x, y, button)[1])
    return ""


async def _mouse_click(session: Session, x: float, y: float, button: str) -> str:
    if error := _in_view(session, x, y):
        return error
    session.pointer = (x, y)
    await _mouse(session, ("mouseMoved", x, y, {}), *_press(x, y, button))
    return ""


async def _mouse_dblclick(session: Session, x: float, y: float, button: str) -> str:
    if error := _in_view(session, x, y):
        return error
    session.pointer = (x, y)
    await _mouse(session, ("mouseMoved", x, y, {}), *_press(x, y, button), *_press(x, y, button, (), 2))
    return ""


async def _mouse_drag(session: Session, from_x: float, from_y: float, to_x: float, to_y: float) -> str:
    """Press, move in a few steps, release; through Playwright, which also carries out the page's own drag and drop."""
    if error := _in_view(session, from_x, from_y) or _in_view(session, to_x, to_y):
        return error
    session.pointer = (to_x, to_y)
    mouse, drawn = session.active.page.mouse, session.active.drawn
    await drawn(mouse.move(from_x, from_y))
    await drawn(mouse.down())
    await drawn(mouse.move(to_x, to_y, steps=DRAG_STEPS))
    await drawn(mouse.up())
    return ""


# ------------------------------------------------------------------ the keyboard


async def _keyboard_press(session: Session, key: str) -> str:
    await session.active.alive(session.active.page.keyboard.press(key))
    return ""


async def _keyboard_down(session: Session, key: str) -> str:
    session.keys.add(key)
    await session.active.alive(session.active.page.keyboard.down(key))
    return ""


async def _keyboard_up(session: Session, key: str) -> str:
    session.keys.discard(key)
    await session.active.alive(session.active.page.keyboard.up(key))
    return ""


async def _keyboard_type(session: Session, text: str) -> str:
    if len(text) > MAX_TYPED:
        return f"at most {MAX_TYPED} characters are typed key by key; fill or keyboard_insert_text take more"
    await session.active.alive(session.active.page.keyboard.type(text))
    return ""


async def _insert(session: Session, text: str) -> str:
    if text:
        await session.active.send("Input.insertText", {"text": text})
    return ""


# ------------------------------------------------------------------ going places


async def _goto(session: Session, url: str) -> str:
    if not session.allows(url, navigation=True):
        session.blocked.append(url)
        return ""
    await session.goto(url)
    return ""


async def _history(session: Session, way: str) -> str:
    can = await session.active.run(f"JSON.stringify(!!window.navigation && navigation.canGo{way})")
    if not can:
        return f"there is no page to go {way.lower()} to"
    page = session.active.page
    await session.active.alive(page.go_back() if way == "Back" else page.go_forward(), what="the other page")
    return ""


async def _go_back(session: Session) -> str:
    return await _history(session, "Back")


async def _go_forward(session: Session) -> str:
    return await _history(session, "Forward")


async def _new_tab(session: Session) -> str:
    if session.full:
        return "no more tabs can be opened; close one first"
    await session.new_tab()
    return ""


async def _tab_close(session: Session) -> str:
    if len(session.tabs) == 1:
        return "the last tab stays open"
    await session.close_tab(session.active)
    return ""


async def _tab_focus(session: Session, index: int) -> str:
    if index >= len(session.tabs):
        return f"there is no tab {index}; there are {len(session.tabs)}"
    await session.focus(session.tabs[index])
    return ""


# ------------------------------------------------------------------ neither page nor keys


async def _noop(session: Session, wait_ms: float) -> str:
    return ""


async def _say(session: Session, text: str) -> str:
    session.messages.append(("said", text))
    return ""


async def _give_up(session: Session, reason: str) -> str:
    session.messages.append(("infeasible", reason))
    return ""


_DO: dict[str, Callable[..., Awaitable[str]]] = {
    "click": _click,
    "dblclick": _dblclick,
    "hover": _hover,
    "fill": _fill,
    "clear": _clear,
    "check": _check,
    "uncheck": _uncheck,
    "select_option": _select,
    "press": _key,
    "focus": _focus,
    "drag_and_drop": _drag,
    "scroll": _scroll,
    "mouse_move": _mouse_move,
    "mouse_down": _mouse_down,
    "mouse_up": _mouse_up,
    "mouse_click": _mouse_click,
    "mouse_dblclick": _mouse_dblclick,
    "mouse_drag_and_drop": _mouse_drag,
    "keyboard_press": _keyboard_press,
    "keyboard_down": _keyboard_down,
    "keyboard_up": _keyboard_up,
    "keyboard_type": _keyboard_type,
    "keyboard_insert_text": _insert,
    "goto": _goto,
    "go_back": _go_back,
    "go_forward": _go_forward,
    "new_tab": _new_tab,
    "tab_close": _tab_close,
    "tab_focus": _tab_focus,
    "noop": _noop,
    "send_msg_to_user": _say,
    "report_infeasible": _give_up,
}
