"""The quickstart's task with actions that are written, not chosen: "pick up the yellow key", token by token.

The warm start shows how to reach the key and stops there. 15 % of it is random play (16 episodes, each distinct action
weighing the same), without which the model would not know that "open the yellow door" can be said: with less, or with
play weighed as it comes, success stayed at 0. Training is the quickstart's, on generated tokens, for 60 updates.

    python benchmarks/generation.py --json --save
    python benchmarks/generation.py --recipe grpo --save   # outcomes alone, from the same start
    python benchmarks/generation.py --quick      # a few updates, to see that it runs
"""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from common import finish, parser


def main() -> None:
    arguments = parser(__doc__ or "")
    arguments.add_argument("--seed", type=int, default=0)
    arguments.add_argument(
        "--recipe", default="quickstart", help="another chain of rewards and credit, from the same start"
    )
    options = arguments.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    from agentgym.agents.train.quickstart import CONFIG
    from agentgym.agents.train.trainer import Trainer

    config = replace(
        CONFIG,
        env_kwargs={"view": "memory", "actions": "phrases"},
        mode="generate",
        max_new_tokens=8,
        seed=options.seed,
        recipe=options.recipe,
        demo_epochs=15,
        demo_smoothing=0.15,
        demo_play=16,
        updates=3 if options.quick else 60,
        validate_every=0,
    )

    def tell(phase: str, done: int, total: int, words: str) -> None:
        if done == total or done % 10 == 0:
            print(f"{phase} {done}/{total} {words}", flush=True)

    trainer = Trainer(config, progress=tell)
    try:
        trainer.warm_start()
        before = trainer.measure("test", config.test_episodes, update=0)
        trainer.train()
        after = trainer.measure("test", config.test_episodes, update=config.updates)
        greedy = trainer.measure("test", config.test_episodes, update=config.updates, greedy=True)
    finally:
        trainer.close()
    figures: dict[str, Any] = {
        "success_before": before.success,
        "success_after": after.success,
        "interval": [after.low, after.high],
        "greedy_after": greedy.success,
        "train_cpu_seconds": round(trainer.cpu_seconds, 1),
        "updates": config.updates,
        "updates_skipped": trainer.updates_skipped,
        "recipe": config.recipe,
        "seed": config.seed,
    }
    for name, value in figures.items():
        print(f"{name:<20} {value}")
    finish("generation" if options.recipe == "quickstart" else f"generation-{options.recipe}", figures, options)


if __name__ == "__main__":
    main()
