"""What can be done on a page: a list to choose from that also knows the actions it cannot spell out.

Texts, coordinates and addresses are endless; the list holds examples of them, and ``action in actions`` tells of any
action whether it is applicable.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterable, Mapping
from typing import Any

from agentgym.envs.web.actions import Action, BadAction, call, parse

__all__ = ["Applicable", "words_of"]

MAX_TEXTS = 12
_Entry = list[Any]


class Applicable(tuple[str, ...]):
    """Applicable actions: examples in order, and membership for all.

    Args:
        table: per element: [reach, kind of value, options, focusable, checkable, multiple] (see walker.js).
        texts: what the examples type.
        verbs: those of the environment.
        viewport: width and height.
        tabs: how many are open, how many may be, whether one can go back and forward.
    """

    def __new__(
        cls,
        table: Mapping[str, _Entry],
        texts: Iterable[str],
        verbs: frozenset[str],
        viewport: tuple[int, int],
        tabs: tuple[int, int, bool, bool],
    ) -> Applicable:
        made = super().__new__(cls, tuple(_examples(table, tuple(texts), verbs, tabs)))
        made._about = ({int(k): v for k, v in table.items()}, verbs, viewport, tabs)
        return made

    _about: tuple[dict[int, _Entry], frozenset[str], tuple[int, int], tuple[int, int, bool, bool]]

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, (tuple(self), self._about)

    def __contains__(self, action: object) -> bool:
        if not isinstance(action, str):
            return False
        try:
            parsed = parse(action)
        except BadAction:
            return False
        table, verbs, viewport, tabs = self._about
        return parsed.verb in verbs and _fits(parsed, table, viewport, tabs)


def _again(examples: tuple[str, ...], about: Any) -> Applicable:
    made = tuple.__new__(Applicable, examples)
    made._about = about
    return made


def _fits(
    action: Action, table: Mapping[int, _Entry], viewport: tuple[int, int], tabs: tuple[int, int, bool, bool]
) -> bool:
    args, verb = action.args, action.verb
    if verb == "drag_and_drop":
        return _reach(table, args["from_bid"]) == 2 and _reach(table, args["to_bid"]) > 0
    if "bid" in args:
        entry = table.get(args["bid"])
        if entry is None:
            return False
        reach, kind, options, focusable, checkable, multiple = entry
        if verb == "hover":
            return bool(reach > 0)
        if verb in ("focus", "press"):
            return bool(focusable)
        if verb in ("fill", "clear"):
            return bool(kind) and _is_value(kind, args.get("value", ""))
        if verb in ("check", "uncheck"):
            return bool(checkable)
        if verb == "select_option":
            names = {" ".join(text.split()) for option in options or () for text in option}
            given = [" ".join(text.split()) for text in args["options"]]
            return bool(options) and all(g in names for g in given) and (multiple or len(given) == 1)
        return bool(reach == 2)
    places = [(args[x], args[y]) for x, y in (("x", "y"), ("from_x", "from_y"), ("to_x", "to_y")) if x in args]
    if not all(0 <= x < viewport[0] and 0 <= y < viewport[1] for x, y in places):
        return False
    count, most, back, forward = tabs
    rules = {
        "keyboard_type": lambda: len(args["text"]) <= 1000,
        "go_back": lambda: back,
        "go_forward": lambda: forward,
        "new_tab": lambda: count < most,
        "tab_close": lambda: count > 1,
        "tab_focus": lambda: args["index"] < count,
    }
    return bool(rules[verb]()) if verb in rules else True


def _reach(table: Mapping[int, _Entry], bid: int) -> int:
    return int(table[bid][0]) if bid in table else 0


def _is_value(kind: str, value: str) -> bool:
    """Whether an input of this type takes the value."""
    if value == "":
        return kind not in ("color", "range")
    try:
        if kind == "number":
            float(value)
        elif kind == "range":
            return bool(re.fullmatch(r"-?\d+(\.\d+)?", value))
        elif kind == "date":
            return datetime.date.fromisoformat(value).isoformat() == value
        elif kind == "time":
            return bool(re.fullmatch(r"([01]\d|2[0-3]):[0-5]\d", value))
        elif kind == "color":
            return bool(re.fullmatch(r"#[0-9a-f]{6}", value))
        elif kind in ("datetime-local", "month", "week"):
            return bool(re.fullmatch(r"\d{4}-(W?\d\d)(-\d\dT\d\d:\d\d)?", value))
    except ValueError:
        return False
    return True


def _examples(
    table: Mapping[str, _Entry], texts: tuple[str, ...], verbs: frozenset[str], tabs: tuple[int, int, bool, bool]
) -> Iterable[str]:
    for bid, (reach, kind, options, _, _, _) in table.items():
        if reach == 2:
            yield call("click", bid)
        if kind and _is_value(kind, "") and "clear" in verbs:
            yield call("clear", bid)
        for text in texts if kind else ():
            if _is_value(kind, text):
                yield call("fill", bid, text)
        for option in options or ():
            yield call("select_option", bid, option[1])
    if "scroll" in verbs:
        yield from (call("scroll", 0, 100), call("scroll", 0, -100))
    if "keyboard_press" in verbs:
        yield call("keyboard_press", "Enter")
    count, most, back, forward = tabs
    for verb, fits in (("go_back", back), ("go_forward", forward), ("tab_close", count > 1), ("new_tab", count < most)):
        if verb in verbs and fits:
            yield call(verb)
    for k in range(count if count > 1 and "tab_focus" in verbs else 0):
        yield call("tab_focus", k)
    if "noop" in verbs:
        yield call("noop")


def words_of(goal: str) -> tuple[str, ...]:
    """Texts that a goal suggests typing: what it puts in quotes, else its words and numbers."""
    quoted = re.findall(r'"([^"]+)"', goal) + re.findall(r"'([^']+)'", goal)
    plain = re.findall(r"[\w@.\-/:]*[\w@]", goal) if not quoted else []
    return tuple(dict.fromkeys([*quoted, *plain]))[:MAX_TEXTS]
