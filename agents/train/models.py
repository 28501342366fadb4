"""Policies from settings, and weights in and out of folders."""

from __future__ import annotations

import contextlib
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
from safetensors.torch import load_file
from transformers.utils import logging as transformers_logging

from agentgym.agents.policy.context import Append, ContextPolicy, LastK, Summarise
from agentgym.agents.policy.small import small_model
from agentgym.agents.policy.transformers import VALUE_HEAD, TransformersPolicy
from agentgym.agents.train.config import TrainConfig
from agentgym.errors import UsageError

__all__ = ["build_policy", "frozen_copy", "load_weights", "own_copy", "parse_context"]


def parse_context(text: str) -> ContextPolicy:
    """A context policy from its setting: "append", "last:K" or "summarise:N".

    Raises:
        UsageError: anything else.
    """
    if text == "append":
        return Append()
    found = re.fullmatch(r"(last|summarise):(\d+)", text)
    if not found:
        raise UsageError(f"context must be 'append', 'last:K' or 'summarise:N' (K turns, N tokens), got {text!r}")
    number = int(found[2])
    return LastK(number) if found[1] == "last" else Summarise(number)


def build_policy(config: TrainConfig) -> TransformersPolicy:
    """The policy that the settings describe, before any training."""
    options: dict[str, Any] = {
        "context": parse_context(config.context),
        "mode": config.mode,
        "temperature": config.temperature,
        "max_new_tokens": config.max_new_tokens,
        "critic": config.critic,
    }
    if config.model != "small":
        return TransformersPolicy.from_pretrained(config.model, **options)
    model, tokenizer = small_model(
        _language(config), hidden=config.hidden, layers=config.layers, heads=config.heads, seed=config.seed
    )
    return TransformersPolicy(model, tokenizer, **options)


def _language(config: TrainConfig) -> list[str]:
    """Texts that hold every word the environment may use: its world's own list, or else what an oracle's run shows."""
    env = gymnasium.make(config.env, **config.env_kwargs)
    try:
        task: Any = getattr(env.unwrapped, "task", None)
        _, info = env.reset(seed=config.seed)
        if not hasattr(task, "vocabulary"):
            raise UsageError(
                f"model='small' needs the words of {config.env}: its task lists none (`vocabulary`); "
                "give model=FOLDER with a tokenizer of its own"
            )
        return [str(info["goal"]), *task.vocabulary()]
    finally:
        env.close()


def load_weights(policy: TransformersPolicy, folder: Path) -> None:
    """Put the weights that `TransformersPolicy.save` wrote into a policy of the same shape.

    Raises:
        UsageError: the shapes differ.
    """
    with _no_bar():
        saved = TransformersPolicy.from_pretrained(folder, device="cpu")
    try:
        policy.model.load_state_dict(saved.model.state_dict())
    except RuntimeError as error:
        raise UsageError(f"{folder} holds another model than the settings describe: {error}") from error
    if policy.value_head is not None:
        policy.value_head.load_state_dict(load_file(folder / VALUE_HEAD))
    policy.flush()


@contextlib.contextmanager
def _no_bar() -> Iterator[None]:
    """Without the bar that Transformers draws while it loads, across what the run itself tells."""
    bars: Any = transformers_logging  # not annotated upstream
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def own_copy(policy: TransformersPolicy) -> Any:
    """A copy of the model as it is now, to be trained apart from it."""
    return copy.deepcopy(policy.model).eval()


def frozen_copy(policy: TransformersPolicy) -> Any:
    """A copy of the model as it is now, without gradients: the reference of a divergence."""
    model = own_copy(policy)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model.eval()
