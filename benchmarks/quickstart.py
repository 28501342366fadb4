"""Does process reward help on the quickstart's task, and which kind? Five arms, one start, one budget.

The four peers were searched alike, by success on validation layouts and with a seed that is not reported: first the
learning rate, at four minibatches, then the minibatches at the best rate (`SETTINGS`; the runs are under "search" in
results/quickstart.json). The quickstart runs as it is shipped: its credit was changed after looking at the seeds 100 to
104, so more thought went into it than into the peers, and its rate was not searched again. Nor were the others' since
the clone keeps 3 % instead of 5 for other actions. `--search` searches all five anew. The number of updates, the groups
and the smoothing of the clone are the quickstart's for all. The quickstart's seeds were run before, with last weights
and 5 %, and tested on the same layouts; those of the peers are fresh.

Two figures a run: success on 256 held-out layouts, of the checkpoint that did best on validation layouts; and the area
under the learning curve, the mean over the updates of the success on the layouts that the update is about to learn from
(they are new ones every time).

    python benchmarks/quickstart.py --json --save   # 25 runs: about half an hour of CPU time
    python benchmarks/quickstart.py --search        # 25 more runs before them
    python benchmarks/quickstart.py --quick         # 1 seed

Runs are kept under runs/bench-quickstart: a finished one is not run again, one cut short goes on.
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterable
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from common import finish, parser, saved, unseen

ARMS = {
    "GRPO, outcome": "grpo",
    "GiGPO, outcome": "gigpo",
    "GRPO + milestones": "grpo+milestones",
    "GRPO + progress": "grpo+progress",
    "quickstart": "quickstart",
}
OURS = "quickstart"
RATES = (2.5e-4, 5e-4, 1e-3)
FIRST_MINIBATCHES = 4
MINIBATCHES = (1, 2, 4)
TUNING_SEEDS = (101,)
"""Not 100: its start solves none of its layouts, which would leave the arms on outcomes nothing to be ranked by."""
SEEDS = (20, 21, 22, 23, 24)
LAYOUTS: dict[str, int] = {"validation": 128, "test": 256}
STORE = Path("runs/bench-quickstart")


class Setting(NamedTuple):
    """What is searched."""

    lr: float
    minibatches: int


SETTINGS = {
    "GRPO, outcome": Setting(5e-4, 4),
    "GiGPO, outcome": Setting(5e-4, 4),
    "GRPO + milestones": Setting(1e-3, 4),
    "GRPO + progress": Setting(1e-3, 4),
    OURS: Setting(5e-4, 4),
}


Part = Literal["validation", "test"]


def start(seed: int, part: Part) -> dict[str, Any]:
    """The clone that all arms of a seed begin with, and the layouts they are measured on."""
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer
    from agentgym.runs import Run

    run = Run.create(STORE / f"start-{seed}", "start", {"seed": seed, "part": part}, exist_ok=True)
    found = run.summary()
    if found:
        return found
    trainer = Trainer(replace(CONFIG, seed=seed), run)
    try:
        trainer.warm_start()
        trainer.save()
        layouts = unseen(trainer.split, part, LAYOUTS[part], seed)
        before = trainer.measure(part, len(layouts), update=0, seeds=layouts)
        summary = {"before": before.success, "layouts": layouts, "warm_start_cpu_seconds": trainer.cpu_seconds}
    finally:
        trainer.close()
    run.write_summary(summary)
    return summary


def run(arm: str, setting: Setting, seed: int, part: Part) -> dict[str, Any]:
    """One training run and its measurement, from the store when it is there."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from agentgym.agents.train.checkpoints import newest_checkpoint
    from agentgym.agents.train.models import load_weights
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer
    from agentgym.runs import Run

    began = time.process_time()
    config = replace(
        CONFIG,
        recipe=ARMS[arm],
        lr=setting.lr,
        minibatches=setting.minibatches,
        seed=seed,
        keep_steps=0,
    )
    folder = STORE / f"{ARMS[arm]}-{setting.lr:g}-{setting.minibatches}-{seed}"
    stored = Run.create(folder, "train", config.to_dict(), exist_ok=True)
    found = stored.summary()
    if found:
        return found
    begin = start(seed, part)
    trainer = Trainer(config, stored)
    try:
        if not trainer.resume():
            clone = newest_checkpoint(Run.open(STORE / f"start-{seed}"))
            assert clone is not None
            load_weights(trainer.policy, clone)
        trainer.train()
        chosen = trainer.load_best()
        layouts: list[int] = begin["layouts"]
        after = trainer.measure(part, len(layouts), update=config.updates, seeds=layouts)
        result: dict[str, Any] = {
            "arm": arm,
            "lr": setting.lr,
            "minibatches": setting.minibatches,
            "seed": seed,
            "layouts": part,
            "before": begin["before"],
            "chosen_update": chosen,
            "success": after.success,
            "area": float(np.mean([m["success"] for m in stored.metrics() if m["phase"] == "train"])),
        }
        if part == "test":
            greedy = trainer.measure(part, len(layouts), update=config.updates, greedy=True, seeds=layouts)
            result["greedy"] = greedy.success
        result |= {
            "updates_skipped": trainer.updates_skipped,
            "env_steps": trainer.env_steps,
            "train_cpu_seconds": trainer.cpu_seconds,
            "all_cpu_seconds": time.process_time() - began,
        }
    finally:
        trainer.close()
    stored.write_summary(result)
    return result


class Queue:
    """Runs side by side, told one by one as they end."""

    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def all(self, what: str, jobs: Iterable[tuple[str, Setting, int]], part: Part) -> list[dict[str, Any]]:
        """The results of (arm, setting, seed), in that order."""
        wanted = list(dict.fromkeys(jobs))
        # the starts first and one by one: two runs of a seed must not both make it
        for seed in dict.fromkeys(seed for _, _, seed in wanted):
            self._pool.submit(start, seed, part).result()
        futures: list[Future[dict[str, Any]]] = [self._pool.submit(run, *job, part) for job in wanted]
        for number, future in enumerate(as_completed(futures), 1):
            r = future.result()
            print(
                f"{what} {number}/{len(futures)}: {r['arm']}, lr {r['lr']:g}, {r['minibatches']} minibatches, seed "
                f"{r['seed']}: {r['before']:.3f} -> {r['success']:.3f}, area {r['area']:.3f}, "
                f"{r['train_cpu_seconds']:.0f} CPU-s",
                flush=True,
            )
        return [future.result() for future in futures]


def best(results: list[dict[str, Any]], arm: str, settings: Iterable[Setting]) -> Setting:
    """The setting of the highest mean validation success over the tuning seeds; of equals the first."""

    def score(setting: Setting) -> float:
        found = [r["success"] for r in results if r["arm"] == arm and (r["lr"], r["minibatches"]) == setting]
        return float(np.mean(found))

    return max(settings, key=score)


def search(queue: Queue) -> tuple[dict[str, Setting], list[dict[str, Any]]]:
    """The settings of every arm, and every run that they were chosen by."""
    rates = [Setting(rate, FIRST_MINIBATCHES) for rate in RATES]
    tried = queue.all("rates", ((arm, s, seed) for seed in TUNING_SEEDS for arm in ARMS for s in rates), "validation")
    sizes = {arm: [Setting(best(tried, arm, rates).lr, m) for m in MINIBATCHES] for arm in ARMS}
    found = queue.all(
        "minibatches", ((arm, s, seed) for seed in TUNING_SEEDS for arm in ARMS for s in sizes[arm]), "validation"
    )
    every = tried + [r for r in found if r["minibatches"] != FIRST_MINIBATCHES]
    return {arm: best(every, arm, sizes[arm]) for arm in ARMS}, every


def compare(results: list[dict[str, Any]], settings: dict[str, Setting]) -> dict[str, Any]:
    """Per arm: means with intervals over seeds, and the differences to the quickstart, seed by seed."""
    from agentgym.agents.evaluate.stats import bootstrap, paired_bootstrap, sign_flip_test

    figures: dict[str, Any] = {}
    ours = [r for r in results if r["arm"] == OURS]
    for arm, recipe in ARMS.items():
        mine = [r for r in results if r["arm"] == arm]
        row: dict[str, Any] = {"lr": settings[arm].lr, "minibatches": settings[arm].minibatches}
        for key in ("before", "greedy", "updates_skipped", "env_steps", "train_cpu_seconds"):
            row[key] = float(np.mean([r[key] for r in mine]))
        for key in ("success", "area"):
            values = [r[key] for r in mine]
            found = bootstrap(values, np.random.default_rng(0))
            row[key] = {"mean": found.value, "interval": [found.low, found.high], "seeds": values}
            if arm != OURS:
                reference = [r[key] for r in ours]
                pair = paired_bootstrap(reference, values, np.random.default_rng(0))
                row[key] |= {
                    "minus_quickstart": pair.value,
                    "minus_quickstart_interval": [pair.low, pair.high],
                    "sign_flip_p": sign_flip_test(np.subtract(values, reference), np.random.default_rng(0)),
                }
        figures[recipe] = row
    return figures


def show(figures: dict[str, Any]) -> None:
    """The table."""
    print(f"{'arm':<32}{'lr':>8}  mb  {'success':<24}{'- quickstart':<25}{'area':<24}{'- quickstart':<25}greedy  CPU-s")
    for arm, recipe in ARMS.items():
        row = figures[recipe]
        cells = ""
        for key in ("success", "area"):
            low, high = row[key]["interval"]
            cells += f"{row[key]['mean']:.3f} [{low:.3f}, {high:.3f}]    "
            if "minus_quickstart" in row[key]:
                low, high = row[key]["minus_quickstart_interval"]
                cells += f"{row[key]['minus_quickstart']:+.3f} [{low:+.3f}, {high:+.3f}]  "
            else:
                cells += " " * 25
        print(
            f"{arm:<32}{row['lr']:>8g}{row['minibatches']:>4}  {cells}{row['greedy']:>6.3f}"
            f"{row['train_cpu_seconds']:>7.0f}"
        )


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--processes", type=int, default=1, help="runs side by side (default %(default)s)")
    made.add_argument("--search", action="store_true", help="choose the settings of every arm anew")
    made.add_argument("--arm", choices=ARMS, action="append", help="run these arms alone, for later; no table")
    made.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="which (default %(default)s)")
    options = made.parse_args()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.processes, mp_context=context) as pool:
        queue = Queue(pool)
        settings, tried = SETTINGS, saved("quickstart").get("search", [])
        if options.search:
            settings, tried = search(queue)
        seeds = options.seeds[:1] if options.quick else options.seeds
        jobs = [(arm, settings[arm], seed) for seed in seeds for arm in ARMS if arm in (options.arm or ARMS)]
        results = queue.all("test", jobs, "test")
    if options.arm:
        return
    figures = compare(results, settings)
    show(figures)
    finish("quickstart", figures | {"runs": results, "search": tried}, options)


if __name__ == "__main__":
    main()
