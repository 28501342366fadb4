"""MiniWoB: every page runs with its own words and verdict; known kinds have true signals, an oracle, an offender."""

from __future__ import annotations

import importlib.util
import os
import re
from collections import Counter
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv

import agentgym
from agentgym import ProcessEnv
from agentgym.agents.evaluate import suite
from agentgym.check import check_process_env
from agentgym.check.subject import random_actor
from agentgym.check.trace import play, scripted
from agentgym.envs.web.browser import LOOP
from agentgym.envs.web.ids import FLIGHT, TASKS
from agentgym.envs.web.miniwob.kinds import known
from agentgym.envs.web.miniwob.make import html_root
from agentgym.envs.web.miniwob.task import RELOAD
from agentgym.errors import UnknownName
from agentgym.process import names
from agentgym.world import wait

ONE_EACH = (
    "login-user",
    "click-checkboxes",
    "email-inbox-forward",
    "search-engine",
    "choose-date-easy",
    "drag-box",
    "click-tab",
)
"""One of every kind, for the quick tests."""


def make(task: str, **options: Any) -> ProcessEnv[Any]:
    env = gymnasium.make(f"agentgym/MiniWoB-{task}-v0", **options).unwrapped
    assert isinstance(env, ProcessEnv)
    return env


def run(env: ProcessEnv[Any], script: Any) -> list[dict[str, Any]]:
    """What each action of a script brought: the infos."""
    infos = []
    for action in script:
        *_, terminated, truncated, info = env.step(action)
        assert info["process"]["grounded"], (action, info["error"])
        infos.append(info)
        if terminated or truncated:
            break
    return infos


SEEDS = int(os.environ.get("AGENTGYM_SEEDS", "4"))
"""Of every page's oracle and offenders; long form: `AGENTGYM_SEEDS=20 make test ARGS="-k oracle_and_offender"`."""


def check_scripts(task: str, seeds: range) -> None:
    """The oracle solves with every milestone and rising progress; the offenders raise danger and never solve."""
    env = make(task)
    every = (1 << len(env.task.milestones)) - 1
    for seed in seeds:
        _, info = env.reset(seed=seed)
        assert info["process"]["progress"] == 0
        infos = run(env, env.oracle())
        progress = [i["process"]["progress"] for i in infos]
        assert infos[-1]["success"], (task, seed, info["goal"])
        assert infos[-1]["process"]["milestones"] == every
        assert progress == sorted(progress), (task, seed, progress)
        assert not any(i["process"]["danger"] for i in infos)
        for name in env.offenders():
            env.reset(seed=seed)
            infos = run(env, env.offenders()[name])
            assert any(i["process"]["danger"] for i in infos), (task, seed, name)
            assert not any(i["success"] for i in infos), (task, seed, name)
    env.close()


@pytest.mark.parametrize("task", ONE_EACH)
def test_oracle_and_offenders(task: str) -> None:
    check_scripts(task, range(3))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("task", known())
def test_every_oracle_and_offender(task: str) -> None:
    check_scripts(task, range(SEEDS))


def test_all_tasks_of_the_package_are_registered() -> None:
    spec = importlib.util.find_spec("miniwob")
    assert spec is not None
    assert spec.submodule_search_locations
    source = "".join(p.read_text() for p in (Path(spec.submodule_search_locations[0]) / "envs").glob("*.py"))
    theirs = set(re.findall(r'subdomain = "([^"]+)"', source))
    assert theirs == {*TASKS, *FLIGHT}
    ours = {entry.id for entry in agentgym.catalogue("web")}
    assert {f"agentgym/MiniWoB-{task}-v0" for task in theirs} <= ours
    assert set(known()) <= set(TASKS)
    with pytest.raises(UnknownName, match="login-user"):
        gymnasium.make("agentgym/MiniWoB-login-user-v0", task="login-usr")


def test_kinds_are_many_and_say_what_they_are() -> None:
    with_progress = [task for task, kind in known().items() if kind.steps]
    assert len(with_progress) >= 40, len(with_progress)
    unknown = make("stock-market")
    assert unknown.task.progress_kind == "none"
    assert unknown.task.no_oracle
    assert make("login-user").task.progress_kind == "proxy"


def test_signals_follow_the_page() -> None:
    env = make("login-user", reward="world")
    observation, info = env.reset(seed=0)
    user, password = re.findall(r'"(.*?)"', info["goal"])
    assert observation["goal"] == info["goal"]
    ids = {n.id: str(n.bid) for n in env.peek().nodes}
    steps = [
        (f"fill({ids['username']!r}, 'wrong')", 0.0, ()),
        (f"fill({ids['username']!r}, {user!r})", 1 / 3, ("user_name",)),
        (f"fill({ids['password']!r}, {password!r})", 2 / 3, ("user_name", "password")),
        (f"clear({ids['username']!r})", 1 / 3, ("user_name", "password")),
        (f"fill({ids['username']!r}, {user!r})", 2 / 3, ("user_name", "password")),
        (f"click({ids['subbtn']!r})", 1.0, ("user_name", "password", "solved")),
    ]
    for action, progress, milestones in steps:
        _, reward, terminated, _, info = env.step(action)
        assert info["process"]["progress"] == pytest.approx(progress)
        assert names([m.name for m in env.task.milestones], info["process"]["milestones"]) == milestones
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    env.close()


def test_a_wrong_end_is_dangerous_and_the_page_judges_it() -> None:
    env = make("login-user", reward="world")
    env.reset(seed=0)
    node = env.peek().find(id="subbtn")
    _, reward, terminated, _, info = env.step(f"click('{node.bid}')")
    assert (reward, terminated, info["success"]) == (-1.0, True, False)
    assert info["events"] == ("danger:wrong_end",)
    assert info["process"]["progress"] == 0
    env.close()


def test_there_is_no_time_limit_but_the_steps() -> None:
    env = make("login-user")
    env.reset(seed=0)
    for _ in range(14):
        *_, terminated, truncated, _ = env.step("noop(60000)")
        assert (terminated, truncated) == (False, False)
    *_, terminated, truncated, _ = env.step("noop(60000)")
    assert (terminated, truncated) == (False, True)
    env.reset(seed=0)
    assert run(env, env.oracle())[-1]["success"]
    env.close()


@pytest.mark.parametrize("away", ["http://miniwob.test/miniwob/click-test.html", "http://miniwob.test/"])
def test_another_page_of_the_package_is_outside(away: str) -> None:
    env = make("login-user")
    env.reset(seed=0)
    *_, info = env.step(f"goto({away!r})")
    assert info["events"] == ("danger:outside",)
    assert env.peek().url.endswith("/login-user.html")
    env.close()


def test_loading_the_page_again_is_no_way_to_another_episode() -> None:
    env = make("click-test")
    env.reset(seed=0)
    env.step("goto('http://miniwob.test/miniwob/click-test.html')")
    for node in [*env.peek().nodes]:
        if node.bid and node.clickable:
            *_, info = env.step(f"click('{node.bid}')")
    assert not info["success"]
    assert info["process"]["progress"] == 0
    env.close()


def test_anchors_do_not_tell_in_which_order_things_were_done() -> None:
    env = make("login-user")
    anchors = []
    for order in ((0, 1), (1, 0)):
        _, info = env.reset(seed=0)
        texts = re.findall(r'"(.*?)"', info["goal"])
        fields = [n for n in env.peek().nodes if n.editable]
        for k in order:
            *_, info = env.step(f"fill('{fields[k].bid}', {texts[k]!r})")
        anchors.append(info["process"]["anchor"])
    assert anchors[0] == anchors[1]
    env.close()


@pytest.mark.parametrize("task", ["login-user", "click-checkboxes", "email-inbox-reply"])
def test_anchors_repeat_inside_a_group(task: str, record_property: Any) -> None:
    """Eight rollouts of one seed by a noisy oracle: how many of their steps start in a state that another one saw."""
    env = make(task, max_steps=8)
    seen = []
    for rollout in range(8):
        _, info = env.reset(seed=1)
        rng = np.random.default_rng(rollout)
        over = False
        while not over:
            seen.append((rollout, info["process"]["anchor"]))
            right = next(env.oracle(), "noop()")
            listed = [a for a in env.admissible() if "click" in a or "fill" in a]
            action = right if rng.random() < 0.6 else listed[rng.integers(len(listed))]
            *_, terminated, truncated, info = env.step(action)
            over = terminated or truncated
    rollouts = Counter(anchor for _, anchor in set(seen))
    share = sum(rollouts[anchor] > 1 for _, anchor in seen) / len(seen)
    record_property("share", share)
    assert share > 0.5, share
    env.close()


@pytest.mark.parametrize("vector", [SyncVectorEnv, AsyncVectorEnv])
def test_vectors_merge_the_record(vector: Any) -> None:
    envs = vector([lambda: gymnasium.make("agentgym/MiniWoB-click-checkboxes-v0")] * 2)
    try:
        singles = []
        for seed in (0, 1):
            one = make("click-checkboxes")
            singles.append(one.reset(seed=seed)[1]["process"]["anchor"])
            one.close()
        assert envs.reset(seed=[0, 1])[1]["process"]["anchor"].tolist() == singles
        infos = envs.step(("noop()", "nonsense"))[-1]
        assert infos["process"]["grounded"].tolist() == [True, False]
    finally:
        envs.close()


@pytest.mark.slow
def test_the_contract() -> None:
    report = check_process_env("agentgym/MiniWoB-click-checkboxes-v0", seeds=1, steps=12)
    assert not report.failures, report.failures


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "task",
    [
        *("login-user", "email-inbox", "drag-box", "click-tab", "ascending-numbers"),
        # seen once on a busy machine: one state in some hundred differed between two plays of a seed
        pytest.param("book-flight", marks=pytest.mark.xfail(reason="does not always repeat", strict=False)),
    ],
)
def test_the_contract_of_more(task: str) -> None:
    report = check_process_env(f"agentgym/MiniWoB-{task}-v0", seeds=2, steps=20)
    assert not report.failures, report.failures


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("task", TASKS)
def test_every_page_repeats_and_a_kept_page_equals_a_fresh_one(task: str) -> None:
    """Fifty random steps over as many episodes as it takes, then a seeded episode: on the used and on a fresh page."""
    used = make(task, max_steps=60)
    rng = np.random.default_rng(0)
    left = 50
    while left > 0:
        seed = int(rng.integers(1000))
        trace = play(used, seed, "random", lambda env, s=seed: random_actor(env, s), min(left, 15))
        assert not trace.error, trace.error
        left -= max(1, len(trace.actions))
    fresh = make(task, max_steps=60)
    actor = random_actor(fresh, 7)
    fresh.reset(seed=7)
    actions = [action for action, _ in zip(actor, range(10), strict=False)]
    told = [play(env, 7, "random", scripted(actions), 10) for env in (used, fresh)]
    facts = [[moment.facts for moment in trace.moments] for trace in told]
    assert facts[0] == facts[1]
    used.close()
    fresh.close()


def test_a_page_whose_links_lead_nowhere_is_kept_and_forgets_where_it_was() -> None:
    """A link to "#" changes the address and not the document: loading it again would cost twenty resets."""
    env = make("search-engine", max_steps=20)
    env.reset(seed=0)
    mark, back = "window.mark = (window.mark || 0) + 1", "navigation.canGoBack"
    wait(env.world.read(mark), LOOP)
    for seed in (1, 2):
        run(env, env.oracle())
        assert env.peek().url.endswith("#")
        assert wait(env.world.read(back), LOOP)
        env.reset(seed=seed)
        assert not env.peek().url.endswith("#")
        assert not wait(env.world.read(back), LOOP)
    assert wait(env.world.read(mark), LOOP) == 2
    env.close()


LEAKING = ("choose-date", "drag-items", "use-slider", "scroll-text")


@pytest.mark.parametrize("task", LEAKING)
def test_pages_that_are_loaded_again_have_to_be(task: str) -> None:
    """The list of pages that cannot be kept is no longer than it must be: kept, these still differ (a sample)."""
    assert task in RELOAD
    env = make(task)
    env.task._keep = True
    env.reset(seed=3)
    first = env.peek()
    for _ in range(2):
        for action in (a for a in [*env.admissible()][:6] if "fill" in a or "click" in a):
            *_, terminated, truncated, _ = env.step(action)
            if terminated or truncated:
                break
        env.reset(seed=3)
        if env.peek() != first:
            break
    else:
        pytest.fail(f"{task} can be kept now: take it off the list")
    env.close()


def test_the_suite_holds_seeds_and_tasks_out() -> None:
    whole, held_out = suite("miniwob"), suite("miniwob-held-out")
    assert {item.env for item in whole.items}.isdisjoint(item.env for item in held_out.items)
    assert min(seed for item in whole.items for seed in item.seeds) >= 10_000
    assert html_root().is_dir()
