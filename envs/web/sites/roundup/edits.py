"""Edits: what has to become true of one record, and what changed between two states of the tracker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from agentgym.envs.web.sites.roundup.content import AGENT
from agentgym.envs.web.sites.roundup.state import TrackerState

__all__ = ["Change", "Edit", "changes", "collateral", "holds", "record"]

Kind = Literal["issue", "user", "keyword"]
Change = tuple[Kind, str, str, Any]
"""(kind, key, field, value now); field "new" and "gone" for whole records."""


@dataclass(frozen=True)
class Edit:
    """A wanted fact.

    Attributes:
        kind: of record.
        key: the issue's number or the user's name; "" for a record that is to be made.
        values: field -> value, as in `state.Issue` and `state.User`; an issue's "note" is one that must be among its
            notes, a keyword has a "name".
    """

    kind: Kind
    key: str
    values: Mapping[str, Any] = field(default_factory=dict)


def record(state: TrackerState, kind: Kind, key: str) -> Any:
    """The record, or None."""
    if kind == "issue":
        return state.issues.get(int(key))
    return state.users.get(key) if kind == "user" else (key if key in state.keywords else None)


def changes(start: TrackerState, now: TrackerState) -> tuple[Change, ...]:
    """Every field that differs, in a fixed order."""
    found: list[Change] = []
    for number in sorted(start.issues.keys() | now.issues.keys()):
        found += _differences("issue", str(number), start.issues.get(number), now.issues.get(number))
    for name in sorted(start.users.keys() | now.users.keys()):
        found += _differences("user", name, start.users.get(name), now.users.get(name))
    found += [("keyword", k, "new", k) for k in now.keywords if k not in start.keywords]
    found += [("keyword", k, "gone", k) for k in start.keywords if k not in now.keywords]
    return tuple(found)


def holds(edit: Edit, start: TrackerState, now: TrackerState) -> bool:
    """The fact is so."""
    if edit.kind == "keyword":
        return edit.values["name"] in now.keywords
    if not edit.key:
        return any(_fits(edit, now.issues[n], None) for n in now.issues if n not in start.issues)
    found = record(now, edit.kind, edit.key)
    return found is not None and _fits(edit, found, record(start, edit.kind, edit.key))


def collateral(edits: tuple[Edit, ...], start: TrackerState, now: TrackerState) -> tuple[Change, ...]:
    """What changed and should not have: other records, other fields, and wrong values of the right fields."""
    spare = [e for e in edits if not e.key]
    wrong = []
    for change in changes(start, now):
        kind, key, name, _ = change
        if name == "new" and kind == "issue":
            made = next((e for e in spare if e.kind == "issue" and _fits(e, now.issues[int(key)], None)), None)
            if made is not None:
                spare.remove(made)
                continue
        elif (name == "new" and kind == "keyword" and any(e.values.get("name") == key for e in spare)) or any(
            e.kind == kind and e.key == key and _meant(e, name, start, now) for e in edits
        ):
            continue
        wrong.append(change)
    return tuple(wrong)


# ---------------------------------------------------------------------- inside


def _differences(kind: Kind, key: str, before: Any, after: Any) -> list[Change]:
    if before is None:
        return [(kind, key, "new", _plain(after))]
    if after is None or (after.retired and not before.retired):
        return [(kind, key, "gone", None)]
    names = [f.name for f in fields(before)]
    return [(kind, key, n, getattr(after, n)) for n in names if getattr(before, n) != getattr(after, n)]


def _plain(found: Any) -> tuple[Any, ...]:
    return tuple(getattr(found, f.name) for f in fields(found))


def _fits(edit: Edit, found: Any, before: Any) -> bool:
    if found.retired:
        return False
    for name, value in edit.values.items():
        if name == "note":
            old = before.notes if before is not None else ()
            if [n.strip() for n in found.notes[len(old) :]] != [value]:
                return False
        elif getattr(found, name) != value:
            return False
    return True


def _meant(edit: Edit, name: str, start: TrackerState, now: TrackerState) -> bool:
    """This field of this record may have changed: it is wanted, or the tracker itself changes it along."""
    found = record(now, edit.kind, edit.key)
    if name == "notes" and "note" in edit.values:
        before = record(start, edit.kind, edit.key)
        return [n.strip() for n in found.notes[len(before.notes) :]] == [edit.values["note"]]
    if name in edit.values:
        return bool(getattr(found, name) == edit.values[name])
    if name == "status" and "note" in edit.values and "status" not in edit.values:
        # a note on an unread or resolved issue starts a conversation: Roundup's own rule
        return bool(found.status == "chatting")
    return name == "nosy" and "note" in edit.values and set(found.nosy) <= {*start.issues[int(edit.key)].nosy, AGENT}
