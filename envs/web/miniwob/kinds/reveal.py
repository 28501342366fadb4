"""What is wanted is hidden at first: open the section, tab, menu, folder or page that holds it, then click it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from types import MappingProxyType

from agentgym.envs.web.actions import call
from agentgym.envs.web.miniwob.kind import LEAVE, Kind, Want, click, fill, need
from agentgym.envs.web.miniwob.kinds.forms import found
from agentgym.envs.web.view import Node, PageState

__all__ = ["TASKS"]


class Section(Kind):
    """Expand the only section, and submit."""

    steps = MappingProxyType({"open": "The section is expanded."})
    probe = "return document.querySelector('.ui-accordion-content').offsetParent !== null;"
    horizon = 10

    def read(self, told: str, start: PageState) -> None:
        """Nothing varies."""

    def wants(self, goal: None, state: PageState) -> list[Want]:
        """It is expanded."""
        return [Want("open", bool(state.probe["x"]), click(state.find(tag="h3")))]

    def finish(self, goal: None, state: PageState) -> str:
        """Submit."""
        return click(state.find(id="subbtn"))


class Hidden(Kind):
    """A link in one of several sections or tabs.

    Args:
        heads: the elements that open them, in order.
        panels: a selector of what they open.
    """

    steps = MappingProxyType({"open": "The link can be seen."})
    horizon = 15

    def __init__(self, heads: Callable[[PageState], Sequence[Node]], panels: str) -> None:
        self._heads = heads
        self.probe = (
            f"return [...document.querySelectorAll('{panels}')].map(p => [...p.querySelectorAll('.alink')]"
            ".map(a => a.textContent));"
        )

    def read(self, told: str, start: PageState) -> str:
        """The link's text."""
        return found(r'click on the link "(.*)"', told)[1]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """Its section is open."""
        places = [k for k, links in enumerate(state.probe["x"]) if goal in links]
        seen = state.find(cls="alink", name=goal) is not None
        return [Want("open", seen, "" if seen else click(self._heads(state)[places[0]]))]

    def finish(self, goal: str, state: PageState) -> str:
        """Click it."""
        return click(state.find(cls="alink", name=goal), "link")

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Open whatever holds another link, and click that; where there is none, leave."""
        for k, links in enumerate(peek().probe["x"]):
            if others := [text for text in links if text != goal]:
                if peek().find(cls="alink", name=others[0]) is None:
                    yield click(self._heads(peek())[k])
                yield click(peek().find(cls="alink", name=others[0]), "link")
                return
        yield LEAVE


class OneTab(Hidden):
    """One click ends it: on the link where it can be seen, else on the tab that ought to hold it."""

    steps = MappingProxyType({})

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """Nothing comes before the click."""
        return []

    def finish(self, goal: str, state: PageState) -> str:
        """Click the link or the second tab."""
        return click(state.find(cls="alink", name=goal) or self._heads(state)[1])

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Click another link; where there is none, leave."""
        other = next((n for n in peek().all(cls="alink") if n.name != goal), None)
        yield LEAVE if other is None else click(other)


class InTurn(Kind):
    """Two buttons, one after the other."""

    steps = MappingProxyType({"one": "The first button was pressed first."})
    probe = "return buttonsPushed.slice();"
    horizon = 10

    def read(self, told: str, start: PageState) -> None:
        """Nothing varies."""

    def wants(self, goal: None, state: PageState) -> list[Want]:
        """The first was pressed."""
        return [Want("one", state.probe["x"] == ["subbtn"], click(state.find(id="subbtn")))]

    def finish(self, goal: None, state: PageState) -> str:
        """Press the second."""
        return click(state.find(id="subbtn2"))

    def wrong(self, goal: None, peek: Callable[[], PageState]) -> Iterator[str]:
        """The second twice."""
        yield click(peek().find(id="subbtn2"))
        yield click(peek().find(id="subbtn2"))


class Menu(Kind):
    """A path through nested menus that open under the mouse."""

    steps = MappingProxyType({"open": "All menus on the way are open."})
    horizon = 15

    def read(self, told: str, start: PageState) -> list[str]:
        """The names on the path."""
        return found(r"^Select (.*)", told)[1].split(">")

    def wants(self, goal: list[str], state: PageState) -> list[Want]:
        """Every item but the first can be seen."""
        wants = []
        for above, name in pairwise(goal):
            seen = state.find(tag="div", name=name) is not None
            parent = state.find(tag="div", name=above)
            wants.append(Want("open", seen, "" if seen or parent is None else call("hover", str(parent.bid))))
        return wants

    def finish(self, goal: list[str], state: PageState) -> str:
        """Click the last item."""
        return click(state.find(tag="div", name=goal[-1]), "menu item")

    def wrong(self, goal: list[str], peek: Callable[[], PageState]) -> Iterator[str]:
        """Click another item of the first menu."""
        other = next(n for n in peek().all(tag="div") if n.name and n.name != goal[0] and n.name != goal[-1])
        yield click(other)


class IconMenu(Kind):
    """A menu behind a button, with a menu inside; the item is named, or shown by its icon."""

    steps = MappingProxyType({"menu": "The menu is open.", "item": "The item can be seen."})
    probe = (
        "const i = document.querySelector('#query .ui-icon'); return i ? "
        "Object.keys(PROBLEM_SET).find(k => i.classList.contains(PROBLEM_SET[k])) : null;"
    )
    horizon = 15

    def read(self, told: str, start: PageState) -> str:
        """The item."""
        shown = start.probe["x"]
        return str(shown) if shown else found(r'item labeled "(.*)"', told)[1]

    def wants(self, goal: str, state: PageState) -> list[Want]:
        """The menu is open, and the item can be seen."""
        parent = state.find(tag="div", name="Playback")
        item = state.find(tag="div", name=goal)
        opener = click(state.find(id="open-menu"), "button")
        onward = opener if parent is None else call("hover", str(parent.bid))
        return [Want("menu", parent is not None, opener), Want("item", item is not None, onward)]

    def finish(self, goal: str, state: PageState) -> str:
        """Click it."""
        return click(state.find(tag="div", name=goal), "menu item")

    def wrong(self, goal: str, peek: Callable[[], PageState]) -> Iterator[str]:
        """Open the menu, and click another item."""
        yield click(peek().find(id="open-menu"))
        yield click(peek().find(tag="div", name="Save" if goal != "Save" else "Zoom In"))


class Tree(Kind):
    """A file or folder in a tree of folders."""

    steps = MappingProxyType({"open": "All folders above it are open."})
    probe = """
const name = document.getElementById('query').textContent.match(/named "(.*)"/)[1];
const spans = [...document.querySelectorAll('#tree span')];
const seen = spans.filter(s => s.offsetParent !== null);
const target = spans.find(s => s.textContent === name);
const above = [];
const up = (li) => li.parentElement.closest('li');
for (let li = up(target.parentElement); li; li = up(li)) above.unshift(li);
return {open: above.map(li => li.classList.contains('collapsable')),
  places: above.map(li => seen.indexOf(li.querySelector('span'))), target: seen.indexOf(target),
  wrong: seen.findIndex(s => s.classList.contains('file') && s.textContent !== name)};
"""
    horizon = 15

    def read(self, told: str, start: PageState) -> None:
        """The probe reads the name."""

    @staticmethod
    def _spans(state: PageState) -> list[Node]:
        return [n for n in state.all(tag="span") if n.has("file") or n.has("folder")]

    def wants(self, goal: None, state: PageState) -> list[Want]:
        """Every folder above is open."""
        at, spans = state.probe["x"], self._spans(state)
        return [
            Want("open", is_open, "" if is_open or place < 0 else click(spans[place]))
            for is_open, place in zip(at["open"], at["places"], strict=True)
        ]

    def finish(self, goal: None, state: PageState) -> str:
        """Click it."""
        return click(self._spans(state)[state.probe["x"]["target"]])

    def wrong(self, goal: None, peek: Callable[[], PageState]) -> Iterator[str]:
        """Click another file; where none is seen, leave."""
        at = peek().probe["x"]["wrong"]
        yield LEAVE if at < 0 else click(self._spans(peek())[at])


class Search(Kind):
    """Search for a word, turn to the page of results, and click the one at a place."""

    steps = MappingProxyType(
        {"typed": "The word is in.", "searched": "Its results are shown.", "page": "The right page of them is."}
    )
    probe = "return [...document.querySelectorAll('#page-content a')].map(a => a.getAttribute('data-result'));"
    horizon = 15

    def read(self, told: str, start: PageState) -> tuple[str, int]:
        """The word and the place, from 0."""
        m = found(r'enter "(.*)" and press "Search", then find and click the (\d+)', told)
        return m[1], int(m[2]) - 1

    def wants(self, goal: tuple[str, int], state: PageState) -> list[Want]:
        """The word is in, was searched for, and the page is turned to."""
        word, place = goal
        box = need(state.find(id="search-text"), "search field")
        shown = [str(r) for r in state.probe["x"]]
        typed = box.value.lower() == word.lower()
        searched = typed and any(r != "-1" for r in shown)
        page = next((n for n in state.nodes if n.tag == "a" and n.name == str(place // 3 + 1)), None)
        turn = click(page) if page is not None else ""
        return [
            Want("typed", typed, fill(box, word)),
            Want("searched", searched, click(state.find(id="search"))),
            Want("page", searched and str(place) in shown, turn if searched else ""),
        ]

    def finish(self, goal: tuple[str, int], state: PageState) -> str:
        """Click the result."""
        place = [str(r) for r in state.probe["x"]].index(str(goal[1]))
        return click([*state.all(cls="search-title")][place])

    def wrong(self, goal: tuple[str, int], peek: Callable[[], PageState]) -> Iterator[str]:
        """Search for something else, and click its first result."""
        yield fill(peek().find(id="search-text"), "something else")
        yield click(peek().find(id="search"))
        yield click(peek().find(cls="search-title"))


class Contacts(Kind):
    """Turn the pages of a contact book to a person, and click one of their details."""

    steps = MappingProxyType({"found": "The person's page is shown."})
    probe = "return Number(document.querySelector('#contact .name').getAttribute('data-index'));"
    horizon = 20

    def read(self, told: str, start: PageState) -> tuple[str, str]:
        """The person and the detail."""
        m = found(r"^Find (.*) in the contact book and click on their (\w+)", told)
        return m[1], m[2]

    def wants(self, goal: tuple[str, str], state: PageState) -> list[Want]:
        """The page shows that person."""
        shown = state.find(cls="name", name=goal[0]) is not None
        turn = "First" if state.probe["x"] == 4 else ">"
        return [Want("found", shown, "" if shown else click(self._link(state, turn)))]

    @staticmethod
    def _link(state: PageState, name: str) -> Node | None:
        return next((n for n in state.nodes if n.tag == "a" and n.name == name), None)

    def finish(self, goal: tuple[str, str], state: PageState) -> str:
        """Click the detail."""
        return click(state.find(cls=goal[1]), "detail")

    def wrong(self, goal: tuple[str, str], peek: Callable[[], PageState]) -> Iterator[str]:
        """Click a detail of someone else."""
        if peek().find(cls="name", name=goal[0]) is not None:
            yield click(self._link(peek(), ">"))
        yield click(peek().find(cls=next(c for c in ("phone", "email") if c != goal[1])))


class Complete(Kind):
    """Enter an item that begins (and ends) as told, from what the field proposes."""

    steps = MappingProxyType({"begun": "The beginning is in.", "entered": "A fitting item is in."})
    probe = "return ui_utils.COUNTRIES;"
    horizon = 15

    def read(self, told: str, start: PageState) -> tuple[str, str]:
        """Beginning and end, '' for any."""
        m = found(r'starts with "(.*?)"(?: and ends with "(.*?)")?\.', told)
        return m[1], m[2] or ""

    def wants(self, goal: tuple[str, str], state: PageState) -> list[Want]:
        """The field begins rightly, and holds a whole item."""
        first, last = goal
        box = need(state.find(id="tags"), "field")
        items = [i for i in state.probe["x"] if i.startswith(first) and i.endswith(last)]
        offered = next((n for n in state.all(cls="ui-menu-item-wrapper") if n.name in items), None)
        offered = offered or next((n for n in state.all(tag="li") if n.name in items), None)
        entered = box.value.startswith(first) and box.value.endswith(last) and bool(box.value) and offered is None
        return [
            Want("begun", box.value.startswith(first) and bool(box.value), fill(box, first)),
            Want("entered", entered, click(offered) if offered is not None else fill(box, items[0])),
        ]

    def finish(self, goal: tuple[str, str], state: PageState) -> str:
        """Submit."""
        return click(state.find(id="subbtn"))


class Post(Kind):
    """Press a button of one user's post; some are in its menu."""

    steps = MappingProxyType({"menu": "The post's menu is open."})
    probe = (
        "return [...document.querySelectorAll('.media')].map(m => [m.querySelector('.username').textContent, "
        "m.querySelector('ul').offsetParent !== null]);"
    )
    horizon = 10
    _MENU = MappingProxyType(
        {
            "Share via DM": "share",
            "Copy link to Tweet": "copy",
            "Embed Tweet": "embed",
            "Mute": "menu-user",
            "Block": "block-user",
            "Report": "report",
        }
    )

    def read(self, told: str, start: PageState) -> tuple[int, str]:
        """Which post, and the class of the button."""
        m = found(r'For the user (@\S+), click on the "(.*)" button', told)
        users = [user for user, _ in start.probe["x"]]
        return users.index(m[1]), self._MENU.get(m[2], m[2].lower())

    def wants(self, goal: tuple[int, str], state: PageState) -> list[Want]:
        """Its menu is open, where the button is in there."""
        post, button = goal
        if button not in self._MENU.values():
            return []
        return [Want("menu", state.probe["x"][post][1], click([*state.all(cls="more")][post]))]

    def finish(self, goal: tuple[int, str], state: PageState) -> str:
        """Press it."""
        post, button = goal
        return click(state.find(cls=button) if button in self._MENU.values() else [*state.all(cls=button)][post])

    def wrong(self, goal: tuple[int, str], peek: Callable[[], PageState]) -> Iterator[str]:
        """Press another button of another post."""
        post, button = goal
        other = [*peek().all(cls="like" if button != "like" else "reply")]
        yield click(other[(post + 1) % len(other)])


def _anchors(state: PageState) -> list[Node]:
    return [*state.all(cls="ui-tabs-anchor")]


def _headers(state: PageState) -> list[Node]:
    return [*state.all(tag="h3")]


_TAB, _SECTION = Hidden(_anchors, ".ui-tabs-panel"), Hidden(_headers, ".ui-accordion-content")
_ONE_TAB = OneTab(_anchors, ".ui-tabs-panel")

TASKS: dict[str, Kind] = {
    "click-collapsible": Section(),
    "click-collapsible-nodelay": Section(),
    "click-collapsible-2": _SECTION,
    "click-collapsible-2-nodelay": _SECTION,
    "click-tab-2": _TAB,
    "click-tab-2-easy": _ONE_TAB,
    "click-tab-2-medium": _ONE_TAB,
    "click-tab-2-hard": _TAB,
    "click-button-sequence": InTurn(),
    "click-menu": Menu(),
    "click-menu-2": IconMenu(),
    "navigate-tree": Tree(),
    "search-engine": Search(),
    "phone-book": Contacts(),
    "use-autocomplete": Complete(),
    "use-autocomplete-nodelay": Complete(),
    "social-media": Post(),
}
