"""The checker passes a sound environment, and each rule catches the one that is broken in its place."""

from __future__ import annotations

import json
import threading
from functools import partial
from types import SimpleNamespace
from typing import Any

import gymnasium
import pytest

from agentgym import ProcessEnv, registration
from agentgym.check import RULES, check_process_env, command
from agentgym.check.report import Broken
from agentgym.check.signals import anchor_varies
from agentgym.errors import UnknownName, UsageError
from tests.check.broken import BROKEN
from tests.toy import ARRAY_ID, TEXT_ID, AsyncCorridorWorld, CorridorTask, CorridorWorld, make, register_toys


@pytest.fixture(autouse=True)
def _toys() -> None:
    register_toys()


@pytest.mark.parametrize(
    "sound",
    [TEXT_ID, ARRAY_ID, make, partial(make, asynchronous=True), partial(make, "array", admissible=True)],
    ids=["text", "array", "factory", "coroutines", "admissible"],
)
def test_a_sound_environment_keeps_every_rule(sound: object) -> None:
    report = check_process_env(sound)
    assert report.ok, str(report)
    assert [result.rule for result in report.results] == [rule.id for rule in RULES]


def test_every_rule_has_a_broken_environment() -> None:
    assert BROKEN.keys() == {rule.id for rule in RULES}


@pytest.mark.parametrize("rule", BROKEN)
def test_a_rule_catches_its_broken_environment_and_no_other_does(rule: str) -> None:
    report = check_process_env(BROKEN[rule])
    assert report.failed == {rule}, str(report)
    failure = report[rule]
    assert failure.expected
    assert failure.got
    assert failure.do


def test_anchors_vary_also_where_the_agent_sees_nothing_of_it() -> None:
    """A page that is over may look as before, and a note beside it may change what is seen and no state."""

    def trace(*told: tuple[str, int]) -> Any:
        return SimpleNamespace(
            seed=7,
            moments=[SimpleNamespace(observation=o, record={"anchor": a, "progress": 0.0}, error="") for o, a in told],
        )

    noted, over = trace(("page", 1), ("page, and a note", 1)), trace(("page", 1), ("page", 2))
    assert anchor_varies(SimpleNamespace(traces=[noted, over]))  # type: ignore[arg-type]  # all that the rule reads
    with pytest.raises(Broken, match="one anchor in each of 1 episodes"):
        anchor_varies(SimpleNamespace(traces=[noted]))  # type: ignore[arg-type]


def test_an_instance_without_a_spec_is_checked_as_far_as_it_goes_and_left_open() -> None:
    env = make()
    report = check_process_env(env)
    assert report.ok, str(report)
    assert "cannot be made twice" in report["vector/equals-single"].evidence
    assert "same instance" in report["determinism/fresh"].evidence
    env.reset(seed=0)


def test_an_instance_with_a_spec_is_made_again_from_it() -> None:
    report = check_process_env(gymnasium.make(TEXT_ID))
    assert report["determinism/process"].outcome == "pass"


class Unsolvable(CorridorTask):
    def oracle(self, ep: object, peek: object) -> None:
        return None


def test_a_solvable_task_without_oracle_fails_and_one_that_says_why_does_not() -> None:
    silent, candid = Unsolvable(), Unsolvable()
    candid.no_oracle = "only people can judge it"
    assert check_process_env(lambda: make(task=silent)).failed == {"oracle/solves"}
    report = check_process_env(lambda: make(task=candid))
    assert report.ok, str(report)
    assert report["oracle/solves"].outcome == "not applicable"
    assert "only people can judge it" in report["oracle/solves"].evidence


class Endless(CorridorTask):
    """Walking for its own sake."""

    has_success = False
    progress_kind = "none"

    def success(self, state: object, ep: object) -> bool:
        return False

    def progress(self, state: object, ep: object) -> float:
        return 0.0


def test_an_endless_task_needs_no_oracle() -> None:
    report = check_process_env(lambda: make(task=Endless()))
    assert report.ok, str(report)
    assert "endless" in report["oracle/solves"].evidence


def test_the_command_prints_one_line_per_rule_and_its_exit_code_means_something(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command([TEXT_ID], seeds=1) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + len(RULES)
    assert [line.split()[1] for line in lines[1:] if line.split()[0] == "pass"]
    assert command([TEXT_ID, ARRAY_ID], seeds=1, json=True) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [report["environment"] for report in reports] == [TEXT_ID, ARRAY_ID]
    assert all(report["ok"] and len(report["rules"]) == len(RULES) for report in reports)
    assert command([], all=True, family="toy", seeds=1) == 0


def test_the_command_shows_what_broke_and_fails(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    id = "toy/NoOracle-v0"
    gymnasium.register(id, lambda **options: make(task=Unsolvable(), **options))
    monkeypatch.setitem(registration._entries, id, registration.Entry(id, "toy", "nobody can"))
    assert command([TEXT_ID, id], seeds=1) == 1
    shown = capsys.readouterr().out
    assert "oracle/solves" in shown.split("fail  ")[1]
    assert "do        write `Task.oracle`, or say in `Task.no_oracle` why no script can" in shown
    assert command([id], seeds=1, json=True) == 1
    (report,) = json.loads(capsys.readouterr().out)
    (failure,) = (rule for rule in report["rules"] if rule["outcome"] == "fail")
    assert failure["rule"] == "oracle/solves"


def test_the_command_refuses_what_it_cannot_do() -> None:
    with pytest.raises(UnknownName, match="toy/Corridor-v0"):
        command(["toy/Coridor-v0"])
    for arguments in ({}, {"family": "toy"}):
        with pytest.raises(UsageError, match="--all"):
            command([], **arguments)
    with pytest.raises(UsageError, match="at least 1"):
        check_process_env(TEXT_ID, seeds=0)


def test_the_coroutines_ran_on_a_thread_of_their_own() -> None:
    seen = []

    class Spying(AsyncCorridorWorld):
        async def act(self, action: object) -> object:
            seen.append(threading.current_thread().name)
            return await super().act(action)

    env = ProcessEnv(Spying(), CorridorTask())
    env.reset(seed=0)
    env.step("right")
    assert seen == ["agentgym-toy"]


def test_few_environments_are_open_at_once_and_all_are_closed() -> None:
    """A world may be a whole browser or container."""
    open_now, most = 0, 0

    class Counted(CorridorWorld):
        def __init__(self) -> None:
            super().__init__()
            nonlocal open_now, most
            open_now += 1
            most = max(most, open_now)

        def close(self) -> None:
            nonlocal open_now
            open_now -= 1

    assert check_process_env(lambda: ProcessEnv(Counted(), CorridorTask())).ok
    assert open_now == 0
    assert most <= 4  # two rows of a vector beside two single ones
