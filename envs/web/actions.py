"""Actions as text: BrowserGym's strings (``click('12')``) and JSON tool calls, parsed by a whitelist, never executed.

One action a step. A string is read by Python's own parser and must be one call of a known name with literal arguments;
a text that begins with ``{`` is read as JSON: ``{"name": "click", "arguments": {"bid": "12"}}`` (also
``{"action": "click", "bid": "12"}`` and OpenAI's ``{"function": {"name": …, "arguments": "…"}}``).
"""

from __future__ import annotations

import ast
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

__all__ = ["KEYS", "MAX_ACTION", "VERBS", "Action", "BadAction", "call", "describe", "parse"]

MAX_ACTION = 20_000
"""Longest action that is read, in characters; a longer one is not grounded."""

KEYS = frozenset(
    "Enter Tab Escape Backspace Delete Insert Home End PageUp PageDown ArrowLeft ArrowRight ArrowUp ArrowDown Space "
    "Shift Control Alt Meta F1 F2 F3 F4 F5 F6 F7 F8 F9 F10 F11 F12".split()
)
"""Named keys; besides, every single printable ASCII character is a key."""
_MODIFIERS = ("Shift", "Control", "Alt", "Meta", "ControlOrMeta")


class BadAction(Exception):
    """Why a text is no action, in a sentence for the agent."""


@dataclass(frozen=True)
class Action:
    """One parsed action: a verb of `VERBS` and all its arguments, checked for type and form."""

    verb: str
    args: Mapping[str, Any]


# ------------------------------------------------------------------ kinds of arguments


def _bid(value: Any) -> int:
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise BadAction(f"an element is named by its number, like '12', not {_short(value)}")
    return int(text)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise BadAction(f"expected a string, got {_short(value)}")
    if any(ord(c) < 32 and c not in "\n\t" or 0xD800 <= ord(c) <= 0xDFFF or c == "\x7f" for c in value):
        raise BadAction("the text holds control characters or half a surrogate pair, which no keyboard gives")
    return value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value) or abs(value) > 1e6:
        raise BadAction(f"expected a number, got {_short(value)}")
    return float(value)


def _wait(value: Any) -> float:
    number = _number(value)
    if not 0 <= number <= 60_000:
        raise BadAction(f"a wait is 0 to 60000 milliseconds, not {_short(value)}")
    return number


def _index(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 100:
        raise BadAction(f"a tab is named by its place, 0, 1, …, not {_short(value)}")
    return value


def _button(value: Any) -> str:
    if value not in ("left", "middle", "right"):
        raise BadAction(f"a button is 'left', 'middle' or 'right', not {_short(value)}")
    return str(value)


def _modifiers(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(m, str) and m in _MODIFIERS for m in value):
        raise BadAction(f"modifiers are a list of {', '.join(_MODIFIERS)}, not {_short(value)}")
    return tuple(value)


def _options(value: Any) -> tuple[str, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, list) or not given or len(given) > 100:
        raise BadAction(f"options are a string or a list of strings, not {_short(value)}")
    return tuple(map(_text, given))


def _key(value: Any) -> str:
    """One key, or a combination like ``Control+a``."""
    text = _text(value)
    parts = text.split("+") if text != "+" and not text.endswith("++") else [*text[:-2].split("+"), "+"][text == "+" :]
    *held, key = parts
    named = key in KEYS or (len(key) == 1 and 32 <= ord(key) < 127)
    if not named or not all(part in _MODIFIERS for part in held):
        raise BadAction(f"no such key: {_short(value)} (like 'Enter', 'a' or 'Control+a')")
    return text


def _url(value: Any) -> str:
    text = _text(value).strip()
    try:
        parts = urlsplit(text)
        fine = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        fine = False
    if not fine or len(text) > 2000:
        raise BadAction(f"an address begins with http:// or https:// and has a host, not {_short(value)}")
    return text


_Kind = Callable[[Any], Any]
_REQUIRED = object()

VERBS: dict[str, dict[str, tuple[_Kind, Any]]] = {
    "click": {"bid": (_bid, _REQUIRED), "button": (_button, "left"), "modifiers": (_modifiers, [])},
    "dblclick": {"bid": (_bid, _REQUIRED), "button": (_button, "left"), "modifiers": (_modifiers, [])},
    "hover": {"bid": (_bid, _REQUIRED)},
    "fill": {"bid": (_bid, _REQUIRED), "value": (_text, _REQUIRED)},
    "clear": {"bid": (_bid, _REQUIRED)},
    "check": {"bid": (_bid, _REQUIRED)},
    "uncheck": {"bid": (_bid, _REQUIRED)},
    "select_option": {"bid": (_bid, _REQUIRED), "options": (_options, _REQUIRED)},
    "press": {"bid": (_bid, _REQUIRED), "key_comb": (_key, _REQUIRED)},
    "focus": {"bid": (_bid, _REQUIRED)},
    "drag_and_drop": {"from_bid": (_bid, _REQUIRED), "to_bid": (_bid, _REQUIRED)},
    "scroll": {"delta_x": (_number, _REQUIRED), "delta_y": (_number, _REQUIRED)},
    "mouse_move": {"x": (_number, _REQUIRED), "y": (_number, _REQUIRED)},
    "mouse_down": {"x": (_number, _REQUIRED), "y": (_number, _REQUIRED), "button": (_button, "left")},
    "mouse_up": {"x": (_number, _REQUIRED), "y": (_number, _REQUIRED), "button": (_button, "left")},
    "mouse_click": {"x": (_number, _REQUIRED), "y": (_number, _REQUIRED), "button": (_button, "left")},
    "mouse_dblclick": {"x": (_number, _REQUIRED), "y": (_number, _REQUIRED), "button": (_button, "left")},
    "mouse_drag_and_drop": {name: (_number, _REQUIRED) for name in ("from_x", "from_y", "to_x", "to_y")},
    "keyboard_press": {"key": (_key, _REQUIRED)},
    "keyboard_down": {"key": (_key, _REQUIRED)},
    "keyboard_up": {"key": (_key, _REQUIRED)},
    "keyboard_type": {"text": (_text, _REQUIRED)},
    "keyboard_insert_text": {"text": (_text, _REQUIRED)},
    "goto": {"url": (_url, _REQUIRED)},
    "go_back": {},
    "go_forward": {},
    "new_tab": {},
    "tab_close": {},
    "tab_focus": {"index": (_index, _REQUIRED)},
    "noop": {"wait_ms": (_wait, 1000)},
    "send_msg_to_user": {"text": (_text, _REQUIRED)},
    "report_infeasible": {"reason": (_text, _REQUIRED)},
}
"""Verb -> argument -> (what it must be, its default). Names, order and defaults are BrowserGym's; ``scroll`` and
``mouse_*`` are in CSS pixels of the view, ``noop`` in milliseconds of the page's clock."""


def describe(verbs: Mapping[str, Any] | tuple[str, ...] | frozenset[str]) -> str:
    """The signatures of some verbs, one a line, for a prompt."""
    lines = []
    for verb, arguments in VERBS.items():
        if verb in verbs:
            shown = [n if d is _REQUIRED else f"{n}={d!r}" for n, (_, d) in arguments.items()]
            lines.append(f"{verb}({', '.join(shown)})")
    return "\n".join(lines)


def parse(text: str) -> Action:
    """Read one action.

    Raises:
        BadAction: the text is no action; says why.
    """
    if len(text) > MAX_ACTION:
        raise BadAction(f"an action has at most {MAX_ACTION} characters, this one {len(text)}")
    stripped = text.strip()
    if not stripped:
        raise BadAction("an empty action; say something like click('12') or noop()")
    return _from_json(stripped) if stripped.startswith("{") else _from_call(stripped)


def call(verb: str, *args: Any) -> str:
    """Write an action as text, e.g. ``call("fill", "13", "x")`` -> ``fill('13', 'x')``."""
    return f"{verb}({', '.join(map(repr, args))})"


def _from_call(text: str) -> Action:
    try:
        node = ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError):
        raise BadAction(f"expected one call like click('12'), got {_short(text)}") from None
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise BadAction(f"expected one call like click('12'), got {_short(text)}")
    verb = node.func.id
    names = list(_arguments(verb))
    if len(node.args) > len(names):
        raise BadAction(f"{verb} takes at most {len(names)} arguments, got {len(node.args)}")
    given = {name: _literal(value) for name, value in zip(names, node.args, strict=False)}
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in given:
            raise BadAction(f"{verb}: argument {keyword.arg or '**'} is given twice or unpacked")
        given[keyword.arg] = _literal(keyword.value)
    return _bind(verb, given)


def _literal(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float, bool, type(None))):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        value = _literal(node.operand)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return -value if isinstance(node.op, ast.USub) else value
    if isinstance(node, ast.List):
        return [_literal(item) for item in node.elts]
    raise BadAction("arguments are plain strings, numbers and lists of strings")


def _from_json(text: str) -> Action:
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise BadAction(f"not JSON: {_short(text)}") from None
    if isinstance(content.get("function"), dict):
        content = content["function"]
    verb = content.get("name", content.get("action"))
    if not isinstance(verb, str):
        raise BadAction('a tool call has a "name", like {"name": "click", "arguments": {"bid": "12"}}')
    given = content.get("arguments", content.get("args"))
    if isinstance(given, str):
        try:
            given = json.loads(given)
        except (ValueError, RecursionError):
            raise BadAction('"arguments" is not JSON') from None
    if given is None:
        given = {k: v for k, v in content.items() if k not in ("name", "action", "id", "type")}
    if not isinstance(given, dict):
        raise BadAction('"arguments" is an object, like {"bid": "12"}')
    return _bind(verb, given)


def _arguments(verb: str) -> dict[str, tuple[_Kind, Any]]:
    if verb not in VERBS:
        raise BadAction(f"unknown action {_short(verb)}; known: {', '.join(VERBS)}")
    return VERBS[verb]


def _bind(verb: str, given: dict[str, Any]) -> Action:
    arguments = _arguments(verb)
    if unknown := given.keys() - arguments.keys():
        raise BadAction(f"{verb} has no argument {_short(sorted(map(str, unknown))[0])}; it takes {list(arguments)}")
    bound = {}
    for name, (kind, default) in arguments.items():
        value = given.get(name, default)
        if value is _REQUIRED:
            raise BadAction(f"{verb} needs {name}")
        bound[name] = kind(value)
    return Action(verb, bound)


def _short(value: Any) -> str:
    shown = ascii(value if not isinstance(value, str) else value[:80])
    return shown if len(shown) <= 60 else shown[:57] + "..."
