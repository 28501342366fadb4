"""The transformer arm of the learning bench: ordinary runs of `agentgym.agents.train.Trainer`, with one start a seed.

The policy is a small language model that scores the applicable actions (one word each) behind a sentence of what the
agent sees and remembers. Everything is the trainer's: rollouts, learner, schedule. Only the warm start is made once for
all arms of a task and seed and then copied, and success is read off the training batches, as for the small network.
"""

from __future__ import annotations

import copy
import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agentgym.agents.evaluate.learning.study import Plan
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.trainer import Trainer
from agentgym.errors import UnknownName
from agentgym.runs import Run

__all__ = ["FOUR", "SETTINGS", "TRANSFORMER", "TransformerRunner"]

FOUR = ("grpo", "gigpo", "progress", "gtdp")
"""The recipes of the transformer study."""

SETTINGS = TrainConfig(
    hidden=48,
    demos=32,
    demo_epochs=3,
    demo_smoothing=0.05,
    updates=20,
    groups=4,
    group_size=6,
    minibatches=2,
    validate_every=0,
    keep_steps=0,
    slots=24,
    tensorboard=False,
)
"""The budget and the learner, the same for every arm: 20 updates of 4 instances x 6 rollouts."""

TASKS: dict[str, tuple[str, int]] = {
    "DoorKey-6x6": ("agentgym/Grid-DoorKey-6x6-v0", 30),
    "DoorKey-8x8": ("agentgym/Grid-DoorKey-8x8-v0", 45),
    "MultiRoom-N4-S5": ("agentgym/Grid-MultiRoom-N4-S5-v0", 60),
}
"""Name -> (environment, most steps)."""

TRANSFORMER = Plan(
    "transformer", tuple(TASKS), FOUR, rates=(1e-3, 2e-3), tuning_task="DoorKey-6x6", tuning_seeds=(1000,)
)
"""Four recipes. Seeds decide the instances, so the tuning seed brings its own."""


@dataclass
class TransformerRunner:
    """Runs of the trainer; the latest warm start is kept from one to the next."""

    config: TrainConfig = SETTINGS
    tasks: Mapping[str, tuple[str, int]] = field(default_factory=lambda: TASKS)
    _start: tuple[str, int, Any] | None = field(default=None, repr=False)

    def run(self, task: str, arm: str, seed: int, lr: float) -> dict[str, Any]:
        """See `agentgym.agents.evaluate.learning.study.Runner`."""
        if task not in self.tasks:
            raise UnknownName("task", task, self.tasks, f"this study has {sorted(self.tasks)}")
        env, horizon = self.tasks[task]
        config = replace(
            self.config, env=env, env_kwargs={"view": "memory", "max_steps": horizon}, recipe=arm, seed=seed, lr=lr
        )
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(config, Run.create(Path(folder) / "run", "train", config.to_dict()))
            try:
                self._warm(trainer, task, seed)
                start = digest(trainer)
                trainer.train()
                lines = [m for m in trainer.run.metrics() if m["phase"] == "train"] if trainer.run else []
            finally:
                trainer.close()
        success = [float(m["success"]) for m in lines]
        return {
            "area": sum(success) / len(success),
            "success": success,
            "skipped": trainer.updates_skipped,
            "env_steps": trainer.env_steps,
            "start": start,
        }

    def settings(self) -> dict[str, Any]:
        """Tasks and training settings."""
        return {"tasks": {k: list(v) for k, v in self.tasks.items()}, "config": self.config.to_dict()}

    def _warm(self, trainer: Trainer, task: str, seed: int) -> None:
        """Clone demonstrations, or take the weights of the arm before that did."""
        model = trainer.policy.model
        if self._start is None or self._start[:2] != (task, seed):
            trainer.warm_start()
            self._start = task, seed, copy.deepcopy(model.state_dict())
        else:
            model.load_state_dict(self._start[2])
            trainer.policy.flush()


def digest(trainer: Trainer) -> str:
    """A short name of the policy's weights."""
    raw = b"".join(p.detach().cpu().numpy().tobytes() for p in trainer.policy.model.state_dict().values())
    return hashlib.sha256(raw).hexdigest()[:16]
