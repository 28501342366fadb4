"""What nobody meant does not solve a site's task: neither doing nothing nor whatever can be clicked and typed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import gymnasium
import pytest

from agentgym.check.subject import random_actor
from agentgym.env import ProcessEnv
from agentgym.envs.web.sites.ids import ROUNDUP, SHOP
from tests.conftest import Need

SEEDS = int(os.environ.get("AGENTGYM_SEEDS", "2"))
QUICK = {("Roundup", "set-status"), ("Roundup", "count"), ("Shop", "add-to-basket")}
ALL = [("Roundup", name) for name in ROUNDUP] + [("Shop", name) for name in SHOP]


@pytest.fixture(scope="module")
def envs(need: Need) -> Iterator[dict[str, ProcessEnv[Any]]]:
    need(shutil.which("chromium"), "Chromium", "run `apt-get install chromium`")
    made: dict[str, ProcessEnv[Any]] = {}
    for site in ("Roundup", "Shop"):
        env = gymnasium.make(f"agentgym/Site-{site}-v0").unwrapped
        assert isinstance(env, ProcessEnv)
        made[site] = env
    yield made
    for env in made.values():
        env.close()


@pytest.mark.timeout(1800)
@pytest.mark.parametrize("who", ["nothing", "random"])
@pytest.mark.parametrize(
    ("site", "name"), [pair if pair in QUICK else pytest.param(*pair, marks=pytest.mark.slow) for pair in ALL]
)
def test_chance_never_succeeds(envs: dict[str, ProcessEnv[Any]], site: str, name: str, who: str) -> None:
    """Whole episodes of the task, to its horizon or its end."""
    env = envs[site]
    task = {"task": (ROUNDUP if site == "Roundup" else SHOP).index(name)}
    for seed in range(SEEDS):
        _, info = env.reset(seed=seed, options=task)
        actor = random_actor(env, seed) if who == "random" else None
        over = info["success"]
        while not over:
            *_, terminated, truncated, info = env.step(next(actor) if actor else "noop()")
            over = terminated or truncated
        assert not info["success"], (seed, info.get("goal", name))
