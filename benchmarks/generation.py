"""The quickstart's task with actions that are written, not chosen: "pick up the yellow key", token by token.

The warm start shows how to reach the key and stops there. A share of 10 % of every demonstrated step teaches the other
applicable phrases, and so do 128 episodes of uniformly random play that go on from where the demonstrations end: the
key is held, and what is done then no oracle decides. Of play that reaches the goal by chance nothing is taught (how
often that was is counted). Training is the quickstart's, on generated tokens. The peer has the same start and budget,
and outcomes alone (GRPO).

Settings were chosen on the seeds 0, 1, 100 and 101, and after seed 20 had been stopped without a success; 21 to 23 are
fresh.

    python benchmarks/generation.py --json --save          # three seeds, the peer on one: 20 minutes of CPU time
    python benchmarks/generation.py --arm quickstart       # one arm
    python benchmarks/generation.py --quick                # a few updates of one seed, to see that it runs

Finished runs are kept under runs/bench-generation and are not run again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from common import finish, parser, unseen

if TYPE_CHECKING:
    from agentgym.agents.train.trainer import Trainer

ARMS = {"quickstart": 3, "grpo": 1}
"""Recipe -> on how many of the seeds it is run."""
SEEDS = (21, 22, 23)
STORE = Path("runs/bench-generation")


def run(arms: Sequence[str], seed: int, quick: bool) -> list[dict[str, Any]]:
    """The runs of one seed, from one start, each tested on held-out layouts."""
    os.environ["OMP_NUM_THREADS"] = "1"
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer

    config = replace(
        CONFIG,
        env_kwargs={"view": "memory", "actions": "phrases"},
        mode="generate",
        max_new_tokens=8,
        seed=seed,
        demo_epochs=120,
        demo_smoothing=0.1,
        demo_play=128,
        updates=3 if quick else 40,
        lr=7e-4,
        entropy=0.1,
        aggregation="token-mean",
        validate_every=0,
    )
    paths = {arm: STORE / f"{arm}-{seed}{'-quick' if quick else ''}.json" for arm in arms}
    todo = [arm for arm in arms if not paths[arm].exists()]
    if todo:
        start = Trainer(config)
        start.warm_start()
        layouts = unseen(start.split, "test", config.test_episodes, seed)
        before = start.measure("test", len(layouts), update=0, seeds=layouts).success
        for arm in todo:
            trainer = Trainer(replace(config, recipe=arm), progress=partial(_tell, seed))
            trainer.policy.model.load_state_dict(start.policy.model.state_dict())
            result: dict[str, Any] = {
                "recipe": arm,
                "seed": seed,
                "success_before": before,
                "play_left_out": start.play_left_out,
                "warm_start_cpu_seconds": round(start.cpu_seconds, 1),
                **_trained(trainer, layouts),
            }
            result["train_cpu_seconds"] = round(result["train_cpu_seconds"] + start.cpu_seconds, 1)
            STORE.mkdir(parents=True, exist_ok=True)
            beside = paths[arm].with_suffix(f".{os.getpid()}.tmp")
            beside.write_text(json.dumps(result))
            beside.replace(paths[arm])
            print(" ".join(f"{k}={v}" for k, v in result.items() if k != "interval"), flush=True)
        start.close()
    return [json.loads(path.read_text()) for path in paths.values()]


def _trained(trainer: Trainer, layouts: list[int]) -> dict[str, Any]:
    """Train and test; the CPU-seconds are those of the updates."""
    updates = trainer.config.updates
    try:
        trainer.train()
        after = trainer.measure("test", len(layouts), update=updates, seeds=layouts)
        greedy = trainer.measure("test", len(layouts), update=updates, greedy=True, seeds=layouts)
    finally:
        trainer.close()
    return {
        "success_after": after.success,
        "interval": [after.low, after.high],
        "greedy_after": greedy.success,
        "progress_after": after.progress,
        "train_cpu_seconds": round(trainer.cpu_seconds, 1),
        "updates": trainer.updates_done,
        "updates_skipped": trainer.updates_skipped,
    }


def _tell(seed: int, phase: str, done: int, total: int, words: str) -> None:
    """A line now and then: a run takes minutes."""
    if phase.startswith("training") and done % 5 == 0:
        print(f"seed {seed}, {phase}: update {done} of {total}, {words}", flush=True)


def main() -> None:
    from agentgym.agents.evaluate.stats import bootstrap

    arguments = parser(__doc__ or "")
    arguments.add_argument("--arm", choices=ARMS, action="append", help="only these arms")
    arguments.add_argument("--seeds", type=int, nargs="+", default=SEEDS, help="which (default %(default)s)")
    options = arguments.parse_args()
    arms, seeds = options.arm or list(ARMS), options.seeds[: 1 if options.quick else None]
    with ProcessPoolExecutor(os.cpu_count(), mp_context=multiprocessing.get_context("spawn")) as pool:
        jobs = [
            pool.submit(run, [arm for arm in arms if k < ARMS[arm]], seed, options.quick)
            for k, seed in enumerate(seeds)
        ]
        runs = [r for job in jobs for r in job.result()]
    figures: dict[str, Any] = {"runs": runs}
    for arm in arms:
        mine = [r for r in runs if r["recipe"] == arm]
        success = np.array([r["success_after"] for r in mine])
        means = {k: float(np.mean([r[k] for r in mine])) for k in mine[0] if k not in ("recipe", "seed", "interval")}
        figures[arm] = means | {"success_worst": float(success.min())}
        if len(mine) > 1:  # over seeds; one seed has its own, over layouts
            interval = bootstrap(success, np.random.default_rng(0))
            figures[arm]["interval"] = [interval.low, interval.high]
        print(f"{arm:<12} " + "  ".join(f"{k} {v:.3f}" for k, v in means.items()))
    finish("generation", figures, options)


if __name__ == "__main__":
    main()
