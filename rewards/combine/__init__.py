"""Combine: several terms into one step reward. One module a rule, each with ``combine(steps, columns, **options)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.combine import clip_delta, gated, krc, lagrangian, renorm, stack, verpo, weighted
from agentgym.steps import StepTable

__all__ = ["RULES", "Rule", "rule"]


@dataclass(frozen=True)
class Rule:
    """One way to combine.

    Attributes:
        combine: ``combine(steps, columns, **options) -> float64[n]``; ``columns`` maps a term's name to float64[n].
        stepwise: it reads one row at a time, so that a stream of steps can be combined as it comes.
        needs_groups: it compares rollouts of one task.
        state: options that change from batch to batch.
        updated: ``updated(steps, options) -> options`` of the next batch; None for rules without state.
    """

    combine: Callable[..., npt.NDArray[np.float64]]
    stepwise: bool = False
    needs_groups: bool = False
    state: tuple[str, ...] = ()
    updated: Callable[[StepTable, Mapping[str, Any]], dict[str, Any]] | None = None


RULES: dict[str, Rule] = {
    "weighted": Rule(weighted.combine, stepwise=True),
    "gated": Rule(gated.combine),
    "krc": Rule(krc.combine, stepwise=True),
    "clip-delta": Rule(clip_delta.combine),
    "renorm": Rule(renorm.combine, needs_groups=True),
    "verpo": Rule(verpo.combine, needs_groups=True),
    "stack": Rule(stack.combine),
    "lagrangian": Rule(lagrangian.combine, stepwise=True, state=("multiplier",), updated=lagrangian.updated),
}
"""Every rule by name."""


def rule(name: str) -> Rule:
    """The named rule.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in RULES:
        raise UnknownName("combination rule", name, RULES, "agentgym.rewards.combine.RULES lists them")
    return RULES[name]
