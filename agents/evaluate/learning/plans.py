"""The studies that `agentgym bench learning` runs, and what runs them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import nn

from agentgym.agents.evaluate.learning.arms import EIGHT, arm
from agentgym.agents.evaluate.learning.claims import CLAIMS
from agentgym.agents.evaluate.learning.small import Setup, Task, clone, train
from agentgym.agents.evaluate.learning.study import Plan
from agentgym.agents.evaluate.learning.tables import Tables
from agentgym.errors import UnknownName

__all__ = ["CLAIMED", "QUICK", "SMALL", "TASKS", "SmallRunner", "quick_runner"]

TASKS = (
    Task("DoorKey-6x6", "agentgym/Grid-DoorKey-6x6-v0", {"max_steps": 30}),
    Task("DoorKey-8x8", "agentgym/Grid-DoorKey-8x8-v0", {"max_steps": 45}),
    Task("MultiRoom-N4-S5", "agentgym/Grid-MultiRoom-N4-S5-v0", {"max_steps": 60}),
    # other instances than any study's
    Task("tuning", "agentgym/Grid-DoorKey-6x6-v0", {"max_steps": 30}, train=range(20_000, 20_032)),
)
"""Shortest ways of about 12, 17 and 20 actions, within 30, 45 and 60; and where learning rates are chosen."""

SMALL = Plan("small", ("DoorKey-6x6", "DoorKey-8x8", "MultiRoom-N4-S5"), EIGHT, tuning_task="tuning")
"""Eight assigners with a small network."""

CLAIMED = Plan("small", ("DoorKey-8x8",), ("grpo", *(c.arm for c in CLAIMS if c.arm)), tuning_task="tuning")
"""Every recipe whose paper claims a gain, on the middle task; runs it shares with `SMALL` are made once."""

QUICK = Plan("quick", ("DoorKey-5x5",), ("grpo", "gigpo", "gtdp"), seeds=(0, 1, 2, 3), rates=(3e-3,))
"""The form of --quick: one small task, four seeds, a fixed rate."""


@dataclass
class SmallRunner:
    """Runs of the small network; tables and the latest start are kept from one to the next."""

    tasks: tuple[Task, ...] = TASKS
    setup: Setup = field(default_factory=Setup)
    _tables: dict[str, tuple[Tables, Tables]] = field(default_factory=dict, repr=False)
    _start: tuple[str, int, nn.Sequential] | None = field(default=None, repr=False)

    def run(self, task: str, arm_name: str, seed: int, lr: float) -> dict[str, Any]:
        """See `agentgym.agents.evaluate.learning.study.Runner`."""
        torch.set_num_threads(1)
        tables, test = self.tables(task)
        start = self.start(task, seed)
        _, curve = train(arm(arm_name, tables, start), tables, self.setup, seed, lr=lr, start=start, test=test)
        return curve.to_json()

    def settings(self) -> dict[str, Any]:
        """Tasks and setup."""
        tasks = [
            {**asdict(t), "train": [t.train.start, t.train.stop], "test": [t.test.start, t.test.stop]}
            for t in self.tasks
        ]
        return {"tasks": tasks, "setup": self.setup.to_json()}

    def tables(self, name: str) -> tuple[Tables, Tables]:
        """Of the training and the test instances of a task."""
        if name not in self._tables:
            known = {t.name: t for t in self.tasks}
            if name not in known:
                raise UnknownName("task", name, known, f"this study has {sorted(known)}")
            self._tables = {name: (known[name].tables(), known[name].tables("test"))}  # one task at a time in memory
        return self._tables[name]

    def start(self, task: str, seed: int) -> nn.Sequential:
        """The network every arm of a task and seed begins with."""
        if self._start is None or self._start[:2] != (task, seed):
            self._start = task, seed, clone(self.tables(task)[0], self.setup, seed)
        return self._start[2]


def quick_runner() -> SmallRunner:
    """For `QUICK`."""
    task = Task("DoorKey-5x5", "agentgym/Grid-DoorKey-5x5-v0", {"max_steps": 20}, range(8), range(10_000, 10_008))
    return SmallRunner((task,), replace(Setup(), updates=20, test_episodes=64))
