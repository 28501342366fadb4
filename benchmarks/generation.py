"""The quickstart's task with actions that are written, not chosen: "pick up the yellow key", token by token.

The warm start shows how to reach the key and stops there. 15 % of it is random play (16 episodes, each distinct action
weighing the same), without which the model would not know that "open the yellow door" can be said: with less, or with
play weighed as it comes, success stayed at 0. Training is the quickstart's, on generated tokens, for 60 updates. The
peer is the same start and budget on outcomes alone (GRPO).

    python benchmarks/generation.py --json --save          # three seeds of both arms, about a quarter of an hour
    python benchmarks/generation.py --arm quickstart       # one arm
    python benchmarks/generation.py --quick                # a few updates of one seed, to see that it runs
"""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
from common import finish, parser

ARMS = ("quickstart", "grpo")


def run(recipe: str, seed: int, quick: bool) -> dict[str, Any]:
    """One training run, tested on held-out layouts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer

    config = replace(
        CONFIG,
        env_kwargs={"view": "memory", "actions": "phrases"},
        mode="generate",
        max_new_tokens=8,
        recipe=recipe,
        seed=seed,
        demo_epochs=15,
        demo_smoothing=0.15,
        demo_play=16,
        updates=3 if quick else 60,
        validate_every=0,
    )
    trainer = Trainer(config)
    try:
        trainer.warm_start()
        before = trainer.measure("test", config.test_episodes, update=0)
        trainer.train()
        after = trainer.measure("test", config.test_episodes, update=config.updates)
        greedy = trainer.measure("test", config.test_episodes, update=config.updates, greedy=True)
    finally:
        trainer.close()
    result = {
        "recipe": recipe,
        "seed": seed,
        "success_before": before.success,
        "success_after": after.success,
        "interval": [after.low, after.high],
        "greedy_after": greedy.success,
        "progress_after": after.progress,
        "train_cpu_seconds": round(trainer.cpu_seconds, 1),
        "updates_skipped": trainer.updates_skipped,
    }
    print(" ".join(f"{k}={v}" for k, v in result.items() if k != "interval"), flush=True)
    return result


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    arguments.add_argument("--seeds", type=int, default=3, help="how many (default %(default)s)")
    options = arguments.parse_args()
    arms, seeds = options.arm or list(ARMS), range(1 if options.quick else options.seeds)
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [pool.submit(run, arm, seed, options.quick) for arm in arms for seed in seeds]
        runs = [job.result() for job in jobs]
    figures: dict[str, Any] = {"runs": runs}
    for arm in arms:
        mine = [r for r in runs if r["recipe"] == arm]
        means = {k: float(np.mean([r[k] for r in mine])) for k in mine[0] if k not in ("recipe", "seed", "interval")}
        figures[arm] = means
        print(f"{arm:<12} " + "  ".join(f"{k} {v:.3f}" for k, v in means.items()))
    finish("generation", figures, options)


if __name__ == "__main__":
    main()
