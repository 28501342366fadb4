"""Training: demonstrations, rollouts in groups, credit, policy gradient."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgym.agents.train.config import TrainConfig, load_config

if TYPE_CHECKING:
    from agentgym.agents.train.learner import Learner, UpdateStats
    from agentgym.agents.train.splits import Split
    from agentgym.agents.train.trainer import Score, Trainer, train

__all__ = ["Learner", "Score", "Split", "TrainConfig", "Trainer", "UpdateStats", "load_config", "train"]

_LAZY = {
    "Learner": "learner",
    "Score": "trainer",
    "Split": "splits",
    "Trainer": "trainer",
    "UpdateStats": "learner",
    "train": "trainer",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:  # these load torch
        import importlib

        return getattr(importlib.import_module(f"agentgym.agents.train.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'agentgym.agents.train' has no attribute {name!r}")
