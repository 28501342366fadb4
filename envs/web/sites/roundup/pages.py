"""The tracker's pages as a script finds its way through them: which record is shown, its form, and the links."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from agentgym.envs.web.actions import call
from agentgym.envs.web.sites.roundup.content import ORIGIN
from agentgym.envs.web.sites.roundup.edits import Edit
from agentgym.envs.web.sites.roundup.state import TrackerState
from agentgym.envs.web.view import Node, PageState

__all__ = ["filled", "next_action", "on_page", "towards_issue"]

_LISTS = ("keywords", "nosy", "superseders")
_IDS = {"keywords": "keyword", "superseders": "superseder"}
_MENUS = {"priority": "critical", "status": "unread", "assigned": "anonymous"}
"""Menus have no id: each is known by an option that it alone has."""


def on_page(edit: Edit, state: PageState) -> bool:
    """The record's own page (or the form for a new one) is shown."""
    path, _, query = state.url.removeprefix(f"{ORIGIN}/").partition("?")
    if edit.kind == "issue" and edit.key:
        return path == f"issue{edit.key}"
    if edit.kind == "user":
        login = state.find(id="username")
        return re.fullmatch(r"user\d+", path) is not None and login is not None and login.value == edit.key
    return path == edit.kind and "template=item" in query


def filled(edit: Edit, state: PageState, now: TrackerState) -> float:
    """Share of the wanted values that stand in the form shown, saved or not; 0 on other pages."""
    if not on_page(edit, state) or not edit.values:
        return 0.0
    return sum(_shown(name, value, state) for name, value in edit.values.items()) / len(edit.values)


def next_action(edit: Edit, state: PageState, title: str) -> str:
    """The next step of a script that brings the edit about: find the page, fill the form, submit.

    Args:
        edit: what is wanted.
        state: the page now.
        title: the issue's title as it stands.
    """
    if not on_page(edit, state):
        return _towards(edit, state, title)
    for name, value in edit.values.items():
        if not _shown(name, value, state):
            node = _field(name, state)
            if name in _MENUS:
                return call("select_option", str(node.bid), value or "- no selection -")
            return call("fill", str(node.bid), _text(name, value))
    return call("click", str(_submit(state).bid))


def towards_issue(state: PageState, title: str) -> str:
    """The next step to an issue's page: its link in the list shown, else the list of all."""
    if (link := state.find(role="link", name=title)) is not None:
        return _click(link)
    if "dispname=Show%20All" in state.url:  # which leaves out the resolved ones
        return call("goto", f"{ORIGIN}/issue?@columns=id,title,status&@pagesize=100")
    return _click(state.find(role="link", name="Show All"))


# ---------------------------------------------------------------------- inside


def _towards(edit: Edit, state: PageState, title: str) -> str:
    if edit.kind == "user":
        return _click(state.find(role="link", name="Your Details"))
    if not edit.key:
        links = list(state.all(role="link", name="Create New"))
        return _click(links[0 if edit.kind == "issue" else 1] if len(links) > 1 else None)
    return towards_issue(state, title)


def _click(node: Node | None) -> str:
    # every page of the tracker has its menu; where a script has been led elsewhere, it begins again
    return call("click", str(node.bid)) if node is not None else call("goto", f"{ORIGIN}/")


def _field(name: str, state: PageState) -> Node:
    if name in _MENUS:
        found = next((n for n in state.nodes if n.tag == "select" and _MENUS[name] in n.options), None)
    elif name == "note":
        found = state.find(tag="textarea")
    else:
        found = state.find(id=_IDS.get(name, name))
    if found is None:
        raise LookupError(f"no field {name!r} on {state.url}")
    return found


def _shown(name: str, value: Any, state: PageState) -> bool:
    try:
        node = _field(name, state)
    except LookupError:
        return False
    if name in _LISTS:
        return _split(node.value) == sorted(map(str, value))
    return node.value == (value or "- no selection -" if name in _MENUS else value)


def _text(name: str, value: Any) -> str:
    return ",".join(map(str, value)) if name in _LISTS else str(value)


def _split(text: str) -> list[str]:
    return sorted(part.strip() for part in text.split(",") if part.strip())


def _submit(state: PageState) -> Node:
    wanted: Iterable[str] = ("Submit Changes", "Submit New Entry")
    found = next((n for n in state.nodes if n.role == "button" and n.name in wanted), None)
    if found is None:
        raise LookupError(f"no form to submit on {state.url}")
    return found
