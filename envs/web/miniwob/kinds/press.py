"""One right click ends the task: nothing lies between the start and the end, so these declare no progress."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from types import MappingProxyType

from agentgym.envs.web.actions import call
from agentgym.envs.web.miniwob.kind import LEAVE, Kind, Want, carry, need
from agentgym.envs.web.miniwob.kinds.forms import found
from agentgym.envs.web.view import Node, PageState

__all__ = ["TASKS"]

Pick = Callable[[PageState], Sequence[Node]]
Fits = Callable[[str, Node], bool]


class Press(Kind):
    """Click the one of several things that the goal names.

    Args:
        things: all that could be clicked.
        pattern: the goal; its first group is the name.
        fits: whether a thing is the one named; by default when it says exactly that.
        verb: "click" or "focus".
    """

    horizon = 10

    def __init__(
        self,
        things: Pick,
        pattern: str = "(.*)",
        fits: Fits = lambda name, node: node.name == name,
        verb: str = "click",
    ) -> None:
        self._things, self._pattern, self._fits, self._verb = things, pattern, fits, verb

    def read(self, told: str, start: PageState) -> str:
        """The name."""
        return found(self._pattern, told)[1]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """Nothing comes before the click."""
        return []

    def finish(self, goal: str, state: PageState) -> str:
        """Click the thing."""
        node = next((n for n in self._things(state) if self._fits(goal, n)), None)
        return call(self._verb, str(need(node, f"{goal!r}").bid))

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Click another one; where there is none, leave."""
        other = next((n for n in self._things(peek()) if not self._fits(goal, n)), None)
        yield LEAVE if other is None else call(self._verb, str(other.bid))


class Place(Press):
    """Things named by their place: "1st", "2nd", …"""

    def finish(self, goal: str, state: PageState) -> str:
        """Act on the one at that place."""
        return call(self._verb, str(self._things(state)[int(goal) - 1].bid))

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Act on the one after it, or the first."""
        things = self._things(peek())
        yield call(self._verb, str(things[int(goal) % len(things)].bid))


class Shown(Press):
    """The thing is told by what the probe reads of a picture."""

    def __init__(self, things: Pick, probe: str) -> None:
        super().__init__(things)
        self.probe = probe

    def read(self, told: str, start: PageState) -> str:
        """What the picture shows."""
        return str(start.probe["x"])


class Moved(Kind):
    """Drag one item of a list to another place; letting go ends the task."""

    horizon = 10
    _PLACES = MappingProxyType(
        {
            "top": 0,
            "top left": 0,
            "top center": 1,
            "top right": 2,
            "center left": 3,
            "center": 4,
            "center right": 5,
            "bottom left": 6,
            "bottom center": 7,
            "bottom right": 8,
        }
    )
    _STEPS = MappingProxyType({"up": -1, "down": 1, "left": -1, "right": 1})

    def __init__(self, columns: int) -> None:
        self._columns = columns

    def read(self, told: str, start: PageState) -> tuple[int, int]:
        """From which place to which."""
        names = [n.name for n in self._items(start)]
        m = found(
            r"^Drag (.*?) (to the (?:(?P<nth>\d+)\w\w position|(?P<place>[a-z ]+))|"
            r"(?P<step>up|down|left|right) by one(?: position)?)\.",
            told,
        )
        source = names.index(m[1])
        if m["nth"]:
            return source, int(m["nth"]) - 1
        if m["step"]:
            return source, source + self._STEPS[m["step"]] * (self._columns if m["step"] in ("up", "down") else 1)
        return source, len(names) - 1 if m["place"] == "bottom" else self._PLACES[m["place"]]

    @staticmethod
    def _items(state: PageState) -> list[Node]:
        return [n for n in state.nodes if n.tag == "div" and n.name and n.depth]

    def wants(self, goal: tuple[int, int], state: PageState) -> list[Want]:
        """Nothing comes before the drag."""
        return []

    def finish(self, goal: tuple[int, int], state: PageState) -> str:
        """Drag it there."""
        items, (source, target) = self._items(state), goal
        # Moved to the right, an item comes to lie behind the one it is let go on: going back, that is the one before.
        behind = target < source and items[target].x > items[source].x
        return carry(items[source], items[target - behind], behind)

    def wrong(self, goal: tuple[int, int], peek: Callable[[], PageState]) -> Iterator[str]:
        """Drag another item."""
        items = self._items(peek())
        other = next(k for k in range(len(items)) if k not in goal)
        yield carry(items[other], items[goal[1]])


def _tagged(tag: str) -> Pick:
    return lambda state: [*state.all(tag=tag)]


def _classed(cls: str) -> Pick:
    return lambda state: [*state.all(cls=cls)]


def _typed(state: PageState) -> list[Node]:
    return [n for n in state.nodes if n.tag in ("input", "textarea", "button")]


def _is_type(name: str, node: Node) -> bool:
    return {"text": node.role == "textbox" and node.tag == "input", "textarea": node.tag == "textarea"}.get(
        name, node.role == name
    )


def _coloured(name: str, node: Node) -> bool:
    return f"background-color: {name};" in node.form


def _case(name: str, node: Node) -> bool:
    return re.sub(r"\s", "", node.name) == re.sub(r"\s", "", name)


_BUTTONS = _tagged("button")
_SHAPE = """
const text = document.querySelector('#area_svg text');
if (text) return /\\d/.test(text.textContent) ? 'Number' : 'Letter';
if (document.querySelector('#area_svg rect')) return 'Rectangle';
return document.querySelector('#area_svg circle') ? 'Circle' : 'Triangle';
"""

TASKS: dict[str, Kind] = {
    "click-test": Press(_BUTTONS, fits=lambda name, node: True),
    "click-test-2": Press(_BUTTONS, r"button (\w+)"),
    "click-test-transfer": Press(_BUTTONS, r"button (\w+)"),
    "click-button": Press(_BUTTONS, r'Click on the "(.*)" button', _case),
    "unicode-test": Press(_BUTTONS, r'Click on the "(.*)" button', _case),
    "click-link": Press(_classed("alink"), r'Click on the link "(.*)"'),
    "click-dialog": Press(_BUTTONS, fits=lambda name, node: True),
    "click-dialog-2": Press(
        _BUTTONS, r'labeled "(.*)"', lambda name, node: node.name in (name, {"x": "Close"}.get(name))
    ),
    "click-color": Press(_classed("color"), r"Click on the (.*) colored box", _coloured),
    "click-tab": Press(_classed("ui-tabs-anchor"), r"Click on (Tab #\d)"),
    "click-widget": Press(_typed, r'Click on a "(\w+)" widget', _is_type),
    "focus-text": Press(_tagged("input"), fits=lambda name, node: True, verb="focus"),
    "focus-text-2": Place(_tagged("input"), r"the (\d)", verb="focus"),
    "identify-shape": Shown(_BUTTONS, _SHAPE),
    "drag-items": Moved(1),
    "drag-items-grid": Moved(3),
}
