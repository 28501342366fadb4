"""Does process reward help on the quickstart's task, and which kind? Five arms from one start and budget.

Every arm gets the same warm start (per seed), layouts and number of updates, and its own learning rate, chosen on
validation layouts with a seed that is not among those reported. Success is on 256 held-out layouts, sampled.

    python benchmarks/quickstart.py                 # 5 seeds, about half an hour on 2 cores
    python benchmarks/quickstart.py --quick         # 1 seed, no tuning
    python benchmarks/quickstart.py --json --save

Finished runs are kept under runs/bench-quickstart and are not run again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import finish, parser

ARMS = {
    "GRPO, outcome": "grpo",
    "GiGPO, outcome": "gigpo",
    "GRPO + milestones": "grpo+milestones",
    "GRPO + progress": "grpo+progress",
    "quickstart (GiGPO + progress)": "quickstart",
}
RATES = (2.5e-4, 5e-4, 1e-3)
TUNING_SEED = 100
STORE = Path("runs/bench-quickstart")


def run(arm: str, rate: float, seed: int, tuning: bool) -> dict[str, Any]:
    """One training run, from the store when it is there."""
    path = STORE / f"{ARMS[arm]}-{rate:g}-{seed}{'-tuning' if tuning else ''}.json"
    if path.exists():
        found: dict[str, Any] = json.loads(path.read_text())
        return found
    os.environ["OMP_NUM_THREADS"] = "1"
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer

    config = replace(CONFIG, recipe=ARMS[arm], lr=rate, seed=seed, validate_every=0)
    trainer = Trainer(config)
    try:
        trainer.warm_start()
        result: dict[str, Any] = {"arm": arm, "lr": rate, "seed": seed}
        if not tuning:
            result["before"] = trainer.measure("test", config.test_episodes, update=0).success
        trainer.train()
        part = "validation" if tuning else "test"
        result["success"] = trainer.measure(part, config.test_episodes, update=config.updates).success
        if not tuning:
            result["greedy"] = trainer.measure("test", config.test_episodes, update=config.updates, greedy=True).success
        result |= {
            "updates_skipped": trainer.updates_skipped,
            "env_steps": trainer.env_steps,
            "train_cpu_seconds": trainer.cpu_seconds,
        }
    finally:
        trainer.close()
    STORE.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    beside.write_text(json.dumps(result))
    beside.replace(path)
    return result


def main() -> None:
    from agentgym.agents.evaluate.stats import bootstrap

    options = parser(__doc__ or "").parse_args()
    seeds = range(1 if options.quick else 5)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count() or 1, mp_context=context) as pool:
        rates = dict.fromkeys(ARMS, 5e-4)
        if not options.quick:
            tuned = [pool.submit(run, arm, rate, TUNING_SEED, True) for arm in ARMS for rate in RATES]
            for arm in ARMS:
                mine = [f.result() for f in tuned if f.result()["arm"] == arm]
                rates[arm] = max(mine, key=lambda r: (r["success"], -r["lr"]))["lr"]
        jobs = [pool.submit(run, arm, rates[arm], seed, False) for arm in ARMS for seed in seeds]
        results = [job.result() for job in jobs]
    print(f"{'arm':<32}{'lr':>8}{'before':>8}{'success':>9}  95 % interval    greedy  skipped  CPU-s   (seeds)")
    figures: dict[str, Any] = {}
    for arm, recipe in ARMS.items():
        mine = [r for r in results if r["arm"] == arm]
        success = np.array([r["success"] for r in mine])
        interval = bootstrap(success, np.random.default_rng(0))
        columns = {k: float(np.mean([r[k] for r in mine])) for k in mine[0] if k not in ("arm", "success")}
        figures[recipe] = {"success": float(success.mean()), "interval": [interval.low, interval.high]}
        figures[recipe] |= {"seeds": success.tolist(), **columns}
        print(
            f"{arm:<32}{rates[arm]:>8g}{columns['before']:>8.3f}{success.mean():>9.3f}"
            f"  [{interval.low:.3f}, {interval.high:.3f}]"
            f"  {columns['greedy']:>8.3f}{columns['updates_skipped']:>9.1f}{columns['train_cpu_seconds']:>7.0f}"
            f"   {' '.join(f'{s:.3f}' for s in success)}"
        )
    finish("quickstart", figures, options)


if __name__ == "__main__":
    main()
