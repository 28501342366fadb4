"""Choices: put every box, button or counter of a list into the wanted state, then submit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

from agentgym.envs.web.actions import call
from agentgym.envs.web.miniwob.kind import Kind, Want, click, need
from agentgym.envs.web.miniwob.kinds.forms import found
from agentgym.envs.web.view import Node, PageState

__all__ = ["TASKS"]


def _submit(state: PageState) -> str:
    node = state.find(id="subbtn") or state.find(id="submit")
    return click(node or next((n for n in state.all(tag="button") if n.name in ("Submit", "Order!")), None), "button")


class Boxes(Kind):
    """Checkboxes by their labels; the probe gives [label, checked] for each.

    Args:
        same: whether a label is meant by a word of the goal.
    """

    steps = {"marked": "All boxes of the goal are set.", "clean": "No other box is set."}
    probe = (
        "return {boxes: [...document.querySelectorAll('#area label')].map(l => [l.textContent.trim(), "
        "l.querySelector('input').checked]), words: typeof SYNONYMS === 'undefined' ? [] : SYNONYMS};"
    )
    horizon = 30

    def __init__(self, pattern: str = r"^Select (.*) and click Submit", soft: bool = False) -> None:
        self._pattern, self._soft = pattern, soft

    def read(self, told: str, start: PageState) -> tuple[bool, ...]:
        """For each box, whether it is wanted."""
        words = found(self._pattern, told)[1].split(", ")
        labels = [label for label, _ in start.probe["x"]["boxes"]]
        if not self._soft:
            return tuple(label in words for label in labels)
        groups = [set(group) for group in start.probe["x"]["words"]]
        return tuple(any(label in g and word in g for g in groups for word in words) for label in labels)

    def wants(self, goal: tuple[bool, ...], state: PageState) -> list[Want]:
        """Every box is as wanted."""
        nodes = [*state.all(role="checkbox")]
        wants = []
        for k, wanted in enumerate(goal):
            is_set = state.probe["x"]["boxes"][k][1]
            wants.append(Want("marked" if wanted else "clean", is_set == wanted, click(nodes[k]) if k < len(nodes) else ""))
        return wants

    def finish(self, goal: tuple[bool, ...], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: tuple[bool, ...], peek: Callable[[], PageState]) -> Iterator[str]:
        """Set the first box against the goal, and submit."""
        boxes = [*peek().all(role="checkbox")]
        if boxes and not goal[0]:
            yield click(boxes[0])
        yield self.finish(goal, peek())


class Digit(Kind):
    """Draw a digit in a grid of checkboxes."""

    steps = {"drawn": "All boxes of the figure are set.", "clean": "No other box is set."}
    probe = "return PATTERNS.map(p => p.flat());"
    horizon = 40

    def read(self, told: str, start: PageState) -> tuple[bool, ...]:
        """For each box, whether it belongs to the figure."""
        return tuple(map(bool, start.probe["x"][int(found(r'number "(\d)"', told)[1])]))

    def wants(self, goal: tuple[bool, ...], state: PageState) -> list[Want]:
        """Every box is as in the example."""
        boxes = [*state.all(role="checkbox")]
        return [
            Want("drawn" if wanted else "clean", box.checked == wanted, click(box))
            for wanted, box in zip(goal, boxes, strict=True)
        ]

    def finish(self, goal: tuple[bool, ...], state: PageState) -> str:
        """Submit."""
        return _submit(state)


class Radio(Kind):
    """One radio button by its label."""

    steps = {"chosen": "The right one is set."}
    horizon = 15

    def read(self, told: str, start: PageState) -> str:
        """The label."""
        return found(r"^Select (.*) and click Submit", told)[1]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """It is set."""
        node = need(state.find(role="radio", name=goal), "radio button")
        return [Want("chosen", node.checked, click(node))]

    def finish(self, goal: str, state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Set another one, and submit."""
        yield click(next(n for n in peek().all(role="radio") if n.name != goal))
        yield self.finish(goal, peek())


class Listed(Kind):
    """One or more options of a list."""

    steps = {"chosen": "What the goal names is chosen, and nothing else."}
    horizon = 15

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern

    def read(self, told: str, start: PageState) -> list[str]:
        """The options."""
        return found(self._pattern, told)[1].split(", ")

    def wants(self, goal: list[str], state: PageState) -> list[Want]:
        """They are chosen."""
        node = need(state.find(tag="select"), "list")
        done = sorted(node.value.split(", ")) == sorted(goal)
        return [Want("chosen", done, call("select_option", str(node.bid), goal if len(goal) > 1 else goal[0]))]

    def finish(self, goal: list[str], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: list[str], peek: Callable[[], PageState]) -> Iterator[str]:
        """Choose something else, and submit."""
        node = need(peek().find(tag="select"), "list")
        yield call("select_option", str(node.bid), next(o for o in node.options if o not in goal))
        yield self.finish(goal, peek())


class Parity(Kind):
    """Mark numbers as odd or even."""

    steps = {"one": "One number is marked rightly.", "all": "All are."}
    horizon = 15

    def read(self, told: str, start: PageState) -> list[str]:
        """The class of the button to press in each row."""
        return ["odd" if int(n.name) % 2 else "even" for n in start.all(cls="display-number")]

    def wants(self, goal: list[str], state: PageState) -> list[Want]:
        """In every row the right button is selected."""
        odd, even = [*state.all(cls="odd")], [*state.all(cls="even")]
        picks = [(odd if word == "odd" else even)[k] for k, word in enumerate(goal)]
        return [Want("one" if k == 0 else "all", n.has("selected"), click(n)) for k, n in enumerate(picks)]

    def finish(self, goal: list[str], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: list[str], peek: Callable[[], PageState]) -> Iterator[str]:
        """Mark the first number wrongly, and submit."""
        yield click(peek().find(cls="even" if goal[0] == "odd" else "odd"))
        yield self.finish(goal, peek())


class Shades(Kind):
    """Select all shades of a colour."""

    steps = {"half": "Half of the shades are selected.", "all": "All of them.", "clean": "No other one is selected."}
    probe = "return [...document.querySelectorAll('#area span')].map(s => s.getAttribute('data-color'));"
    horizon = 25

    def read(self, told: str, start: PageState) -> list[bool]:
        """For each shade, whether it is wanted."""
        colour = found(r"shades of (\w+)", told)[1]
        return [c == colour for c in start.probe["x"]]

    def wants(self, goal: list[bool], state: PageState) -> list[Want]:
        """Exactly those are selected."""
        shades = [n for n in state.all(tag="span") if "background-color" in n.form]
        order = [k for k, wanted in enumerate(goal) if wanted]
        wants = []
        for k, (wanted, node) in enumerate(zip(goal, shades, strict=True)):
            step = "clean" if not wanted else "half" if order.index(k) < (len(order) + 1) // 2 else "all"
            wants.append(Want(step, node.has("selected") == wanted, click(node)))
        return wants

    def finish(self, goal: list[bool], state: PageState) -> str:
        """Submit."""
        return _submit(state)


class Posts(Kind):
    """Press a button on posts of one user, then submit.

    Args:
        some: on so many of them as the goal says, not on all.
    """

    steps = {"first": "The button is pressed on one of the posts.", "enough": "On as many as the goal says.", "clean": "Nothing else is."}
    probe = (
        "return [...document.querySelectorAll('.media')].map(m => [m.querySelector('.username').textContent, "
        "...['reply', 'retweet', 'like', 'share'].map(c => m.querySelector('.' + c).classList.contains('active'))]);"
    )
    horizon = 30
    _BUTTONS = ("reply", "retweet", "like", "share")

    def __init__(self, some: bool) -> None:
        self._some = some

    def read(self, told: str, start: PageState) -> tuple[str, str, int]:
        """The button, the user, and on how many posts."""
        m = found(r'Click the "(\w+)" button on (\w+) posts? by (@\S+) and', told)
        mine = sum(row[0] == m[3] for row in start.probe["x"])
        return m[1].lower(), m[3], int(m[2]) if self._some else mine

    def wants(self, goal: tuple[str, str, int], state: PageState) -> list[Want]:
        """That button on that many posts of the user, and no other."""
        button, user, count = goal
        rows, nodes = state.probe["x"], [*state.all(cls=button)]
        place = 1 + self._BUTTONS.index(button)
        mine = [k for k, row in enumerate(rows) if row[0] == user]
        on = [k for k in mine if rows[k][place]]
        off = [k for k in mine if k not in on]
        wants = []
        for n in range(count):
            done = n < len(on)
            do = "" if done or not off else click(nodes[off[min(n - len(on), len(off) - 1)]])
            wants.append(Want("first" if n == 0 else "enough", done, do))
        stray = self._stray(goal, state, on[count:])
        return [*wants, Want("clean", stray is None, click(stray) if stray else "")]

    def _stray(self, goal: tuple[str, str, int], state: PageState, over: list[int]) -> Node | None:
        """A button that is pressed and should not be."""
        button, user, _ = goal
        for k, row in enumerate(state.probe["x"]):
            for place, name in enumerate(self._BUTTONS, 1):
                if row[place] and (row[0] != user or name != button or k in over):
                    return [*state.all(cls=name)][k]
        return None

    def finish(self, goal: tuple[str, str, int], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: tuple[str, str, int], peek: Callable[[], PageState]) -> Iterator[str]:
        """Press another button of the first post, and submit."""
        yield click(peek().find(cls=next(b for b in self._BUTTONS if b != goal[0])))
        yield self.finish(goal, peek())


class Order(Kind):
    """Order dishes by name, or so many of a type."""

    steps = {"first": "One right dish is ordered.", "enough": "As many as the goal says.", "clean": "And nothing else."}
    probe = (
        "return [...document.querySelectorAll('.food-item')].map(f => [MENU[f.dataset.id].name.trim(), "
        "MENU[f.dataset.id].types, Number(f.dataset.quantity)]);"
    )
    horizon = 20

    def read(self, told: str, start: PageState) -> dict[str, Any]:
        """Which dishes count, and how many: of each one, or in all."""
        dishes = start.probe["x"]
        if m := re.search(r"Order (\d+) items that are (\S+)", told):
            fitting = [k for k, dish in enumerate(dishes) if m[2] in dish[1]]
            return {"fitting": fitting, "each": False, "count": int(m[1])}
        names = [name.strip() for name in found(r"one of each item: (.*)", told)[1].split(",")]
        fitting = [k for k, dish in enumerate(dishes) if dish[0] in names]
        return {"fitting": fitting, "each": True, "count": len(names)}

    def wants(self, goal: dict[str, Any], state: PageState) -> list[Want]:
        """Exactly those dishes are ordered."""
        counts = [dish[2] for dish in state.probe["x"]]
        adds, removes = [*state.all(cls="add")], [*state.all(cls="remove")]
        fitting, need_count = goal["fitting"], goal["count"]
        if goal["each"]:
            good = sum(counts[k] > 0 for k in fitting)
            next_one = next((k for k in fitting if not counts[k]), fitting[0])
            stray = next((k for k, c in enumerate(counts) if c > (k in fitting)), None)
        else:
            good = min(sum(counts[k] for k in fitting), need_count)
            next_one = fitting[0]
            over = sum(counts[k] for k in fitting) - need_count
            stray = next((k for k, c in enumerate(counts) if c and (k not in fitting or over > 0)), None)
        wants = [
            Want("first" if n == 0 else "enough", n < good, "" if n < good else click(adds[next_one]))
            for n in range(need_count)
        ]
        return [*wants, Want("clean", stray is None, "" if stray is None else click(removes[stray]))]

    def finish(self, goal: dict[str, Any], state: PageState) -> str:
        """Order."""
        return _submit(state)

    def wrong(self, goal: dict[str, Any], peek: Callable[[], PageState]) -> Iterator[str]:
        """Order a dish that does not fit."""
        adds = [*peek().all(cls="add")]
        yield click(adds[next(k for k in range(len(adds)) if k not in goal["fitting"])])
        yield self.finish(goal, peek())


TASKS: dict[str, Kind] = {
    "click-checkboxes": Boxes(),
    "click-checkboxes-large": Boxes(),
    "click-checkboxes-transfer": Boxes(),
    "click-checkboxes-soft": Boxes(r"^Select words similar to (.*) and click Submit", soft=True),
    "number-checkboxes": Digit(),
    "click-option": Radio(),
    "choose-list": Listed(r"^Select (.*) from the list and click Submit"),
    "click-scroll-list": Listed(r"^Select (.*) from the scroll list and click Submit"),
    "odd-or-even": Parity(),
    "click-shades": Shades(),
    "social-media-all": Posts(some=False),
    "social-media-some": Posts(some=True),
    "order-food": Order(),
}
