"""The tracker's state, read from its database beside the application: what checks compare, out of the agent's reach."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Issue", "TrackerState", "User", "read"]


@dataclass(frozen=True, slots=True)
class Issue:
    """One issue. Names instead of the database's numbers; sets sorted."""

    title: str
    priority: str
    status: str
    assigned: str
    keywords: tuple[str, ...]
    nosy: tuple[str, ...]
    superseders: tuple[int, ...]
    notes: tuple[str, ...]
    retired: bool


@dataclass(frozen=True, slots=True)
class User:
    """One account's public settings."""

    realname: str
    organisation: str
    phone: str
    timezone: str
    address: str
    roles: str
    password: str
    """As stored: changed or not is all that it tells."""
    retired: bool


@dataclass(frozen=True, slots=True)
class TrackerState:
    """All that tasks may ask about."""

    issues: Mapping[int, Issue]
    users: Mapping[str, User]
    keywords: tuple[str, ...]
    queries: tuple[tuple[str, str, str], ...]
    """(owner, name, url) of saved searches."""


def read(data: Path) -> TrackerState:
    """The state in a tracker's folder (see `tracker.build`)."""
    address = f"file:{data / 'db' / 'db'}?mode=ro"
    database = sqlite3.connect(address, uri=True)
    try:
        return _read(database, data / "db" / "files" / "msg")
    finally:
        database.close()


def _read(database: sqlite3.Connection, messages: Path) -> TrackerState:
    users = dict(database.execute("select id, _username from _user"))
    priorities = dict(database.execute("select id, _name from _priority"))
    statuses = dict(database.execute("select id, _name from _status"))
    keywords = dict(database.execute("select id, _name from _keyword where __retired__ = 0"))
    tagged = _links(database, "issue_keyword")
    nosy = _links(database, "issue_nosy")
    superseders = _links(database, "issue_superseder")
    notes = _links(database, "issue_messages")
    issues = {
        number: Issue(
            title=title or "",
            priority=priorities.get(priority, ""),
            status=statuses.get(status, ""),
            assigned=users.get(assigned, ""),
            keywords=tuple(sorted(keywords[k] for k in tagged.get(number, ()) if k in keywords)),
            nosy=tuple(sorted(users[k] for k in nosy.get(number, ()))),
            superseders=tuple(sorted(superseders.get(number, ()))),
            notes=tuple(_message(messages, k) for k in sorted(notes.get(number, ()))),
            retired=bool(retired),
        )
        for number, title, priority, status, assigned, retired in database.execute(
            "select id, _title, _priority, _status, _assignedto, __retired__ from _issue order by id"
        )
    }
    accounts = {
        name: User(
            realname=realname or "",
            organisation=organisation or "",
            phone=phone or "",
            timezone=timezone or "",
            address=address or "",
            roles=roles or "",
            password=password or "",
            retired=bool(retired),
        )
        for name, realname, organisation, phone, timezone, address, roles, password, retired in database.execute(
            "select _username, _realname, _organisation, _phone, _timezone, _address, _roles, _password, __retired__"
            " from _user order by id"
        )
    }
    queries = database.execute("select _private_for, _name, _url from _query where __retired__ = 0 order by id")
    return TrackerState(
        issues,
        accounts,
        tuple(sorted(keywords.values())),
        tuple((users.get(owner, ""), name or "", url or "") for owner, name, url in queries),
    )


def _links(database: sqlite3.Connection, table: str) -> dict[int, list[int]]:
    found: dict[int, list[int]] = {}
    for there, here in database.execute(f"select linkid, nodeid from {table}"):
        found.setdefault(int(here), []).append(int(there))
    return found


def _message(folder: Path, number: int) -> str:
    path = folder / str(number // 1000) / f"msg{number}"
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
