"""The main job: a small language-model policy that was only shown how to pick up the key learns the rest of DoorKey.

Two copies of one policy start from the same demonstrations, which end when the key is held. One is trained on process
rewards, the other on outcomes alone, with the same layouts, budget and learning rate. Of each, the checkpoint that did
best on validation layouts is tested on layouts that neither has seen. Everything is stored in a run folder with a
report.
"""

from __future__ import annotations

import multiprocessing
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentgym.agents.train.config import TrainConfig
from agentgym.runs import Run

__all__ = ["CONFIG", "quickstart", "set_aside"]

CONFIG = TrainConfig(
    env="agentgym/Grid-DoorKey-8x8-H60-v0",
    env_kwargs={"view": "memory"},
    recipe="quickstart",
    demos=32,
    demo_until="has_key",
    demo_smoothing=0.03,
    updates=40,
    groups=8,
    group_size=8,
    minibatches=4,
    lr=5e-4,
    tensorboard=False,
)
"""The recipe of the quickstart; `agentgym train` takes the same settings."""

CONTRAST = "grpo"
"""The other arm: the same start and budget, outcomes alone."""


def quickstart(
    out: str | Path = "runs/quickstart", *, config: TrainConfig = CONFIG, quiet: bool = False
) -> dict[str, Any]:
    """Run both arms, test them, write the report and ``summary.json``; returns the summary.

    Args:
        out: run folder; one from an earlier time is moved aside, never overwritten.
        config: settings of the process-reward arm.
        quiet: print nothing.
    """
    from agentgym.agents.evaluate.compare import compare
    from agentgym.agents.evaluate.report import write_report
    from agentgym.agents.train.console import Console
    from agentgym.agents.train.trainer import Trainer

    out = set_aside(Path(out))
    console = Console(quiet=quiet)
    console.intro(config)
    run = Run.create(out, "quickstart", config.to_dict())
    trainer = Trainer(config, run, arm="process rewards", progress=console.progress)
    try:
        trainer.warm_start()
        start = trainer.save()
        warm_cpu = trainer.cpu_seconds
        before = trainer.measure("test", config.test_episodes, update=0, label="before")
        other = replace(config, recipe=CONTRAST)
        # its own process: two cores finish both arms in the time of one, and neither can disturb the other
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            contrast: Future[dict[str, Any]] = pool.submit(_contrast, other.to_dict(), start, out / "outcome-only")
            trainer.train()
            chosen = trainer.load_best()
            after = trainer.measure("test", config.test_episodes, update=config.updates, label="after")
            greedy = trainer.measure("test", config.test_episodes, update=config.updates, greedy=True, label="greedy")
            console.wait(contrast, out / "outcome-only", config.updates)
            found = contrast.result()
    finally:
        trainer.close()
    beside = Run.open(out / "outcome-only")
    for line in beside.metrics():
        run.log(**line)
    # both arms were tested on the same layouts, so the difference is taken layout by layout
    difference = compare(beside, run, where={"phase": "test", "label": "after"}).metrics["success"].difference
    summary = {
        "success_before": before.success,
        "success_after": after.success,
        "greedy_after": greedy.success,
        "contrast_after": found["after"]["success"],
        "contrast_difference": difference.value,
        "intervals": {
            "success_before": [before.low, before.high],
            "success_after": [after.low, after.high],
            "greedy_after": [greedy.low, greedy.high],
            "contrast_after": [found["after"]["low"], found["after"]["high"]],
            "contrast_difference": [difference.low, difference.high],
        },
        "train_cpu_seconds": round(trainer.cpu_seconds, 2),
        "warm_start_cpu_seconds": round(warm_cpu, 2),
        "contrast_train_cpu_seconds": round(found["cpu_seconds"], 2),
        "updates": config.updates,
        "chosen_update": chosen,
        "contrast_chosen_update": found["chosen_update"],
        "updates_skipped": trainer.updates_skipped,
        "contrast_updates_skipped": found["updates_skipped"],
        "env_steps": trainer.env_steps,
        "test_layouts": config.test_episodes,
        "split": trainer.split.kind,
        "seed": config.seed,
        "env": config.env,
        "recipe": config.recipe,
        "contrast_recipe": CONTRAST,
    }
    run.write_summary(summary)
    report = write_report(run)
    console.results(summary, report)
    return summary


def _contrast(config: dict[str, Any], start: Path, out: Path) -> dict[str, Any]:
    """The outcome-only arm, in a process of its own."""
    from agentgym.agents.train.models import load_weights
    from agentgym.agents.train.trainer import Trainer

    settings = TrainConfig.from_dict(config)
    trainer = Trainer(settings, Run.create(out, "train", config), arm="outcomes only")
    try:
        load_weights(trainer.policy, start)
        trainer.train()
        chosen = trainer.load_best()
        after = trainer.measure("test", settings.test_episodes, update=settings.updates, label="after")
        return {
            "after": after.to_dict(),
            "chosen_update": chosen,
            "updates_skipped": trainer.updates_skipped,
            "cpu_seconds": trainer.cpu_seconds,
        }
    finally:
        trainer.close()


def set_aside(out: Path) -> Path:
    """``out``, after moving what an earlier time left there to the first free ``out-N``."""
    if out.exists() and any(out.iterdir()):
        n = 1
        while out.with_name(f"{out.name}-{n}").exists():
            n += 1
        out.rename(out.with_name(f"{out.name}-{n}"))
    return out
