"""A study survives a kill, never makes a run twice, and refuses to compare what did not start alike."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentgym.agents.evaluate.learning.small import Setup
from agentgym.agents.evaluate.learning.study import Plan, Store, found, run
from agentgym.errors import RunError, UnknownName
from tests.agents.evaluate.learning.common import PLAN, runner


@pytest.fixture(autouse=True)
def minigrid(need: Callable[[object, str, str], None]) -> None:
    need(importlib.util.find_spec("minigrid"), "minigrid", 'run `pip install -e ".[grid]"`')


class Sums:
    """Runs that cost nothing: what is under test here is the book-keeping."""

    def __init__(self, best: dict[str, float] | None = None) -> None:
        self.made: list[tuple[str, str, int, float]] = []
        self.best = best or {}

    def run(self, task: str, arm: str, seed: int, lr: float) -> dict[str, Any]:
        self.made.append((task, arm, seed, lr))
        area = 1.0 - abs(lr - self.best.get(arm, lr)) - 0.001 * seed
        return {"area": area, "success": [area], "skipped": 0, "start": f"{task}/{seed}"}

    def settings(self) -> dict[str, Any]:
        return {"a": (1, 2)}


def kept(folder: Path) -> dict[str, dict[str, Any]]:
    """All runs of a folder, without the clock."""
    found = {p.name: json.loads(p.read_text()) for p in folder.glob("*.json")}
    return {name: {k: v for k, v in one.items() if k != "cpu_seconds"} for name, one in found.items()}


def test_a_killed_study_goes_on_and_ends_like_one_that_was_not(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    run(PLAN, runner(), whole)
    code = (
        "import sys; from pathlib import Path;"
        "from agentgym.agents.evaluate.learning.study import run;"
        "from tests.agents.evaluate.learning.common import PLAN, runner;"
        "run(PLAN, runner(), Path(sys.argv[1]), tick=lambda done, total: print(done, flush=True))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(cut)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "1"
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = {p.name: p.stat().st_mtime_ns for p in cut.glob("run-*.json")}
    assert 1 <= len(before) < 4
    again = run(PLAN, runner(), cut)
    assert again.missing == 0
    assert kept(cut) == kept(whole)
    assert all((cut / name).stat().st_mtime_ns == at for name, at in before.items()), "nothing is made twice"


def test_every_arm_takes_its_own_best_rate_on_the_tuning_task(tmp_path: Path) -> None:
    plan = Plan("p", ("t",), ("a", "b"), seeds=(0,), rates=(0.1, 0.2, 0.3), tuning_task="other", tuning_seeds=(7, 8))
    sums = Sums({"a": 0.3, "b": 0.19})
    study = run(plan, sums, tmp_path)
    assert study.rates == {"a": 0.3, "b": 0.2}
    tuned, compared = sums.made[:12], sums.made[12:]
    assert {(task, seed) for task, _, seed, _ in tuned} == {("other", 7), ("other", 8)}
    assert compared == [("t", "a", 0, 0.3), ("t", "b", 0, 0.2)]
    assert study.tuning["a"][0.3] == pytest.approx(1.0 - 0.0075)
    again = Sums()
    assert run(plan, again, tmp_path).results == study.results
    assert again.made == []


def test_of_equal_rates_the_smaller_is_taken(tmp_path: Path) -> None:
    plan = Plan("p", ("t",), ("a",), seeds=(0,), rates=(0.3, 0.1), tuning_task="t", tuning_seeds=(9,))
    assert run(plan, Sums(), tmp_path).rates == {"a": 0.1}


def test_what_is_there_can_be_read_without_running(tmp_path: Path) -> None:
    plan = Plan("p", ("t", "u"), ("a", "b"), seeds=(0, 1), rates=(0.1,))
    run(replace(plan, tasks=("t",)), Sums(), tmp_path)
    study = found(plan, Sums(), tmp_path)
    assert (len(study.results), study.missing) == (4, 4)
    with pytest.raises(RunError, match="not chosen yet"):
        found(replace(plan, rates=(0.1, 0.2), tuning_task="t"), Sums(), tmp_path)


def test_unequal_starts_are_refused(tmp_path: Path) -> None:
    class Other(Sums):
        def run(self, task: str, arm: str, seed: int, lr: float) -> dict[str, Any]:
            return super().run(task, arm, seed, lr) | {"start": arm if seed else "same"}

    with pytest.raises(RunError, match="task t, seed 1: a and b did not begin"):
        run(Plan("p", ("t",), ("a", "b"), seeds=(0, 1), rates=(0.1,)), Other(), tmp_path)


def test_a_folder_of_other_settings_is_refused(tmp_path: Path) -> None:
    Store(tmp_path, {"lr": 1.0, "same": [1]})
    Store(tmp_path, {"lr": 1.0, "same": (1,)})
    with pytest.raises(RunError, match=r"other settings \(lr\)"):
        Store(tmp_path, {"lr": 2.0, "same": [1]})


def test_names_that_look_alike_are_kept_apart(tmp_path: Path) -> None:
    store = Store(tmp_path, {})
    store.put(("run", "gigpo(gamma=1)"), {"area": 1})
    store.put(("run", "gigpo[gamma=1]"), {"area": 2})
    assert (store.get(("run", "gigpo(gamma=1)")) or {})["area"] == 1
    assert store.get(("run", "gigpo")) is None


def test_an_unknown_task_is_named() -> None:
    with pytest.raises(UnknownName, match="tiny"):
        runner().run("tinny", "grpo", 0, 1e-2)


def test_settings_are_plain() -> None:
    settings = runner().settings()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["setup"]["updates"] != Setup().updates
