"""Errors: the tree, and what the messages offer."""

from __future__ import annotations

import pickle

import pytest

from agentgym import Milestone, errors
from agentgym.errors import MissingExtra, TaskError, UnknownName, nearest
from agentgym.process import bits, names
from tests.toy import CorridorTask


def test_every_error_has_the_root_and_the_builtin_that_callers_expect() -> None:
    tree = [getattr(errors, name) for name in errors.__all__ if name != "nearest"]
    assert all(issubclass(error, errors.AgentGymError) for error in tree)
    assert issubclass(errors.UsageError, ValueError)
    assert issubclass(MissingExtra, ImportError)
    assert issubclass(errors.WorldTimeout, TimeoutError)


def test_an_unknown_name_offers_the_nearest_and_the_list() -> None:
    error = UnknownName("recipe", "gigp", ["grpo", "gigpo", "spa"], "`agentgym recipes` lists all")
    assert str(error) == "unknown recipe 'gigp'; did you mean 'gigpo'? (`agentgym recipes` lists all)"
    assert str(UnknownName("recipe", "zzz", ["spa"], "see the list")) == "unknown recipe 'zzz'; see the list"
    assert len(str(UnknownName("recipe", "x" * 10_000, []))) < 300


@pytest.mark.parametrize(("name", "found"), [("SPA", ["spa"]), ("gigpo", ["gigpo", "grpo"]), ("", []), ("zzz", [])])
def test_nearest(name: str, found: list[str]) -> None:
    assert nearest(name, ["grpo", "gigpo", "spa"]) == found


def test_a_missing_extra_says_the_command_for_a_checkout() -> None:
    assert 'pip install -e ".[train]"' in str(MissingExtra("torch", "train"))
    assert "run that" in str(MissingExtra("torch", "train", "run that"))


@pytest.mark.parametrize("error", [MissingExtra("torch", "train"), UnknownName("recipe", "a", ["b"]), TaskError("no")])
def test_errors_cross_process_borders(error: Exception) -> None:
    """Workers send them home."""
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_bits_and_names_are_inverse() -> None:
    items = ["a", "b", "c"]
    assert [bits(items, names(items, mask)) for mask in range(8)] == list(range(8))
    assert names(items, 0b101) == ("a", "c")


def test_a_milestone_needs_one_way_to_be_reached() -> None:
    for ways in ({}, {"reached": lambda s, ep: True, "event": "e"}):
        with pytest.raises(TaskError, match="exactly one"):
            Milestone("m", "", **ways)


def test_event_codes_have_bits_in_order_and_distinct_names() -> None:
    assert CorridorTask().event_codes == ("milestone:half_way", "milestone:at_goal", "danger:fell")

    class Twice(CorridorTask):
        milestones = (*CorridorTask.milestones, CorridorTask.milestones[0])

    with pytest.raises(TaskError, match="distinct"):
        _ = Twice().event_codes
