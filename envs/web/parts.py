"""The parts of an observation: their names (BrowserGym's where it has one), spaces, and the making of costly ones."""

from __future__ import annotations

import base64
import io
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from agentgym.envs.web.session import Session
from agentgym.envs.web.view import PageState, marks_of
from agentgym.errors import UnknownName, UsageError, WorldError
from agentgym.spaces import AnyText

__all__ = ["PARTS", "AnyObject", "AnyText", "costly", "marked", "observation_space", "screenshot"]

PARTS = {
    "text": "the page in words: one element a line, with its number",
    "goal": "what is wanted, in words",
    "last_action_error": "why the last action could not be done; '' when it was",
    "url": "address of the page",
    "open_pages_urls": "addresses of all tabs",
    "active_page_index": "place of the tab that is looked at",
    "focused_element_bid": "number of the element that keys go to; '' for none",
    "last_action": "the last action as it was given",
    "chat_messages": "what the agent told the user so far",
    "screenshot": "the view, uint8[height, width, 3]",
    "screenshot_som": "the same with a numbered box around every element that can be acted on",
    "axtree_object": "Chromium's accessibility tree, with browsergym_id",
    "dom_object": "Chromium's snapshot of the document, with attribute bid",
    "extra_element_properties": "number -> bbox, visibility, clickable, set_of_marks",
}
"""Part -> what it holds. `observation=` names those that are wanted."""

MAX_TEXT = 50_000
"""Longest text of a part, in characters; a page in words is cut there, and says so."""
LENGTHS = {"goal": 4000, "last_action_error": 2000, "url": 4000, "focused_element_bid": 20, "last_action": 20_100}
DEFAULT = ("text", "goal", "last_action_error")


class AnyObject(gymnasium.Space[Any]):
    """A JSON-like object of Chromium's making."""

    def __init__(self) -> None:
        super().__init__(None, None)

    @property
    def is_np_flattenable(self) -> bool:
        """It is not."""
        return False

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """An empty object."""
        return {}

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a dict or a tuple."""
        return isinstance(x, (dict, tuple))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyObject)

    __hash__ = None  # type: ignore[assignment]  # like every Gymnasium space


def check(parts: Iterable[str]) -> tuple[str, ...]:
    """The parts in the order of `PARTS`.

    Raises:
        UnknownName: a part that there is not.
        UsageError: no part at all.
    """
    if isinstance(parts, str):
        parts = (parts,)
    named = tuple(parts)
    for part in named:
        if part not in PARTS:
            raise UnknownName("part of an observation", str(part), PARTS, f"known: {', '.join(PARTS)}")
    if not named:
        raise UsageError(f"an observation needs at least one part of {', '.join(PARTS)}")
    return tuple(part for part in PARTS if part in named)


def observation_space(parts: Iterable[str], viewport: tuple[int, int]) -> spaces.Dict:
    """The space of these parts."""
    width, height = viewport
    picture = spaces.Box(0, 255, (height, width, 3), np.uint8)
    made: dict[str, gymnasium.Space[Any]] = {}
    for part in parts:
        if part.startswith("screenshot"):
            made[part] = picture
        elif part == "active_page_index":
            made[part] = spaces.Discrete(100)
        elif part in ("open_pages_urls", "chat_messages", "axtree_object", "dom_object", "extra_element_properties"):
            made[part] = AnyObject()
        else:
            made[part] = AnyText(LENGTHS.get(part, MAX_TEXT))
    return spaces.Dict(made)


# ------------------------------------------------------------------ the costly ones


async def screenshot(session: Session) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The view as uint8[height, width, 3]."""
    from PIL import Image

    tab, how = session.active, {"format": "png", "optimizeForSpeed": True}
    if tab.on_demand:
        data = (await tab.frame(screenshot=how)).get("screenshotData")
        if data is None:
            raise WorldError("Chromium drew a frame and made no picture of it; the next reset opens a new page")
    else:
        data = (await tab.send("Page.captureScreenshot", how))["data"]
    with Image.open(io.BytesIO(base64.b64decode(data))) as image:
        return np.asarray(image.convert("RGB"), np.uint8)


def marked(picture: np.ndarray[Any, Any], state: PageState) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """The picture with a numbered box around every element that can be acted on (set of marks)."""
    from PIL import Image, ImageDraw

    image = Image.fromarray(picture)
    draw = ImageDraw.Draw(image)
    for bid, (x, y, width, height) in marks_of(state).items():
        draw.rectangle((x, y, x + width - 1, y + height - 1), outline=(220, 0, 60))
        box = draw.textbbox((x, y), bid)
        draw.rectangle((box[0] - 1, box[1], box[2] + 1, box[3] + 1), fill=(220, 0, 60))
        draw.text((x, y), bid, fill=(255, 255, 255))
    return np.asarray(image, np.uint8)


async def costly(parts: Collection[str], session: Session, state: PageState) -> dict[str, Any]:
    """Those of the parts that need the browser again."""
    made: dict[str, Any] = {}
    if "screenshot" in parts or "screenshot_som" in parts:
        picture = await screenshot(session)
        if "screenshot" in parts:
            made["screenshot"] = picture
        if "screenshot_som" in parts:
            made["screenshot_som"] = marked(picture, state)
    if "dom_object" in parts or "axtree_object" in parts:
        await session.active.run("(__agentgym.mark(), 'null')")
        dom = await session.active.send("DOMSnapshot.captureSnapshot", _SNAPSHOT)
        if "dom_object" in parts:
            made["dom_object"] = dom
        if "axtree_object" in parts:
            tree = await session.active.send("Accessibility.getFullAXTree")
            bids = _bids(dom)
            for node in tree["nodes"]:
                if (bid := bids.get(node.get("backendDOMNodeId"))) is not None:
                    node["browsergym_id"] = bid
            made["axtree_object"] = tree
    if "extra_element_properties" in parts:
        made["extra_element_properties"] = {
            str(n.bid): {
                "bbox": [float(n.x), float(n.y), float(n.width), float(n.height)],
                "visibility": 0.0 if n.away else 1.0,
                "clickable": n.clickable,
                "set_of_marks": n.clickable or n.editable,
            }
            for n in state.nodes
            if n.bid
        }
    return made


_SNAPSHOT = {"computedStyles": [], "includeDOMRects": True, "includePaintOrder": True}


def _bids(dom: Mapping[str, Any]) -> dict[int, str]:
    """Backend node -> number, from the attribute ``bid``."""
    words = dom["strings"]
    found: dict[int, str] = {}
    for document in dom["documents"]:
        nodes = document["nodes"]
        for backend, attributes in zip(nodes["backendNodeId"], nodes["attributes"], strict=True):
            for name, value in zip(attributes[::2], attributes[1::2], strict=True):
                if words[name] == "bid":
                    found[backend] = words[value]
    return found
