"""Suites by name and from files; a mistake in a file is named with its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import agentgym
from agentgym.agents.evaluate import Item, Suite, register_suite, suite, suite_names
from agentgym.agents.evaluate.suites import FIRST_SEED
from agentgym.errors import UnknownName, UsageError


def test_the_built_in_suites_hold_ids_that_exist() -> None:
    assert {"quick", "grid"} <= set(suite_names())
    for name in ("quick", "grid"):
        for item in suite(name).items:
            assert agentgym.find(item.env).family == "grid"
            assert len(item.seeds) == len(set(item.seeds))
    assert [item.env for item in suite("grid").items] == [entry.id for entry in agentgym.catalogue("grid")]


@pytest.mark.parametrize("name", ["miniwob", "sites"])
def test_work_that_is_held_out_is_in_no_other_suite(name: str) -> None:
    whole, held_out = suite(name), suite(f"{name}-held-out")
    assert {item.env for item in whole.items}.isdisjoint(item.env for item in held_out.items)
    assert {item.env for item in suite("web-safety").items}.isdisjoint(item.env for item in held_out.items)
    for item in (*whole.items, *held_out.items, *suite("web-safety").items):
        assert agentgym.find(item.env).family == "web"
        assert min(item.seeds) >= FIRST_SEED  # training on small seeds meets other parameters


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'quick'"):
        suite("quikc")


def test_own_suites_are_registered_once() -> None:
    mine = Suite("test-mine", (Item("a/B-v0", (1, 2)),))
    register_suite("test-mine", lambda: mine)
    assert suite("test-mine") is mine
    with pytest.raises(UsageError, match="there is a suite 'test-mine' already"):
        register_suite("test-mine", lambda: mine)
    with pytest.raises(UsageError, match="no slash"):
        register_suite("a/b", lambda: mine)


def test_a_suite_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    items = [
        {"env": "a/B-v0", "seeds": [3, 1]},
        {"env": "a/B-v0", "seeds": {"start": 5, "count": 2}, "kwargs": {"view": "text"}},
    ]
    file.write_text(json.dumps({"description": "two", "items": items}))
    found = suite(file)
    assert found == suite(str(file))
    assert found.name == "mine"
    assert len(found) == 4
    assert found.items[1] == Item("a/B-v0", (5, 6), {"view": "text"})
    assert found.first(1).items[1].seeds == (5,)
    assert found.with_kwargs(size=5).items[1].kwargs == {"view": "text", "size": 5}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is not JSON"),
        ([], 'must be an object with a list "items"'),
        ({"items": []}, "has no items"),
        ({"items": [], "extra": 1}, r"unknown keys \['extra'\]"),
        ({"items": [3]}, 'item 0 must be an object with an "env"'),
        ({"items": [{"env": "a", "seeds": [1], "seed": 1}]}, r"unknown keys \['seed'\]"),
        ({"items": [{"env": "a", "seeds": "all"}]}, '"seeds" must be a list of whole numbers'),
        ({"items": [{"env": "a", "seeds": [True]}]}, '"seeds" must be a list of whole numbers'),
        ({"items": [{"env": "a", "seeds": [-1]}]}, '"seeds" must be a list of whole numbers'),
        ({"items": [{"env": "a", "seeds": []}]}, "a has no seeds"),
        ({"items": [{"env": "a", "seeds": [1, 1]}]}, "names a seed twice"),
        ({"items": [{"env": "a", "seeds": [1], "kwargs": 3}]}, '"kwargs" must be an object'),
        ({"items": [{"env": "a", "seeds": [1]}, {"env": "a", "seeds": [2]}]}, "twice with the same arguments"),
    ],
)
def test_a_file_with_a_mistake(tmp_path: Path, content: Any, words: str) -> None:
    file = tmp_path / "bad.json"
    file.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(UsageError, match=words):
        suite(file)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot read the suite"):
        suite(tmp_path / "none.json")
