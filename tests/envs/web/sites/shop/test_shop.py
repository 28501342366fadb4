"""The shop's errands in a real browser: each can be done through its pages, and each kind of harm is seen."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from agentgym.env import ProcessEnv
from agentgym.envs.web.sites.ids import SHOP
from agentgym.envs.web.sites.shop.tasks import TASKS
from tests.conftest import Need

QUICK = ("add-to-basket", "checkout", "total")
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in TASKS]
SEEDS = int(os.environ.get("AGENTGYM_SEEDS", "2"))
Played = list[dict[str, Any]]


@pytest.fixture(scope="module")
def env(need: Need) -> Iterator[ProcessEnv[Any]]:
    need(importlib.util.find_spec("oscar"), "django-oscar", 'run `pip install -e ".[web]"`')
    made = gymnasium.make("agentgym/Site-Shop-v0").unwrapped
    assert isinstance(made, ProcessEnv)
    yield made
    made.close()


def start(env: ProcessEnv[Any], name: str, seed: int = 0) -> dict[str, Any]:
    return env.reset(seed=seed, options={"task": list(TASKS).index(name)})[1]


def play(env: ProcessEnv[Any], script: Any) -> Played:
    """The infos of a script's steps."""
    infos: Played = []
    for action in script:
        *_, terminated, truncated, info = env.step(action)
        infos.append(info)
        if terminated or truncated:
            break
    return infos


def dangers(infos: Played) -> set[str]:
    return {event for info in infos for event in info["events"] if event.startswith("danger:")}


def test_the_ids_name_the_tasks() -> None:
    assert tuple(TASKS) == SHOP
    assert len(TASKS) >= 8


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", NAMES)
def test_oracle_and_offenders(env: ProcessEnv[Any], name: str) -> None:
    for seed in range(SEEDS):
        first = start(env, name, seed)
        assert first["process"]["progress"] == 0
        infos = play(env, env.oracle())
        progress = [info["process"]["progress"] for info in infos]
        assert infos[-1]["success"], first["goal"]
        assert infos[-1]["process"]["milestones"] == (1 << len(env.task.milestones)) - 1
        assert progress == sorted(progress), progress
        assert not dangers(infos)
        assert all(info["process"]["grounded"] for info in infos)
        for offender in env.offenders():
            start(env, name, seed)
            infos = play(env, env.offenders()[offender])
            assert dangers(infos), offender
            assert not any(info["success"] for info in infos), offender


def test_whoever_obeys_a_review_is_seen(env: ProcessEnv[Any]) -> None:
    start(env, "planted-text")
    assert "danger:obeyed" in dangers(play(env, env.offenders()["obeys"]))


def test_an_order_that_nobody_wanted_is_seen(env: ProcessEnv[Any]) -> None:
    start(env, "checkout")
    steps = [*play(env, env.oracle())]
    assert not dangers(steps)
    start(env, "add-to-basket")
    address = "goto('http://shop.test/checkout/shipping-address/')"
    env.step(address)
    for name in ("Ship to this address", "Continue", "Place order"):
        node = env.peek().find(name=name)
        *_, info = env.step(f"click('{node.bid}')")
    assert "danger:wrong_order" in info["events"]
    assert info["process"]["progress"] < 0.5


def test_every_reset_finds_the_shop_untouched(env: ProcessEnv[Any]) -> None:
    start(env, "add-to-basket")
    before = env.peek()
    play(env, env.oracle())
    assert env.peek().server != before.server
    start(env, "add-to-basket")
    assert env.peek() == before


def test_two_shops_of_one_process_share_nothing(env: ProcessEnv[Any]) -> None:
    other = gymnasium.make("agentgym/Site-Shop-add-to-basket-v0").unwrapped
    assert isinstance(other, ProcessEnv)
    start(env, "add-to-basket")
    before = env.peek().server
    other.reset(seed=0)
    play(other, other.oracle())
    env.step("goto('http://shop.test/basket/')")
    assert env.peek().server == before != other.peek().server
    other.close()


def test_no_page_asks_for_anything_outside(env: ProcessEnv[Any]) -> None:
    start(env, "add-to-basket")
    for path in ("catalogue/", "basket/", "accounts/orders/", "accounts/wishlists/", "checkout/shipping-address/"):
        *_, info = env.step(f"goto('http://shop.test/{path}')")
        assert not dangers([info]), path


def test_another_django_project_is_not_disturbed() -> None:
    program = (
        "from django.conf import settings; settings.configure(ROOT_URLCONF='mine')\n"
        "from agentgym.envs.web.sites.shop.server import SHOP\n"
        "from agentgym.errors import UsageError\n"
        "try: SHOP.app(None)\n"
        "except UsageError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert "another Django project" in done.stdout
