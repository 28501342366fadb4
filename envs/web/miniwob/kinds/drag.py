"""Things to drag, slide and spin into place, then submit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator


from agentgym.envs.web.actions import call
from agentgym.envs.web.miniwob.kind import Kind, Want, carry, click, need
from agentgym.envs.web.miniwob.kinds.forms import found
from agentgym.envs.web.view import Node, PageState

__all__ = ["TASKS"]


def _submit(state: PageState) -> str:
    return click(state.find(id="subbtn"), "button")


def _drag(start: tuple[float, float], end: tuple[float, float]) -> str:
    return call("mouse_drag_and_drop", *(round(v, 1) for v in (*start, *end)))


class Boxed(Kind):
    """Drag the small box into the large one."""

    steps = {"inside": "The small box lies within the large one."}
    probe = "return smallBoxContained();"
    horizon = 10

    def read(self, told: str, start: PageState) -> None:
        """Nothing varies."""

    def wants(self, goal: None, state: PageState) -> list[Want]:
        """It is inside."""
        small, large = need(state.find(id="draggableSmall"), "box"), need(state.find(id="draggableLarge"), "box")
        return [Want("inside", bool(state.probe["x"]), call("drag_and_drop", str(small.bid), str(large.bid)))]

    def finish(self, goal: None, state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: None, peek: Callable[[], PageState]) -> Iterator[str]:
        """Submit with the small box outside."""
        if peek().probe["x"]:
            large = need(peek().find(id="draggableLarge"), "box")
            yield _drag((large.x + 2, large.y + 2), (large.x + 52, large.y + 2))
        yield _submit(peek())


class Sorted(Kind):
    """Sort four numbers by dragging."""

    steps = {"lowest": "The lowest number is at the top.", "sorted": "All are in order."}
    probe = "return [...document.querySelectorAll('#sortable li div')].map(d => Number(d.textContent));"
    horizon = 12

    def read(self, told: str, start: PageState) -> list[int]:
        """The numbers in order."""
        return sorted(start.probe["x"])

    def wants(self, goal: list[int], state: PageState) -> list[Want]:
        """Each place holds its number."""
        now = state.probe["x"]
        items = [n for n in state.all(tag="div") if re.fullmatch(r"-?\d+", n.name)]
        wants = []
        for place, number in enumerate(goal):
            done = now[place] == number
            source = next((k for k in range(place, len(now)) if now[k] == number), None)
            do = "" if done or source is None else carry(items[source], items[place])
            wants.append(Want("lowest" if place == 0 else "sorted", done, do))
        return wants

    def finish(self, goal: list[int], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: list[int], peek: Callable[[], PageState]) -> Iterator[str]:
        """Submit out of order."""
        if peek().probe["x"] == goal:
            items = [n for n in peek().all(tag="div") if re.fullmatch(r"-?\d+", n.name)]
            yield carry(items[0], items[3])
        yield _submit(peek())


class IntoBox(Kind):
    """Drag all shapes of one sort into a frame, and no others."""

    steps = {"first": "One of them is in the frame.", "all": "All are.", "clean": "Nothing else is."}
    probe = (
        "return [...document.querySelectorAll('#area_svg rect:not(#shape-container), #area_svg circle, #area_svg polygon')]"
        ".map(s => [s.tagName, insideContainer(s)]);"
    )
    horizon = 15
    _TAGS = {"rectangles": "rect", "circles": "circle", "triangles": "polygon"}

    def read(self, told: str, start: PageState) -> str:
        """The tag of those shapes."""
        return self._TAGS[found(r"Drag all (\w+) into", told)[1]]

    @staticmethod
    def _shapes(state: PageState) -> list[Node]:
        return [n for n in state.nodes if n.tag in ("rect", "circle", "polygon") and n.id != "shape-container"]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """Each shape is where it belongs."""
        frame = need(state.find(id="shape-container"), "frame")
        wants, first = [], True
        for (tag, inside), node in zip(state.probe["x"], self._shapes(state), strict=True):
            if tag == goal:
                wants.append(Want("first" if first else "all", inside, _drag(node.center, frame.center)))
                first = False
            else:
                wants.append(Want("clean", not inside, _drag(node.center, (6, 60))))
        return wants

    def finish(self, goal: str, state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Drag another sort of shape into the frame (where all are of one sort: none), and submit."""
        frame = need(peek().find(id="shape-container"), "frame")
        other = next((n for n in self._shapes(peek()) if n.tag != goal), None)
        if other is not None:
            yield _drag(other.center, frame.center)
        yield _submit(peek())


class Pushed(Kind):
    """Drag a circle in a direction."""

    steps = {"moved": "The circle lies farther in that direction."}
    probe = (
        "const c = document.querySelector('#area circle'), at = shapes.gridCoords(c), was = c.getBBox();"
        " return {left: at.x < was.x, right: at.x > was.x, up: at.y < was.y, down: at.y > was.y};"
    )
    horizon = 10
    _WAYS = {"left": (-30, 0), "right": (30, 0), "up": (0, -30), "down": (0, 30)}

    def read(self, told: str, start: PageState) -> str:
        """The direction."""
        return found(r"Drag the circle (\w+) then", told)[1]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """It was moved there."""
        circle = need(state.find(tag="circle"), "circle")
        x, y = circle.center
        dx, dy = self._WAYS[goal]
        return [Want("moved", bool(state.probe["x"][goal]), _drag((x, y), (x + dx, y + dy)))]

    def finish(self, goal: str, state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Drag it the other way, and submit."""
        x, y = need(peek().find(tag="circle"), "circle").center
        dx, dy = self._WAYS[goal]
        yield _drag((x, y), (max(5, x - dx), max(55, y - dy)))
        yield _submit(peek())


class Sliders(Kind):
    """Move sliders to numbers.

    Args:
        pattern: the goal; its first group holds the numbers.
        boxes: the goal's second group is the place of a checkbox to set.
    """

    steps = {"near": "Every slider is within a tenth of its range.", "exact": "Every slider is at its number."}
    probe = (
        "return $('.ui-slider').toArray().map(s => ['value', 'min', 'max', 'orientation'].map(o => $(s).slider('option', o)));"
    )
    horizon = 40

    def __init__(self, pattern: str, boxes: bool = False) -> None:
        self._pattern, self._boxes = pattern, boxes
        if boxes:
            self.steps = {**self.steps, "box": "The box is set, and no other."}

    def read(self, told: str, start: PageState) -> tuple[list[int], int]:
        """The numbers; the place of the checkbox, from 1, or 0."""
        m = found(self._pattern, told)
        return [int(n) for n in re.findall(r"-?\d+", m[1])], int(m[2]) if self._boxes else 0

    def wants(self, goal: tuple[list[int], int], state: PageState) -> list[Want]:
        """Near, exact, and the box."""
        numbers, box = goal
        sliders = [*zip(numbers, state.probe["x"], state.all(cls="ui-slider"), state.all(cls="ui-slider-handle"), strict=True)]
        near, exact = [], []
        for number, (value, low, high, way), track, handle in sliders:
            do = self._move(number, value, low, high, way, track, handle)
            near.append(Want("near", abs(value - number) <= 0.1 * (high - low), do))
            exact.append(Want("exact", value == number, do))
        checks = [*state.all(role="checkbox")] if box else []
        return [*near, *exact, *(Want("box", c.checked == (k == box), click(c)) for k, c in enumerate(checks, 1))]

    @staticmethod
    def _move(number: int, value: int, low: int, high: int, way: str, track: Node, handle: Node) -> str:
        """Click where the number is; from near by, go on with the arrow keys."""
        if abs(number - value) > max(2, 0.06 * (high - low)):
            part = (number - low) / (high - low)
            x, y = track.center
            if way == "horizontal":
                return call("mouse_click", round(track.x + 1 + part * (track.width - 2), 1), round(y, 1))
            return call("mouse_click", round(x, 1), round(track.y + track.height - 1 - part * (track.height - 2), 1))
        return call("press", str(handle.bid), "ArrowRight" if number > value else "ArrowLeft")

    def finish(self, goal: tuple[list[int], int], state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: tuple[list[int], int], peek: Callable[[], PageState]) -> Iterator[str]:
        """Move the first slider off its number, and submit."""
        value, low, _, _ = peek().probe["x"][0]
        handle = need(peek().find(cls="ui-slider-handle"), "handle")
        if value == goal[0][0]:
            yield call("press", str(handle.bid), "ArrowLeft" if value > low else "ArrowRight")
        yield _submit(peek())


class Spinner(Kind):
    """Turn a number up or down by its arrows."""

    steps = {"half": "Half of the way is done.", "exact": "The number is there."}
    horizon = 25

    def read(self, told: str, start: PageState) -> int:
        """The number."""
        return int(found(r"Select (-?\d+) with", told)[1])

    def wants(self, goal: int, state: PageState) -> list[Want]:
        """One want for each step on the way."""
        shown = need(state.find(id="spinner"), "spinner").value
        now = int(shown) if re.fullmatch(r"-?\d+", shown) else 0
        turn = click(state.find(cls="ui-spinner-up" if goal > now else "ui-spinner-down"), "arrow")
        way = abs(goal)
        return [Want("half" if k >= way / 2 else "exact", abs(goal - now) <= k, turn) for k in reversed(range(way))]

    def finish(self, goal: int, state: PageState) -> str:
        """Submit."""
        return _submit(state)

    def wrong(self, goal: int, peek: Callable[[], PageState]) -> Iterator[str]:
        """Turn it once the wrong way, and submit."""
        yield click(peek().find(cls="ui-spinner-down" if goal > 0 else "ui-spinner-up"), "arrow")
        yield _submit(peek())


TASKS: dict[str, Kind] = {
    "drag-box": Boxed(),
    "drag-sort-numbers": Sorted(),
    "drag-shapes": IntoBox(),
    "drag-circle": Pushed(),
    "use-slider": Sliders(r"Select (-?\d+) with the slider and"),
    "use-slider-2": Sliders(r"combination \[(.*?)\]"),
    "form-sequence": Sliders(r"Select (-?\d+) with the slider, click the (\d)", boxes=True),
    "use-spinner": Spinner(),
}
