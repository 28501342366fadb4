"""Checkpoints: an ordinary model folder, the optimiser's state, and where the run stood; whole or not there at all."""

from __future__ import annotations

import json
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.learner import Learner
from agentgym.agents.train.models import frozen_copy, load_weights
from agentgym.errors import RunError
from agentgym.runs import Run

__all__ = ["newest_checkpoint", "read_checkpoint", "read_companion", "write_checkpoint"]

_FREE = {
    "checkpoint_every",
    "validate_every",
    "keep_steps",
    "threads",
    "step_timeout",
    "validation_episodes",
    "test_episodes",
    "tensorboard",
}
"""Settings that may change between a run and its resumption."""


def write_checkpoint(
    run: Run,
    number: int,
    policy: TransformersPolicy,
    learner: Learner,
    config: TrainConfig,
    state: Mapping[str, Any],
    *,
    companion: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``checkpoints/<number>`` beside and rename it, so that a crash leaves the one before.

    Args:
        number: updates done.
        state: JSON-like, given back by `read_checkpoint`.
        companion: tensors and plain values, given back by `read_companion`.
    """
    folder = run.path / "checkpoints" / f"{number:06d}"
    beside = folder.with_name(f".{folder.name}.{os.getpid()}")
    shutil.rmtree(beside, ignore_errors=True)
    policy.save(beside)
    torch.save(learner.state_dict(), beside / "learner.pt")
    if companion is not None:
        torch.save(dict(companion), beside / "companion.pt")
    (beside / "state.json").write_text(json.dumps({**state, "config": config.to_dict()}, indent=1))
    shutil.rmtree(folder, ignore_errors=True)
    beside.rename(folder)
    return folder


def read_checkpoint(folder: Path, policy: TransformersPolicy, learner: Learner, config: TrainConfig) -> dict[str, Any]:
    """Put weights and optimiser back to where a checkpoint left them; returns its state.

    Raises:
        RunError: it was made with other settings, or a file is damaged.
    """
    try:
        state: dict[str, Any] = json.loads((folder / "state.json").read_text())
        made_with = state.pop("config")
    except (OSError, ValueError, KeyError) as error:
        raise RunError(
            f"{folder}/state.json is missing or damaged ({error}); delete the folder to go on earlier"
        ) from error
    mine = config.to_dict()
    differ = sorted(k for k in mine if mine[k] != made_with.get(k) and k not in _FREE)
    if differ:
        raise RunError(f"{folder} was made with other settings ({', '.join(differ)}): resume with the same ones")
    if config.kl:
        load_weights(policy, folder.with_name(f"{0:06d}"))
        learner.reference = frozen_copy(policy)
    load_weights(policy, folder)
    learner.load_state_dict(torch.load(folder / "learner.pt", weights_only=True))
    return state


def read_companion(folder: Path) -> dict[str, Any] | None:
    """The state of the model beside the policy; None where the checkpoint has none.

    Raises:
        RunError: the file is damaged.
    """
    path = folder / "companion.pt"
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise RunError(f"{path} is damaged ({error}); delete the folder to go on earlier") from error
    return state


def newest_checkpoint(run: Run) -> Path | None:
    """The folder of the run's newest complete checkpoint."""
    found = sorted(p for p in (run.path / "checkpoints").glob("[0-9]*") if (p / "state.json").is_file())
    return found[-1] if found else None
