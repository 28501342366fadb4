"""The tables are a twin of the environment: every walk through one is a walk through the other."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest

from agentgym.agents.evaluate.learning.tables import Tables
from agentgym.errors import UsageError
from agentgym.process import read_record

CASES = [
    ("agentgym/Grid-DoorKey-5x5-v0", {"max_steps": 40}),
    ("agentgym/Grid-UnlockPickup-v0", {"max_steps": 40}),
    ("agentgym/Grid-LavaShortcut-v0", {}),
    ("agentgym/Grid-MultiRoom-N2-S4-v0", {}),
]


@pytest.fixture(autouse=True)
def minigrid(need: Callable[[object, str, str], None]) -> None:
    need(importlib.util.find_spec("minigrid"), "minigrid", 'run `pip install -e ".[grid]"`')


@pytest.mark.parametrize(("env", "kwargs"), CASES)
def test_a_walk_in_the_tables_is_a_walk_in_the_environment(env: str, kwargs: dict[str, Any]) -> None:
    seeds = [3, 8, 5]
    tables = Tables(env, {**kwargs, "view": "features"}, seeds)
    real = gymnasium.make(env, view="features", **kwargs).unwrapped
    rng = np.random.default_rng(0)
    for walk in range(9):
        k = walk % len(seeds)
        seen, info = real.reset(seed=seeds[k])
        state, latched = int(tables.start[k]), int(tables.start_bits[k])
        terminated = truncated = False
        while not (terminated or truncated):
            assert (tables.features[state] == seen).all()
            assert tables.anchor[state] == read_record(info)["anchor"]
            assert tables.progress[state] == read_record(info)["progress"]
            assert latched == read_record(info)["milestones"]
            assert not tables.over[state]
            action = int(rng.integers(tables.actions))
            if walk % 2 and rng.random() < 0.7:  # half of the walks get somewhere
                action = next(real.oracle()) if tables.progress[state] < 1 else action  # type: ignore[attr-defined]
            seen, _, terminated, truncated, info = real.step(action)
            moves = tables.step(np.array([state]), np.array([action]))
            state, latched = int(moves.state[0]), latched | int(moves.bits[0])
            record = read_record(info)
            assert (moves.danger[0], moves.grounded[0]) == (record["danger"], record["grounded"])
            if record["danger"] and env.endswith("UnlockPickup-v0"):
                break  # no oracle goes on from here
        assert tables.over[state] == terminated
        assert tables.success[state] == info["success"]


def test_what_is_known_is_not_asked_again() -> None:
    tables = Tables("agentgym/Grid-DoorKey-5x5-v0", {"view": "features"}, [0])
    first = tables.step(np.repeat(tables.start, 6), np.arange(6))
    assert tables.known == 6
    again = tables.step(np.repeat(tables.start, 6), np.arange(6))
    assert tables.known == 6
    assert (first.state == again.state).all()


def test_they_grow_without_forgetting() -> None:
    tables = Tables("agentgym/Grid-DoorKey-8x8-v0", {"view": "features"}, range(12))
    rng = np.random.default_rng(1)
    here = np.repeat(tables.start, 8)
    while len(tables) <= 1100:
        before = len(tables)
        here = tables.step(here, rng.integers(0, 6, len(here))).state
        here = np.where(tables.over[here], np.repeat(tables.start, 8), here)
        assert len(tables) >= before
    for k, seed in enumerate(range(12)):
        real = gymnasium.make("agentgym/Grid-DoorKey-8x8-v0", view="features").unwrapped
        assert tables.anchor[tables.start[k]] == read_record(real.reset(seed=seed)[1])["anchor"]


def test_the_oracle_goes_a_shortest_way() -> None:
    tables = Tables("agentgym/Grid-DoorKey-5x5-v0", {"view": "features"}, [0, 1])
    pairs = tables.oracle(1)
    progress = tables.progress[[state for state, _ in pairs]]
    assert np.allclose(np.diff(progress), 1 / len(pairs))


@pytest.mark.parametrize("kwargs", [{}, {"view": "features", "actions": "words"}])
def test_what_cannot_be_tabulated_is_refused(kwargs: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="features"):
        Tables("agentgym/Grid-DoorKey-5x5-v0", kwargs, [0])
