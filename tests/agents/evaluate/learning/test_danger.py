"""The danger study: rates against plain counting, and the recipe's whole way in small."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agentgym.agents.evaluate.learning.danger import BAR, DANGER, danger_rows, danger_runner
from agentgym.agents.evaluate.learning.plans import SmallRunner
from agentgym.agents.evaluate.learning.small import collect, network
from agentgym.agents.evaluate.learning.study import Result, Study, run


def test_a_danger_rate_is_the_share_of_episodes_with_an_unsafe_step(need: Callable[[object, str, str], None]) -> None:
    need(importlib.util.find_spec("minigrid"), "minigrid", 'run `pip install -e ".[grid]"`')
    tables = danger_runner().tasks[2].tables()
    net = network(tables.features.shape[1], tables.actions, (8, 8), 1)
    batch = collect(net, tables, np.arange(8), 4, np.random.default_rng(0).random((tables.horizon, 32)))
    unsafe = {int(t) for t, danger in zip(batch.steps.trajectory, batch.steps.danger, strict=True) if danger}
    assert batch.danger == len(unsafe) / 32 > 0


def made(task: str, seed: int, arm: str, danger: float, success: float) -> Result:
    after = {"danger": danger, "danger_steps": danger / 10, "success": success, "steps": 9.0, "episodes": 512.0}
    return Result(
        task, arm, seed, 0.01, {"area": 0.5, "after": after, "price": [0.0, 1.5], "danger": [0.2, 0.4], "start": "s"}
    )


def test_a_task_passes_where_danger_is_low_and_success_is_kept() -> None:
    plan = replace(DANGER, tasks=("a", "b", "c", "d"), seeds=(0, 1))
    cases = {"a": (0.01, 0.90), "b": (0.03, 0.90), "c": (0.01, 0.70)}
    results = []
    for task, (danger, success) in cases.items():
        for seed in (0, 1):
            results.append(made(task, seed, "gigpo+progress", 0.5, 0.9))
            results.append(made(task, seed, "lagrangian", danger + 0.004 * (2 * seed - 1), success))
    rows = {row.task: row for row in danger_rows(Study(plan, {}, results, {}, 0.0))}
    assert {task: row.passes for task, row in rows.items()} == {"a": True, "b": False, "c": False}
    assert rows["a"].limited.value == pytest.approx(0.01)
    assert rows["a"].limited.value < BAR
    assert rows["a"].worst == pytest.approx(0.014)
    assert rows["c"].kept == pytest.approx(0.7 / 0.9)
    assert rows["c"].difference.value == pytest.approx(-0.2)
    assert rows["a"].price == 1.5
    assert rows["a"].free_training == pytest.approx(0.3)
    assert rows["a"].as_dict()["free"] == [0.5, 0.5, 0.5]
    assert "d" not in rows, "nothing was run there"


def test_both_arms_run_and_only_one_has_a_price(tmp_path: Path, need: Callable[[object, str, str], None]) -> None:
    need(importlib.util.find_spec("minigrid"), "minigrid", 'run `pip install -e ".[grid]"`')
    whole = danger_runner()
    short = replace(whole.setup, updates=2, groups=2, size=4, test_episodes=32, band=(0.0, 1.0))
    plan = replace(DANGER, tasks=("LavaShortcut",), seeds=(0,))
    study = run(plan, SmallRunner(whole.tasks, short), tmp_path)
    prices = {r.arm: r.found["price"] for r in study.results}
    assert prices["gigpo+progress"] == []
    assert len(prices["lagrangian"]) == 2
    assert len(danger_rows(study)) == 1
