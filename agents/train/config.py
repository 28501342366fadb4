"""All settings of a training run in one place: a sentence per field, from the command line or a file."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from agentgym.errors import UnknownName, UsageError

__all__ = ["Aggregation", "TrainConfig", "load_config"]

Aggregation = Literal["step-mean", "token-mean", "trajectory-mean", "horizon"]
"""How the losses of an update's action tokens are averaged.

``step-mean``: every step counts the same; ``token-mean``: every token does; ``trajectory-mean``: every trajectory does;
``horizon``: every token is divided by (trajectories x a constant), so that long episodes are not discounted (Dr.GRPO).
"""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """One training run: warm start on demonstrations, then policy gradient on rollouts in groups."""

    env: str = "agentgym/Grid-DoorKey-8x8-H60-v0"
    """Environment id."""
    env_kwargs: dict[str, Any] = dataclasses.field(default_factory=lambda: {"view": "memory"})
    """Given to gymnasium.make."""
    model: str = "small"
    """"small" (a stock architecture built here) or a folder or hub id of a Hugging Face causal language model."""
    hidden: int = 96
    """Width of the small model."""
    layers: int = 2
    """Depth of the small model."""
    heads: int = 4
    """Attention heads of the small model."""
    mode: Literal["score", "generate"] = "score"
    """Score the environment's actions as candidates, or generate text."""
    context: str = "last:0"
    """What the model sees: "append", "last:K" (K earlier turns), or "summarise:N" (at most N tokens)."""
    max_new_tokens: int = 16
    """Longest generated action."""
    temperature: float = 1.0
    """Of the behaviour distribution."""
    recipe: str = "quickstart"
    """Name of the chain of rewards and credit (`agentgym.rewards.recipe`)."""
    companion: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Options of the model that the recipe trains beside the policy; override the recipe's."""
    columns: str = ""
    """"module:function" of a StepTable, gives the extra columns that a recipe reads as {name: array}; '' gives none."""
    seed: int = 0
    """Of everything random in the run."""

    demos: int = 32
    """Demonstrations by the environment's oracle to start from; 0 starts from the model as it is."""
    demo_until: str = ""
    """Cut every demonstration when this milestone is reached; '' keeps them whole."""
    demo_epochs: int = 30
    """Passes over the demonstrations."""
    demo_lr: float = 2e-3
    """Learning rate of the warm start."""
    demo_batch: int = 64
    """Steps in one warm-start batch."""
    demo_smoothing: float = 0.0
    """Share of the warm start's target that goes to uniformly random applicable actions, so that the clone explores."""
    demo_play: int = 0
    """Episodes of random play from where the demonstrations end, to show what else can be said to a model that writes
    its actions (scored ones come with their candidates); those that happen to succeed are left out."""

    updates: int = 50
    """Policy-gradient updates."""
    groups: int = 8
    """Groups (layouts, task seeds) in one update."""
    group_size: int = 8
    """Rollouts in one group."""
    lr: float = 5e-4
    """Learning rate, decayed linearly to zero over the updates."""
    lr_decay: bool = True
    """Decay the learning rate."""
    epochs: int = 2
    """Passes over an update's rollouts."""
    minibatches: int = 1
    """Optimiser steps in one pass."""
    clip: float = 0.2
    """PPO clips the probability ratio to [1 - clip, 1 + clip_high]."""
    clip_high: float | None = None
    """Upper clip, when it differs."""
    aggregation: Aggregation = "step-mean"
    """How token losses are averaged."""
    entropy: float = 0.0
    """Weight of the entropy bonus."""
    kl: float = 0.0
    """Weight of the k3 estimate of the divergence from the start of the policy-gradient phase."""
    critic: bool = False
    """Train a value head (recipes that use GAE need it)."""
    value_weight: float = 0.5
    """Weight of the value loss."""
    weight_decay: float = 0.0
    """AdamW's."""
    max_grad_norm: float = 1.0
    """Gradients are scaled down to this norm."""
    micro_tokens: int = 16384
    """Tokens in one forward pass; gradients accumulate, so this changes memory and not the result."""

    validate_every: int = 10
    """Measure on validation seeds after so many updates; 0 never."""
    validation_episodes: int = 64
    """Episodes of one validation."""
    test_episodes: int = 256
    """Episodes of the test before and after."""
    checkpoint_every: int = 10
    """Save a checkpoint after so many updates; 0 only at the end."""
    slots: int = 64
    """Environments in flight."""
    workers: int = 0
    """Processes that host environments; 0 steps them in this one."""
    deterministic: bool = True
    """Fix batch formation, so that a resumed run equals an uninterrupted one bit for bit."""
    step_timeout: float = 60.0
    """Seconds after which a step's environment is given up and its episode ends as an error; 0 waits for ever and, with
    workers=0, steps environments in the main thread itself."""
    threads: int = 1
    """Torch threads."""
    keep_steps: int = 10
    """Store the rollouts of every k-th update in the run folder; 0 stores none."""
    tensorboard: bool = True
    """Write scalars for TensorBoard into the run folder."""

    def __post_init__(self) -> None:
        positive = (
            "hidden layers heads max_new_tokens temperature groups group_size lr epochs minibatches micro_tokens slots "
            "max_grad_norm threads demo_batch demo_lr"
        )
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be positive, got {getattr(self, name)}")
        counts = (
            "demos demo_epochs demo_play updates validate_every validation_episodes test_episodes checkpoint_every "
            "seed workers keep_steps step_timeout entropy kl value_weight weight_decay"
        )
        for name in counts.split():
            if getattr(self, name) < 0:
                raise UsageError(f"{name} must not be negative, got {getattr(self, name)}")
        if not 0 <= self.demo_smoothing < 1:
            raise UsageError(f"demo_smoothing must lie in [0, 1), got {self.demo_smoothing}")
        if not 0 < self.clip < 1:
            raise UsageError(f"clip must lie in (0, 1), got {self.clip}")

    def to_dict(self) -> dict[str, Any]:
        """JSON-like; `from_dict` is the inverse."""
        return dataclasses.asdict(self)

    def served(self, url: str) -> TrainConfig:
        """The same training on the environments of a server (`agentgym serve`), which has this one."""
        far = {"url": url, "env_id": self.env, "shared": True}
        return dataclasses.replace(self, env="agentgym/Remote-v0", env_kwargs={**far, **self.env_kwargs})

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> TrainConfig:
        """Build from a dict.

        Raises:
            UsageError: an unknown field or a value of the wrong type.
        """
        known = {f.name: f for f in dataclasses.fields(cls)}
        default = cls()
        for name, value in data.items():
            if name not in known:
                raise UnknownName("setting", name, known, "`agentgym train --help` lists all")
            example = getattr(default, name)
            kinds: tuple[type, ...] = (int, float) if isinstance(example, float) else (type(example),)
            if name == "clip_high":
                kinds = (int, float, type(None))
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise UsageError(f"setting {name!r} must be {kinds[0].__name__}, got {value!r}")
        return cls(**data)


def load_config(path: str | Path) -> dict[str, Any]:
    """Settings from a JSON or TOML file, as given there (build with `TrainConfig.from_dict`).

    Raises:
        UsageError: the file is missing or does not parse; says where.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        data = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read settings from {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"{path} is not valid {'TOML' if path.suffix == '.toml' else 'JSON'}: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path} must hold one table of settings, got {type(data).__name__}")
    return data
