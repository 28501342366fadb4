"""A study of learning: which runs it is made of, and the store that lets a killed one go on.

Every run is one JSON file, written whole or not at all. A study that is started again skips what is there, so a kill
costs the run in hand. Runs of one task and seed come one after another and share their start.

Learning rates are tuned alike for every arm before anything is compared: on instances and seeds that the comparison
never sees, every arm runs at every rate and takes the rate with the largest mean area under the curve (the smaller of
equals).
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from agentgym.errors import RunError
from agentgym.files import disk, read_json, write_json

__all__ = ["Plan", "Result", "Runner", "Store", "Study", "found", "run"]

Tick = Callable[[int, int], None]


class Runner(Protocol):
    """What can be run: `SmallRunner` and `TransformerRunner`."""

    def run(self, task: str, arm: str, seed: int, lr: float) -> dict[str, Any]:
        """One run; at least ``area``, ``success`` (of every update) and ``start`` (a digest of the first weights)."""

    def settings(self) -> dict[str, Any]:
        """All that decides results, but for what `run` is told: plain values."""


@dataclass(frozen=True)
class Plan:
    """What is compared.

    Attributes:
        name: of the study; its runs lie in a folder of that name.
        tasks: names that the runner knows, in growing horizon.
        arms: names; the first is the reference.
        seeds: paired over arms.
        rates: learning rates to choose from. One: nothing is tuned.
        tuning_task, tuning_seeds: where they are chosen.
    """

    name: str
    tasks: tuple[str, ...]
    arms: tuple[str, ...]
    seeds: tuple[int, ...] = tuple(range(10))
    rates: tuple[float, ...] = (3e-3, 1e-2, 3e-2)
    tuning_task: str = ""
    tuning_seeds: tuple[int, ...] = (1000, 1001)


@dataclass(frozen=True)
class Result:
    """One run of the comparison: where it belongs, and what it gave."""

    task: str
    arm: str
    seed: int
    lr: float
    found: Mapping[str, Any]

    @property
    def area(self) -> float:
        """Area under its success curve."""
        return float(self.found["area"])


@dataclass(frozen=True)
class Study:
    """A finished (or unfinished) study.

    Attributes:
        plan: what was asked for. rates: arm -> learning rate chosen. results: the runs there are.
        tuning: arm -> rate -> mean area on the tuning task; empty where nothing was tuned.
        cpu_seconds: of all runs, tuning included.
    """

    plan: Plan
    rates: Mapping[str, float]
    results: Sequence[Result]
    tuning: Mapping[str, Mapping[float, float]]
    cpu_seconds: float

    @property
    def missing(self) -> int:
        """Runs of the comparison that are not there yet."""
        return len(self.plan.tasks) * len(self.plan.arms) * len(self.plan.seeds) - len(self.results)


class Store:
    """Finished runs in a folder, one file each.

    Args:
        folder: made when missing.
        settings: what decides results; a folder made with others is refused.

    Raises:
        RunError: the folder holds runs of other settings, or cannot be written.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        with disk("write", folder):
            folder.mkdir(parents=True, exist_ok=True)
            mine = json.loads(json.dumps(settings))
            path = folder / "settings.json"
            if not path.exists():
                write_json(path, mine)
        theirs = read_json(path)
        if theirs != mine:
            differ = sorted(k for k in {*mine, *theirs} if mine.get(k) != theirs.get(k))
            raise RunError(f"{folder} holds runs of other settings ({', '.join(differ)}); name another folder")

    def get(self, key: Sequence[Any]) -> dict[str, Any] | None:
        """The run of that key, or None."""
        path = self._path(key)
        if not path.exists():
            return None
        kept: dict[str, Any] = read_json(path)
        return kept

    def put(self, key: Sequence[Any], found: Mapping[str, Any]) -> None:
        """Keep a run: whole, or not at all."""
        with disk("write", self.folder):
            write_json(self._path(key), {"key": list(key), **found})

    def _path(self, key: Sequence[Any]) -> Path:
        """A file name that says what is inside; the digest keeps names apart that look alike once cleaned."""
        text = "-".join(map(str, key))
        clean = "".join(c if c.isalnum() or c in "-_." else "_" for c in text)
        return self.folder / f"{clean}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.json"


def run(plan: Plan, runner: Runner, folder: Path, *, tick: Tick = lambda done, total: None) -> Study:
    """All runs of a plan that are not there yet; then all of them.

    Args:
        plan: the study. runner: what runs it. folder: of the store.
        tick: told of every run, made or found.

    Raises:
        RunError: the folder was made with other settings, or arms that should have had one start had several.
    """
    store = Store(folder, runner.settings())
    tuning = _tuning_keys(plan)
    total = len(tuning) + len(plan.arms) * len(plan.tasks) * len(plan.seeds)
    done = 0

    def ensure(key: Key) -> None:
        nonlocal done
        if store.get(key) is None:
            began = time.process_time()
            made = runner.run(*key[1:])
            store.put(key, {**made, "cpu_seconds": round(time.process_time() - began, 2)})
        done += 1
        tick(done, total)

    for key in tuning:
        ensure(key)
    rates, _ = _tuned(plan, store)
    for task in plan.tasks:
        for seed in plan.seeds:
            for arm in plan.arms:
                ensure(("run", task, arm, seed, rates[arm]))
    return found(plan, runner, folder)


def found(plan: Plan, runner: Runner, folder: Path) -> Study:
    """What is there of a plan; runs nothing.

    Raises:
        RunError: as `run`; or the learning rates are not chosen yet.
    """
    store = Store(folder, runner.settings())
    rates, tuning = _tuned(plan, store)
    kept = [(t, a, s, store.get(("run", t, a, s, rates[a]))) for t in plan.tasks for s in plan.seeds for a in plan.arms]
    results = [Result(t, a, s, rates[a], one) for t, a, s, one in kept if one is not None]
    same_start(results)
    spent = [r.found for r in results] + [store.get(key) or {} for key in _tuning_keys(plan)]
    return Study(plan, rates, results, tuning, sum(float(one["cpu_seconds"]) for one in spent))


Key = tuple[str, str, str, int, float]
"""Kind of run ("tune", "run"), task, arm, seed, learning rate."""


def _tuning_keys(plan: Plan) -> list[Key]:
    if len(plan.rates) == 1:
        return []
    return [("tune", plan.tuning_task, a, s, lr) for s in plan.tuning_seeds for a in plan.arms for lr in plan.rates]


def _tuned(plan: Plan, store: Store) -> tuple[dict[str, float], dict[str, dict[float, float]]]:
    """Every arm's best rate, and the mean areas it was chosen by."""
    keys = _tuning_keys(plan)
    if not keys:
        return dict.fromkeys(plan.arms, plan.rates[0]), {}
    areas: dict[str, dict[float, list[float]]] = {arm: {lr: [] for lr in plan.rates} for arm in plan.arms}
    for key in keys:
        one = store.get(key)
        if one is None:
            raise RunError(f"{store.folder}: the learning rates are not chosen yet; run the study")
        areas[key[2]][key[4]].append(float(one["area"]))
    means = {arm: {lr: float(np.mean(v)) for lr, v in by.items()} for arm, by in areas.items()}
    return {arm: max(sorted(plan.rates), key=means[arm].__getitem__) for arm in plan.arms}, means


def same_start(results: Sequence[Result]) -> None:
    """All arms of a task and seed began with equal weights.

    Raises:
        RunError: they did not; names the first that differs.
    """
    starts: dict[tuple[str, int], tuple[str, str]] = {}
    for r in results:
        arm, start = starts.setdefault((r.task, r.seed), (r.arm, str(r.found["start"])))
        if start != r.found["start"]:
            raise RunError(
                f"task {r.task}, seed {r.seed}: {arm} and {r.arm} did not begin with the same weights; a part of these "
                "runs was made with another version, so delete the folder and run again"
            )
