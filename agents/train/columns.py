"""Extra columns of a training run: what a recipe reads beyond the record, by a function or a model of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from agentgym.agents.loop.ledger import KEEP
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.models import own_copy
from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import Recipe
from agentgym.rewards.models.companions import Companion, Surroundings, companion
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["ExtraColumns"]

_LOOP = ("value", "logprob")
"""Extras that the loop always keeps of a policy with tokens."""


class ExtraColumns:
    """Makes the columns that a recipe reads, batch after batch.

    Args:
        config: its ``companion`` and ``columns``.
        recipe: what is trained by.

    Raises:
        UnknownName: an option that the recipe's companion does not take.
        UsageError: the recipe reads columns that nothing here makes, or needs a critic that the settings do not have.
    """

    def __init__(self, config: TrainConfig, recipe: Recipe) -> None:
        if config.companion:
            if not recipe.companion:
                raise UsageError(
                    f"recipe {recipe.name!r} trains no model beside the policy that could take "
                    f"{sorted(config.companion)}; leave `companion` empty"
                )
            recipe = replace(recipe, companion_options={**recipe.companion_options, **config.companion})
        self._config, self._recipe = config, recipe
        self._function = _imported(config.columns) if config.columns else None
        self._companion: Companion | None = None
        missing = [c for c in recipe.needs if c not in (*_LOOP, *KEEP.values())]
        if missing and self._function is None:
            raise UsageError(
                f"recipe {recipe.name!r} reads the extra columns {missing}, which a training run does not make by "
                "itself; name a function of yours that does, columns='module:function' (--columns), or choose another"
            )
        if recipe.needs_critic and not config.critic:
            raise UsageError(f"recipe {recipe.name!r} needs a critic; set critic=True (--critic), or choose 'gigpo'")
        self.keep = tuple(name for name, column in KEEP.items() if column in recipe.needs)
        """Text columns that the loop must keep."""
        if self._function is not None:
            self.keep = ("text", "action")

    def added(
        self, steps: StepTable, tokens: TokenTable, policy: TransformersPolicy
    ) -> tuple[StepTable, dict[str, float]]:
        """The steps with their extra columns, and figures to log.

        The function sees the batch first, then the companion learns from it.

        Raises:
            ValueError: the function gives something else than one array per name, as long as the table.
        """
        if self._function is not None:
            steps = steps.with_extra(**_checked(self._function(steps), self._config.columns, len(steps)))
            self._complete(steps)
        if not self._recipe.companion or not len(steps):
            return steps, {}
        columns, figures = self._beside(policy).update(steps, tokens)
        return steps.with_extra(**columns), {f"companion_{name}": value for name, value in figures.items()}

    def state_dict(self) -> dict[str, Any] | None:
        """Of the companion; None before the first batch."""
        return None if self._companion is None else self._companion.state_dict()

    def load_state_dict(self, state: Mapping[str, Any] | None, policy: TransformersPolicy) -> None:
        """The inverse of `state_dict`."""
        if state is not None:
            self._beside(policy).load_state_dict(state)

    def close(self) -> None:
        """End what runs beside the loop."""
        if self._companion is not None:
            self._companion.close()

    def _beside(self, policy: TransformersPolicy) -> Companion:
        """The companion; made when it is first needed, so that it starts from where the policy starts."""
        if self._companion is None:
            c = self._config
            needs_model = companion(self._recipe.companion).needs_language_model
            around = Surroundings(
                language_model=own_copy(policy) if needs_model else None,
                temperature=c.temperature,
                micro_tokens=c.micro_tokens,
                seed=c.seed,
                repeatable=c.deterministic,
            )
            self._companion = self._recipe.build_companion(around)
            assert self._companion is not None
        return self._companion

    def _complete(self, steps: StepTable) -> None:
        missing = [c for c in self._recipe.needs if c not in steps.extras]
        if missing:
            raise ValueError(
                f"recipe {self._recipe.name!r} reads the extra columns {missing}, which {self._config.columns!r} does "
                f"not give (there are {sorted(steps.extras)}); return them as {{name: array}}"
            )


def _imported(spec: str) -> Callable[[StepTable], Any]:
    """The function that "module:function" names."""
    module_name, _, name = spec.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (ImportError, ValueError) as error:
        raise UsageError(f"columns must be 'module:function', got {spec!r}: {error}") from error
    if not hasattr(module, name):
        raise UnknownName(f"name in module {module_name}", name, [n for n in vars(module) if not n.startswith("_")])
    found = getattr(module, name)
    if not callable(found):
        raise UsageError(f"columns must name a function of a StepTable, {spec!r} is a {type(found).__name__}")
    function: Callable[[StepTable], Any] = found
    return function


def _checked(given: Any, spec: str, n: int) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        raise ValueError(f"{spec!r} must return a mapping name -> array, got {type(given).__name__}")
    for name, column in given.items():
        if np.shape(column)[:1] != (n,):
            raise ValueError(f"{spec!r}: column {name!r} must have {n} rows, got shape {np.shape(column)}")
    return dict(given)
