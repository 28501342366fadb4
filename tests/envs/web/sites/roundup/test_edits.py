"""What counts as done, and what counts as damage: deltas between two states of the tracker."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from agentgym.envs.web.sites.roundup.edits import Edit, changes, collateral, holds
from agentgym.envs.web.sites.roundup.state import Issue, TrackerState, User

ISSUE = Issue("Lamp flickers", "bug", "unread", "", ("crash",), ("docs",), (), ("First note.",), False)
USER = User("", "", "", "", "triage@tracker.test", "User", "secret", False)
START = TrackerState({1: ISSUE, 2: replace(ISSUE, title="Other")}, {"triage": USER}, ("crash",), ())


def after(number: int = 1, **values: Any) -> TrackerState:
    issues = dict(START.issues)
    issues[number] = replace(issues.get(number, ISSUE), **values)
    return replace(START, issues=issues)


STATUS = (Edit("issue", "1", {"status": "testing"}),)
NOTE = (Edit("issue", "1", {"note": "Again."}),)
NEW = (Edit("issue", "", {"title": "Made", "priority": "wish"}),)


def test_nothing_changed() -> None:
    assert changes(START, START) == ()
    assert not holds(STATUS[0], START, START)


def test_an_edit_holds_when_every_field_is_as_wanted() -> None:
    assert holds(STATUS[0], START, after(status="testing"))
    assert not holds(Edit("issue", "1", {"status": "testing", "priority": "wish"}), START, after(status="testing"))


@pytest.mark.parametrize(
    ("edits", "now"),
    [
        (STATUS, after(status="testing")),
        (STATUS, START),
        (NOTE, after(notes=("First note.", "Again."))),
        # a note on an unread issue starts a conversation: the tracker's own rule
        (NOTE, after(notes=("First note.", "Again.\n"), status="chatting")),
        (NEW, after(3, title="Made", priority="wish")),
        ((Edit("keyword", "", {"name": "sound"}),), replace(START, keywords=("crash", "sound"))),
        ((Edit("user", "triage", {"phone": "1"}),), replace(START, users={"triage": replace(USER, phone="1")})),
    ],
)
def test_what_is_wanted_is_no_damage(edits: tuple[Edit, ...], now: TrackerState) -> None:
    assert collateral(edits, START, now) == ()


@pytest.mark.parametrize(
    ("edits", "now", "damage"),
    [
        (STATUS, after(2, status="testing"), ("issue", "2", "status", "testing")),
        (STATUS, after(status="resolved"), ("issue", "1", "status", "resolved")),
        (STATUS, after(status="testing", priority="wish"), ("issue", "1", "priority", "wish")),
        (STATUS, after(retired=True), ("issue", "1", "gone", None)),
        (NOTE, after(notes=("First note.", "Wrong.")), ("issue", "1", "notes", ("First note.", "Wrong."))),
        (NOTE, after(status="resolved"), ("issue", "1", "status", "resolved")),
        (STATUS, replace(START, keywords=()), ("keyword", "crash", "gone", "crash")),
        (STATUS, replace(START, users={"triage": replace(USER, password="x")}), ("user", "triage", "password", "x")),
    ],
)
def test_everything_else_is(edits: tuple[Edit, ...], now: TrackerState, damage: Any) -> None:
    assert collateral(edits, START, now) == (damage,)


def test_a_second_copy_of_a_new_record_is_damage() -> None:
    twice = after(3, title="Made", priority="wish")
    twice = replace(twice, issues={**twice.issues, 4: twice.issues[3]})
    assert [c[:3] for c in collateral(NEW, START, twice)] == [("issue", "4", "new")]


def test_a_new_record_with_a_wrong_field_is_damage() -> None:
    wrong = after(3, title="Made", priority="bug")
    assert not holds(NEW[0], START, wrong)
    assert [c[:3] for c in collateral(NEW, START, wrong)] == [("issue", "3", "new")]


def test_a_retired_record_is_not_as_wanted() -> None:
    assert not holds(STATUS[0], START, after(status="testing", retired=True))
