"""A small task that a network learns in seconds, and a plan of few runs."""

from __future__ import annotations

from agentgym.agents.evaluate.learning.plans import SmallRunner
from agentgym.agents.evaluate.learning.small import Setup, Task
from agentgym.agents.evaluate.learning.study import Plan

TASK = Task("tiny", "agentgym/Grid-DoorKey-5x5-v0", {"max_steps": 14}, range(4), range(100, 104))
SETUP = Setup(updates=3, groups=2, size=4, minibatches=2, hidden=(16, 8), band=(0.01, 0.3), demos=4, test_episodes=8)
PLAN = Plan("tiny", ("tiny",), ("grpo", "gtdp"), seeds=(0, 1), rates=(1e-2,))


def runner() -> SmallRunner:
    return SmallRunner((TASK,), SETUP)
