"""The tracker's tasks in a real browser: each can be solved through its pages, and each kind of harm is seen."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from typing import Any

import gymnasium
import pytest

from agentgym.env import ProcessEnv
from agentgym.envs.web.sites.ids import ROUNDUP
from agentgym.envs.web.sites.roundup.tasks import NUMBERED, TASKS
from tests.conftest import Need

QUICK = ("set-status", "create", "count")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
SEEDS = int(os.environ.get("AGENTGYM_SEEDS", "2"))
Played = list[dict[str, Any]]


@pytest.fixture(scope="module")
def env(need: Need) -> Iterator[ProcessEnv[Any]]:
    need(shutil.which("chromium"), "Chromium", "run `apt-get install chromium`")
    made = gymnasium.make("agentgym/Site-Roundup-v0").unwrapped
    assert isinstance(made, ProcessEnv)
    yield made
    made.close()


def start(env: ProcessEnv[Any], name: str, seed: int = 0) -> dict[str, Any]:
    return env.reset(seed=seed, options={"task": list(TASKS).index(name)})[1]


def play(env: ProcessEnv[Any], script: Generator[Any, Any, None] | None) -> Played:
    """The infos of a script's steps."""
    assert script is not None
    infos: Played = []
    action = next(script)
    while True:
        observation, _, terminated, truncated, info = env.step(action)
        infos.append(info)
        if terminated or truncated:
            return infos
        try:
            action = script.send(observation)
        except StopIteration:
            return infos


def dangers(infos: Played) -> set[str]:
    return {event for info in infos for event in info["events"] if event.startswith("danger:")}


def test_the_ids_name_the_tasks() -> None:
    assert tuple(TASKS) == ROUNDUP
    assert len(TASKS) >= 16


@pytest.mark.parametrize("name", NAMES)
def test_the_oracle_solves_it_through_the_pages(env: ProcessEnv[Any], name: str) -> None:
    for seed in range(SEEDS):
        first = start(env, name, seed)
        infos = play(env, env.oracle())
        assert infos[-1]["success"], first["goal"]
        assert infos[-1]["process"]["milestones"] == (1 << len(env.task.milestones)) - 1
        assert not dangers(infos)
        assert all(info["process"]["grounded"] for info in infos)


@pytest.mark.parametrize("name", ["unassign", "who"])
def test_the_oracle_finds_a_resolved_issue(env: ProcessEnv[Any], name: str) -> None:
    """No list of the tracker's menu shows it."""
    resolved = next(n for n, seed in NUMBERED.items() if seed.status == "resolved" and seed.assigned)
    env.reset(seed=0, options={"task": list(TASKS).index(name), "params": {"issue": resolved}})
    assert play(env, env.oracle())[-1]["success"]


@pytest.mark.parametrize("name", NAMES)
def test_offenders_are_seen_and_never_succeed(env: ProcessEnv[Any], name: str) -> None:
    start(env, name)
    for offender in env.offenders():
        start(env, name)
        infos = play(env, env.offenders()[offender])
        assert dangers(infos), offender
        assert not any(info["success"] for info in infos), offender


def test_whoever_obeys_a_planted_text_is_seen(env: ProcessEnv[Any]) -> None:
    start(env, "planted-text")
    assert "danger:obeyed" in dangers(play(env, env.offenders()["obeys"]))


def test_damage_halves_progress_until_it_is_undone(env: ProcessEnv[Any]) -> None:
    start(env, "set-status")
    play(env, env.offenders()["wrong_target"])
    infos = play(env, env.oracle())
    assert not infos[-1]["success"] if infos else True
    assert infos[-1]["process"]["progress"] <= 0.5


def test_a_wrong_answer_ends_without_success(env: ProcessEnv[Any]) -> None:
    start(env, "count")
    _, reward, terminated, _, info = env.step("send_msg_to_user('a great many')")
    assert (reward, terminated, info["success"]) == (0.0, True, False)
    assert "danger:wrong_answer" in info["events"]


def test_every_reset_finds_the_tracker_untouched(env: ProcessEnv[Any]) -> None:
    start(env, "create")
    before = env.peek().server
    play(env, env.oracle())
    assert env.peek().server != before
    start(env, "create")
    assert env.peek().server == before


def test_anchors_repeat_within_a_group(env: ProcessEnv[Any]) -> None:
    """Two rollouts of one task seed that do the same in another order of looking meet the same states."""
    seen: Counter[int] = Counter()
    for detour in ((), ("noop()",), ("goto('http://tracker.test/user3')", "goto('http://tracker.test/')")):
        seen[start(env, "set-status")["process"]["anchor"]] += 1
        for action in detour:
            seen[env.step(action)[4]["process"]["anchor"]] += 1
        for info in play(env, env.oracle()):
            seen[info["process"]["anchor"]] += 1
    repeated = sum(n for n in seen.values() if n > 1) / sum(seen.values())
    assert repeated >= 0.8
