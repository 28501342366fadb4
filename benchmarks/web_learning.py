"""Does a small model learn pages in a real browser, and does progress help? Five arms at equal browser steps.

Five MiniWoB tasks of several steps, all trained at once by one transformer of about 0.37 million parameters that begins
with nothing: oracles show each task up to an early milestone (and never the step that solves it), then every arm goes
on from the same clone with groups of eight over ten pages in one Chromium, until its browser steps are spent. Elements
are pointed at, the texts of fields are written token by token. Tested by sampled success on held-out pages, the same
ones for every arm and seed.

    python benchmarks/web_learning.py --json --save       # clones, five arms on three seeds: two hours
    python benchmarks/web_learning.py --minutes 5         # go on for about so long, then stop; call it again
    python benchmarks/web_learning.py --arm grpo --seeds 20 --steps 5000
    python benchmarks/web_learning.py --report --save     # of what is kept, without a browser
    python benchmarks/web_learning.py --speed 12 --threads 2 --save    # how fast the loop is, on an idle machine
    python benchmarks/web_learning.py --quick             # two arms, a few updates, to see that it runs

The search (`--search`) tries the same learning rates for every arm, in runs half as long, on a seed and pages that are
not reported. Without it all arms have the same settings. Runs are kept under runs/bench-web-learning, or where --store
says: a finished one is not run again, one cut short goes on.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import finish, machine, parser

if TYPE_CHECKING:
    from agentgym.agents.train.pages import Clone, PageConfig, PageTask

TASKS = {
    "click-checkboxes": ("marked", 12),
    "login-user": ("password", 10),
    "search-engine": ("typed", 12),
    "email-inbox": ("opened", 12),
    "click-tab-2-hard": ("open", 10),
}
"""Task -> the milestone that ends its demonstrations, and steps until an episode is cut.

login-user is shown until both fields are full: where the first alone is shown and rewarded, the next state is nearly
the same, and filling it again is what is learnt.
"""
ARMS = ("grpo", "grpo+progress", "gigpo", "gigpo+progress", "gtdp")
PAIRS = (
    ("grpo+progress", "grpo"),
    ("gigpo+progress", "gigpo"),
    ("gigpo", "grpo"),
    ("gigpo+progress", "grpo+progress"),
    ("gigpo+progress", "grpo"),
    ("gtdp", "gigpo"),
)
"""Of each pair the second is taken from the first."""
SEEDS = (20, 21, 22)
TUNING_SEED = 90
RATES = (5e-4, 1e-3)
SEARCHED = 0.5
"""A run of the search has this share of the browser steps, and no test."""
FIRST_UPDATES = 5
"""The share of anchors with return variance is taken over so many updates."""


class Deadline(Exception):
    """The minutes are over."""


class Study:
    """What is kept in a folder, and how it is added to.

    Args:
        store: the folder.
        config: the settings of all runs.
        pages: of each task, in a test.
        minutes: stop after about so many; 0 never.
    """

    def __init__(self, store: Path, config: PageConfig, pages: int, minutes: float) -> None:
        from agentgym.agents.train.pages import PageTask

        self.store, self.config, self.pages = store, config, pages
        self.end = time.monotonic() + 60 * minutes if minutes else float("inf")
        self.tasks: tuple[PageTask, ...] = tuple(
            PageTask(f"agentgym/MiniWoB-{name}-v0", until, {"max_steps": steps})
            for name, (until, steps) in TASKS.items()
        )
        store.mkdir(parents=True, exist_ok=True)

    def clone(self, seed: int) -> Clone:
        """The start of a seed: made, or read."""
        from agentgym.agents.train.pages import Clone, make_clone

        path = self.store / f"clone-{seed}.pt"
        if not path.exists():
            self.check()
            tell(f"clone of seed {seed}")
            make_clone(self.tasks, replace(self.config, seed=seed), tell).save(path)
        return Clone.load(path)

    def before(self, seed: int) -> dict[str, Any]:
        """The test of the clone."""
        from agentgym.agents.train.pages import PageTrainer

        path = self.store / f"before-{seed}.json"
        if not path.exists():
            clone = self.clone(seed)
            self.check()
            trainer = PageTrainer(self.tasks, replace(self.config, seed=seed), clone, tell)
            try:
                found = trainer.test(self.pages)
            finally:
                trainer.close()
            put(path, {"seed": seed, "clone": clone.figures, "test": found, "load": os.getloadavg()[0]})
            tell(
                f"seed {seed} before: {found['success']:.3f} {found['success_by_task']}, {found['steps_per_s']} steps/s"
            )
        return read(path)

    def run(self, arm: str, seed: int, lr: float) -> dict[str, Any]:
        """One run: made, gone on with, or read."""
        from agentgym.agents.train.pages import PageTrainer

        search = seed == TUNING_SEED
        config = replace(self.config, recipe=arm, seed=seed, lr=lr)
        if search:
            config = replace(config, steps=round(SEARCHED * config.steps))
        path = self.path(arm, lr, seed)
        name = path.stem
        if path.exists():
            return read(path)
        clone = self.clone(seed)
        self.check()
        kept = self.store / f"{name}.pt"
        trainer = PageTrainer(self.tasks, config, clone, tell)
        try:
            trainer.resume(kept)
            while not trainer.done:
                trainer.update()
                late = time.monotonic() > self.end
                if late or trainer.done or len(trainer.lines) % 5 == 0:
                    trainer.save(kept)
                if late and not trainer.done:
                    raise Deadline
            self.check()
            test = None if search else trainer.test(self.pages)
        finally:
            trainer.close()
        put(
            path,
            {
                "arm": arm,
                "seed": seed,
                "lr": lr,
                "env_steps": trainer.env_steps,
                "seconds": round(trainer.wall, 1),
                "test": test,
                "lines": trainer.lines,
                "machine": machine(),
            },
        )
        kept.unlink()
        said = f"{test['success']:.3f} {test['success_by_task']}" if test else f"{late_success(trainer.lines):.3f}"
        tell(f"{name}: {said} after {trainer.wall / 60:.1f} minutes")
        return read(path)

    def path(self, arm: str, lr: float, seed: int) -> Path:
        steps = round(SEARCHED * self.config.steps) if seed == TUNING_SEED else self.config.steps
        return self.store / f"{arm}-{lr:g}-{steps}-{seed}.json"

    def check(self) -> None:
        """Raises Deadline when the minutes are over."""
        if time.monotonic() > self.end:
            raise Deadline

    def rates(self, arms: Sequence[str]) -> dict[str, float]:
        """The learning rate of every arm: the search's where that is complete for all, else the settings'."""
        found = {(arm, lr): self.searched(arm, lr) for arm in ARMS for lr in RATES}
        if any(v is None for v in found.values()):
            return dict.fromkeys(arms, self.config.lr)
        return {arm: max(RATES, key=lambda lr: found[arm, lr] or 0.0) for arm in arms}

    def searched(self, arm: str, lr: float) -> float | None:
        path = self.path(arm, lr, TUNING_SEED)
        return late_success(read(path)["lines"]) if path.exists() else None


def late_success(lines: Sequence[dict[str, Any]]) -> float:
    """Of a search: the mean over the last third of its updates, on pages of training; no test page is looked at."""
    return float(np.mean([line["success"] for line in lines[-max(1, len(lines) // 3) :]]))


def speed(study: Study, seed: int, updates: int) -> dict[str, Any]:
    """Browser steps a second of so many updates from a seed's clone, learning included, and what their time goes to.

    The update before them opens the pages and is not counted.
    """
    from agentgym.agents.train.pages import PageTrainer

    load = os.getloadavg()[0]
    trainer = PageTrainer(study.tasks, replace(study.config, seed=seed), study.clone(seed), tell)
    try:
        trainer.update()
        first, began = trainer.env_steps, trainer.wall
        lines = [trainer.update() for _ in range(updates)]
    finally:
        trainer.close()
    steps, seconds = trainer.env_steps - first, trainer.wall - began
    told = {
        "steps_per_s": round(steps / seconds, 1),
        "steps_per_s_by_update": [
            round(line["steps"] / (line["play_seconds"] + line["learn_seconds"]), 1) for line in lines
        ],
        "steps": steps,
        "threads": study.config.threads,
        "errors": sum(line["errors"] for line in lines),
        "load_before": round(load, 1),
    }
    for part in ("play", "policy", "learn"):
        told[f"{part}_ms_per_step"] = round(1e3 * sum(line[f"{part}_seconds"] for line in lines) / steps, 2)
    return told


# ------------------------------------------------------------------ figures


def summary(study: Study, seeds: Sequence[int], rates: dict[str, float]) -> dict[str, Any]:
    """What is kept of the arms, whatever is missing yet left out (and told by the numbers of seeds)."""
    from agentgym.agents.evaluate.stats import bootstrap

    config = study.config
    befores = {s: read(p) for s in seeds if (p := study.store / f"before-{s}.json").exists()}
    runs: dict[str, dict[int, dict[str, Any]]] = {}
    for arm, lr in rates.items():
        paths = {s: study.path(arm, lr, s) for s in seeds}
        runs[arm] = {s: read(p) for s, p in paths.items() if p.exists() and s in befores}
    figures: dict[str, Any] = {
        "tasks": list(TASKS),
        "steps": config.steps,
        "pages": study.pages * len(TASKS),
        "seeds": list(befores),
        "parameters": next((b["clone"]["parameters"] for b in befores.values()), None),
        "search": {
            arm: {f"{lr:g}": study.searched(arm, lr) for lr in RATES}
            for arm in ARMS
            if all(study.searched(arm, lr) is not None for lr in RATES)
        },
        "before": {str(s): b["test"]["success"] for s, b in befores.items()},
        "before_by_task": mean_rows([b["test"]["success_by_task"] for b in befores.values()]),
        "arms": {},
    }
    for arm, mine in runs.items():
        if not mine:
            continue
        after = [r["test"]["success"] for r in mine.values()]
        gains = [r["test"]["success"] - befores[s]["test"]["success"] for s, r in mine.items()]
        interval = bootstrap(gains, np.random.default_rng(0))
        lines = [line for r in mine.values() for line in r["lines"]]
        first = [line for r in mine.values() for line in r["lines"][:FIRST_UPDATES]]
        steps = sum(line["steps"] for line in lines)
        figures["arms"][arm] = {
            "lr": rates[arm],
            "seeds": list(mine),
            "success": float(np.mean(after)),
            "success_by_seed": after,
            "success_by_task": mean_rows([r["test"]["success_by_task"] for r in mine.values()]),
            "gain": float(np.mean(gains)),
            "gain_interval": [interval.low, interval.high],
            "env_steps": float(np.mean([r["env_steps"] for r in mine.values()])),
            "minutes_a_seed": float(np.mean([r["seconds"] for r in mine.values()])) / 60,
            "steps_per_s": steps / sum(line["play_seconds"] + line["learn_seconds"] for line in lines),
            "policy_share": share(lines, "policy_seconds"),
            "learner_share": share(lines, "learn_seconds"),
            "anchors_repeat": sum(line["anchors_repeat"] * line["steps"] for line in lines) / steps,
            "anchors_varied_first_updates": sum(line["anchors_varied"] for line in first)
            / max(1, sum(line["anchors_several"] for line in first)),
            "episodes_broken": sum(line["errors"] for line in lines) + sum(r["test"]["errors"] for r in mine.values()),
            "test_pages_seen_in_training": sum(r["test"]["seen_in_training"] for r in mine.values()),
            "curve": curve(list(mine.values()), config.steps),
        }
    figures["differences"] = [
        found for a, b in PAIRS if (found := difference(a, b, runs.get(a, {}), runs.get(b, {}))) is not None
    ]
    return figures


def difference(a: str, b: str, mine: dict[int, Any], other: dict[int, Any]) -> dict[str, Any] | None:
    """Success of a minus that of b on the seeds that both have, page by page; None where there is none."""
    from agentgym.agents.evaluate.stats import bootstrap, paired_bootstrap

    seeds = sorted(mine.keys() & other.keys())
    if not seeds:
        return None
    won = [
        np.array([[int(c) for row in runs[s]["test"]["won"] for c in row] for s in seeds], dtype=np.float64)
        for runs in (mine, other)
    ]
    tasks = np.repeat(np.arange(len(TASKS)), won[0].shape[1] // len(TASKS))
    strata = (np.arange(len(seeds))[:, None] * len(TASKS) + tasks).ravel()
    pages = paired_bootstrap(won[1].ravel(), won[0].ravel(), np.random.default_rng(0), strata=strata)
    by_seed = (won[0] - won[1]).mean(axis=1)
    over = bootstrap(by_seed, np.random.default_rng(0))
    return {
        "arm": a,
        "minus": b,
        "difference": pages.value,
        "interval_over_pages": [pages.low, pages.high],
        "by_seed": by_seed.tolist(),
        "interval_over_seeds": [over.low, over.high],
        "by_task": [float((won[0] - won[1])[:, tasks == t].mean()) for t in range(len(TASKS))],
    }


def curve(runs: Sequence[dict[str, Any]], budget: int, points: int = 20) -> dict[str, Any]:
    """Training success by browser steps, overall and by task: means over the updates of each twentieth, then seeds."""
    grid: list[list[list[float]]] = []
    for run in runs:
        where = [min(points - 1, (line["env_steps"] - 1) * points // budget) for line in run["lines"]]
        cells = []
        for p in range(points):
            inside = [
                [line["success"], *line["success_by_task"]]
                for line, at in zip(run["lines"], where, strict=True)
                if at == p
            ]
            cells.append(np.mean(inside, axis=0).tolist() if inside else [float("nan")] * (1 + len(TASKS)))
        grid.append(cells)
    values = np.array(grid)
    known = ~np.isnan(values)
    mean = np.where(known, values, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    kept = known.any(axis=0)[:, 0]
    return {
        "steps": [round(budget * (p + 0.5) / points) for p in range(points) if kept[p]],
        "success": mean[kept, 0].round(4).tolist(),
        "by_task": mean[kept, 1:].T.round(4).tolist(),
    }


def share(lines: Sequence[dict[str, Any]], what: str) -> float:
    """Of the wall time."""
    return float(
        sum(line[what] for line in lines) / sum(line["play_seconds"] + line["learn_seconds"] for line in lines)
    )


def mean_rows(rows: Sequence[Sequence[float]]) -> list[float]:
    """Column means; [] of nothing."""
    return np.mean(rows, axis=0).tolist() if rows else []


def show(figures: dict[str, Any]) -> None:
    """The tables."""
    print(f"before: {figures['before']}, by task {rounded(figures['before_by_task'])}")
    for arm, row in figures["arms"].items():
        low, high = row["gain_interval"]
        print(
            f"{arm:<16} success {row['success']:.3f}  gain {row['gain']:+.3f} [{low:+.3f}, {high:+.3f}] on "
            f"{len(row['seeds'])} seeds  by task {rounded(row['success_by_task'])}  anchors repeat "
            f"{row['anchors_repeat']:.2f}, varied at first {row['anchors_varied_first_updates']:.2f}  "
            f"{row['steps_per_s']:.0f} steps/s, {row['minutes_a_seed']:.1f} minutes"
        )
    for d in figures["differences"]:
        pages, seeds = rounded(d["interval_over_pages"]), rounded(d["interval_over_seeds"])
        print(f"{d['arm']} - {d['minus']}: {d['difference']:+.3f}, over pages {pages}, over seeds {seeds}")


def rounded(values: Sequence[float]) -> list[float]:
    """To two places."""
    return [round(v, 2) for v in values]


# ------------------------------------------------------------------ files and words


def tell(words: str) -> None:
    """A line, at once."""
    print(f"{time.strftime('%H:%M:%S')} {words}", flush=True)


def read(path: Path) -> dict[str, Any]:
    """A kept result."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def put(path: Path, what: dict[str, Any]) -> None:
    """Keep a result, whole or not at all."""
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(what))
    beside.replace(path)


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    made.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="training seeds (default %(default)s)")
    made.add_argument("--steps", type=int, default=10_000, help="browser steps of a run (default %(default)s)")
    made.add_argument("--pages", type=int, default=100, help="held-out pages of each task (default %(default)s)")
    made.add_argument("--minutes", type=float, default=0.0, help="stop after about so many; call again to go on")
    made.add_argument("--search", action="store_true", help="first the learning rates, the same for every arm")
    made.add_argument("--report", action="store_true", help="only report what is kept")
    made.add_argument("--speed", type=int, default=0, help="measure the speed of so many updates, and nothing else")
    made.add_argument("--threads", type=int, default=1, help="torch threads while learning; 2 pays on idle cores")
    made.add_argument("--store", type=Path, default=Path("runs/bench-web-learning"), help="where runs are kept")
    options = made.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    from agentgym.agents.train.pages import PageConfig

    torch.set_num_threads(1)
    arms, seeds, pages, store = options.arm or list(ARMS), list(options.seeds), options.pages, options.store
    config = PageConfig(steps=options.steps, threads=options.threads)
    if options.quick:
        config = replace(config, steps=1200, demos=24, demo_epochs=30, groups=1)
        arms, seeds, pages, store = options.arm or ["grpo", "gigpo+progress"], seeds[:1], 10, store / "quick"
    study = Study(store, config, pages, options.minutes)
    if options.speed:
        figures = speed(study, seeds[0], options.speed)
        for key, value in figures.items():
            print(f"{key:24} {value}")
        finish("web_learning_speed", figures, options)
        return
    whole = True
    if not options.report:
        try:
            for lr in RATES if options.search else ():
                for arm in ARMS:
                    study.run(arm, TUNING_SEED, lr)
            for seed in seeds:
                study.before(seed)
            for seed in seeds:
                for arm, lr in study.rates(arms).items():
                    study.run(arm, seed, lr)
        except Deadline:
            whole = False
    figures = summary(study, seeds, study.rates(arms))
    show(figures)
    if not whole:
        tell("the minutes are over: call again to go on")
    finish("web_learning", figures, options)


if __name__ == "__main__":
    main()
