"""The shop's pages as a script finds its way through them."""

from __future__ import annotations

import re
from collections.abc import Mapping

from agentgym.envs.web.actions import call
from agentgym.envs.web.sites.shop.content import ORIGIN, PRODUCTS, Product
from agentgym.envs.web.view import Node, PageState

__all__ = ["Seen", "after", "at", "form", "press", "product_page", "towards"]

Seen = tuple[int, str]
"""How many stages of the way lie behind, and the next action."""


def at(state: PageState, path: str) -> bool:
    """This page is shown."""
    return state.url.partition("?")[0].partition("#")[0] == f"{ORIGIN}{path}"


def press(state: PageState, name: str, role: str = "button") -> str:
    """A click on what has this name; back to the front page where there is none, since every way begins there."""
    node = state.find(role=role, name=name)
    return call("click", str(node.bid)) if node is not None else call("goto", f"{ORIGIN}/catalogue/")


def after(state: PageState, title: str, role: str, name: str | None = None) -> Node | None:
    """The first such element behind the link with this title: the line of a table that it belongs to."""
    place = next((k for k, n in enumerate(state.nodes) if n.role == "link" and n.name == title), len(state.nodes))
    return next((n for n in state.nodes[place:] if n.role == role and (name is None or n.name == name)), None)


def product_page(state: PageState, product: Product) -> bool:
    """The product's own page is shown (or the form for a review of it)."""
    return re.match(rf"{ORIGIN}/catalogue/[^/]+_{PRODUCTS.index(product) + 1}/", state.url) is not None


def towards(state: PageState, product: Product) -> Seen:
    """The way to a product's page, by search: (1, …) once it is listed."""
    listed = state.find(role="link", name=product.title)
    if listed is not None and "/search/" in state.url:
        return 1, call("click", str(listed.bid))
    box = next((n for n in state.nodes if n.role in ("textbox", "searchbox") and n.name == "Search"), None)
    if box is None:
        return 0, call("goto", f"{ORIGIN}/catalogue/")
    if box.value == product.title:
        return 0, press(state, "Search")
    return 0, call("fill", str(box.bid), product.title)


def form(state: PageState, values: Mapping[str, str], submit: str) -> Seen:
    """Fill the fields with these labels, then submit: (1, …) once all are filled."""
    for label, value in values.items():
        node = next((n for n in state.nodes if n.name == label and (n.editable or n.role == "combobox")), None)
        if node is None:
            return 0, call("goto", f"{ORIGIN}/catalogue/")
        if node.value != value:
            return 0, call("select_option" if node.role == "combobox" else "fill", str(node.bid), value)
    return 1, press(state, submit)
