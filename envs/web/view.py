"""The page as data: rows of the walker, the state that tasks check, and the text that agents read."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

__all__ = ["Node", "PageState", "Row", "content", "nodes_of", "text_of"]

CLICKABLE, DISABLED, CHECKED, FOCUSED, AWAY, EDITABLE, SELECTED, EXPANDED, REQUIRED, SECRET, READONLY = (
    1 << k for k in range(11)
)
Row = list[Any]
MAX_NAME = 2000
MAX_OPTIONS = 60


class Node(NamedTuple):
    """One visible element (or run of text, whose ``bid`` is 0), in document order.

    Attributes:
        bid: its number, which stays with the element while the page lives.
        depth: how many of the listed elements it lies in.
        role: accessible role; '' for a plain element. "text" for a run of text.
        name: what it says. value: of a field, or the chosen options.
        flags: bits; see the properties.
        tag, id, cls: of the HTML element; shown to tasks, not to agents. form: inline style, or a shape's geometry.
        kind: an input's type.
        x, y, width, height: box in CSS pixels of the view.
        options: of a list of options.
    """

    bid: int
    depth: int
    role: str
    name: str
    flags: int
    value: str
    tag: str
    id: str
    cls: str
    form: str
    kind: str
    x: int
    y: int
    width: int
    height: int
    options: tuple[str, ...]

    @property
    def clickable(self) -> bool:
        """It is a control, or something listens for clicks on it."""
        return bool(self.flags & CLICKABLE)

    @property
    def checked(self) -> bool:
        """A checkbox or radio button that is set."""
        return bool(self.flags & CHECKED)

    @property
    def disabled(self) -> bool:
        """A control that cannot be used."""
        return bool(self.flags & DISABLED)

    @property
    def focused(self) -> bool:
        """Keys go here."""
        return bool(self.flags & FOCUSED)

    @property
    def away(self) -> bool:
        """Outside of the view, or scrolled out of its box."""
        return bool(self.flags & AWAY)

    @property
    def selected(self) -> bool:
        """The chosen one of several (aria-selected)."""
        return bool(self.flags & SELECTED)

    @property
    def editable(self) -> bool:
        """It takes text."""
        return bool(self.flags & EDITABLE)

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        return self.x + self.width / 2, self.y + self.height / 2

    def has(self, cls: str) -> bool:
        """Whether it carries this class."""
        return cls in self.cls.split()


@dataclass(frozen=True)
class PageState:
    """The true state of a web environment, as tasks check it.

    Attributes:
        url, title: of the page that is looked at.
        nodes: what is visible there.
        fields: (name, value) of changed form fields that are not visible.
        tabs: addresses of all tabs. active: place of the one that is looked at.
        scroll: of the window, in CSS pixels.
        messages: what the agent has told the user in this episode, as (kind, text).
        probe: what the task's probe read in the page; None when the page is not the task's.
        server: the site's digest.
        blocked: requests that left the task's origins during the last action.
    """

    url: str = ""
    title: str = ""
    nodes: tuple[Node, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    tabs: tuple[str, ...] = ()
    active: int = 0
    scroll: tuple[int, int] = (0, 0)
    messages: tuple[tuple[str, str], ...] = ()
    probe: Any = None
    server: Any = None
    blocked: int = 0

    def find(
        self,
        *,
        id: str | None = None,
        cls: str | None = None,
        tag: str | None = None,
        role: str | None = None,
        name: str | None = None,
    ) -> Node | None:
        """The first visible element that fits all that is given, or None."""
        return next(self.all(id=id, cls=cls, tag=tag, role=role, name=name), None)

    def all(
        self,
        *,
        id: str | None = None,
        cls: str | None = None,
        tag: str | None = None,
        role: str | None = None,
        name: str | None = None,
    ) -> Iterator[Node]:
        """All visible elements that fit all that is given, in document order."""
        for node in self.nodes:
            if (
                (id is None or node.id == id)
                and (tag is None or node.tag == tag)
                and (role is None or node.role == role)
                and (name is None or node.name == name)
                and (cls is None or node.has(cls))
            ):
                yield node

    @property
    def focused(self) -> Node | None:
        """The element that keys go to."""
        return next((node for node in self.nodes if node.focused), None)


def nodes_of(rows: Iterable[Row]) -> tuple[Node, ...]:
    """Rows of the walker as nodes."""
    return tuple(Node._make((*row[:15], tuple(row[15] or ()))) for row in rows)


def content(state: PageState) -> tuple[Any, ...]:
    """What of a page affects what happens next: every visible element with its value and form, and hidden fields.

    Nothing of the focus, element numbers or boxes: they depend on the order of steps, on fonts and on the machine.
    """
    kept = CHECKED | DISABLED | SELECTED | EXPANDED
    rows = tuple((n.role, n.tag, n.name, n.value, n.flags & kept, n.form, n.cls) for n in state.nodes)
    return (state.url, state.title, rows, state.fields, state.scroll)


def text_of(state: PageState, notes: Iterable[str] = ()) -> str:
    """The page in words: what is in view first, then what lies outside of it."""
    lines = [f"page: {state.title or state.url}"]
    if len(state.tabs) > 1:
        lines += [f"tab {k}{' (this one)' if k == state.active else ''}: {url}" for k, url in enumerate(state.tabs)]
    lines += [f"note: {note}" for note in notes]
    lines += [_line(node) for node in state.nodes if not node.away]
    away = [_line(node) for node in state.nodes if node.away]
    if away:
        lines += ["out of view:", *away]
    return "\n".join(lines)


def _line(node: Node) -> str:
    if not node.bid:
        return " " * node.depth + _quoted(node.name)
    parts = [f"{' ' * node.depth}[{node.bid}] {node.role or node.tag}"]
    if node.name:
        parts.append(_quoted(node.name))
    elif node.tag in _SHAPES:
        parts.append(f"({node.form[:200]})")
    if node.value:
        parts.append(f"value={_quoted('•' * len(node.value) if node.flags & SECRET else node.value)}")
    if node.options:
        shown = " | ".join(node.options[:MAX_OPTIONS])
        parts.append(f"options: {shown}" + (" | …" if len(node.options) > MAX_OPTIONS else ""))
    parts += [word for bit, word in _WORDS if node.flags & bit]
    if node.clickable and node.role in _QUIET:
        parts.append("clickable")
    return " ".join(parts)


_SHAPES = frozenset(("circle", "rect", "ellipse", "path", "polygon", "line", "polyline"))
_QUIET = frozenset(("", "cell", "listitem", "image", "text", "heading", "columnheader", "label", *_SHAPES))
_WORDS = (
    (CHECKED, "checked"),
    (DISABLED, "disabled"),
    (FOCUSED, "focused"),
    (SELECTED, "selected"),
    (EXPANDED, "expanded"),
    (REQUIRED, "required"),
    (READONLY, "read-only"),
)


def _quoted(text: str) -> str:
    text = "".join(c if c.isprintable() else " " for c in text)
    return '"' + (text if len(text) <= MAX_NAME else text[:MAX_NAME] + "…") + '"'


def marks_of(state: PageState) -> Mapping[str, tuple[int, int, int, int]]:
    """Box (x, y, width, height) of every element in view that can be acted on, by number."""
    return {
        str(n.bid): (n.x, n.y, n.width, n.height)
        for n in state.nodes
        if n.bid and not n.away and (n.clickable or n.editable or n.role == "combobox")
    }
