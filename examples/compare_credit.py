"""Let random and oracle play the same tasks together, and see how three recipes credit the very same steps.

Run it with ``python examples/compare_credit.py``; ``--quick`` plays fewer episodes.
"""

from __future__ import annotations

import argparse

from agentgym.agents.loop import Job, Rollouts, collect
from agentgym.agents.policy.simple import OraclePolicy, RandomPolicy
from agentgym.rewards import recipe

ENV = "agentgym/Grid-DoorKey-5x5-v0"
RECIPES = ("grpo", "gigpo", "gigpo+progress")


def play(tasks: int, failures: int) -> Rollouts:
    """For every task seed one group: an oracle's episode and some random ones, cut off after 60 steps."""
    parts = []
    for policy, count, first in ((OraclePolicy(), 1, 0), (RandomPolicy(), failures, 1)):
        jobs = [
            Job(ENV, seed, trajectory=seed * 100 + first + k, group=seed, kwargs={"max_steps": 60})
            for seed in range(tasks)
            for k in range(count)
        ]
        parts.append(collect(policy, jobs))
    return Rollouts.concat(parts)


def main() -> None:
    """Print the mean advantage of steps that made progress and of those that did not, for every recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="play fewer episodes")
    options = parser.parse_args()
    steps = play(tasks=4 if options.quick else 32, failures=3).steps
    change = steps.progress - steps.progress_before
    print(f"{len(steps.trajectories)} episodes, {len(steps)} steps; mean advantage of a step that:")
    for name in RECIPES:
        advantages = recipe(name).advantages(steps)
        forward, other = advantages[change > 0].mean(), advantages[change <= 0].mean()
        print(f"  {name:<16} made progress {forward:+.3f}   did not {other:+.3f}")


if __name__ == "__main__":
    main()
