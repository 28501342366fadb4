"""Combine: several terms into one step reward. One module a rule, each with ``combine(steps, columns, **options)``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.combine import (
    blended,
    clip_delta,
    gated,
    hierarchical,
    krc,
    lagrangian,
    logical_and,
    renorm,
    stack,
    verpo,
    weighted,
)

__all__ = ["RULES", "Rule", "columns_of", "rule"]


@dataclass(frozen=True)
class Rule:
    """One way to combine.

    Attributes:
        combine: ``combine(steps, columns, **options) -> float64[n]``; ``columns`` maps a term's name to float64[n].
        stepwise: it reads one row at a time, so that a stream of steps can be combined as it comes.
        needs_groups: it compares rollouts of one task.
        names: options that name extra columns it reads.
    """

    combine: Callable[..., npt.NDArray[np.float64]]
    stepwise: bool = False
    needs_groups: bool = False
    names: tuple[str, ...] = ()


RULES: dict[str, Rule] = {
    "weighted": Rule(weighted.combine, stepwise=True),
    "gated": Rule(gated.combine),
    "hierarchical": Rule(hierarchical.combine),
    "and": Rule(logical_and.combine),
    "krc": Rule(krc.combine, stepwise=True),
    "clip-delta": Rule(clip_delta.combine, names=("process",)),
    "renorm": Rule(renorm.combine, needs_groups=True, names=("process",)),
    "verpo": Rule(verpo.combine, needs_groups=True, names=("tests", "tests_before")),
    "stack": Rule(stack.combine),
    "lagrangian": Rule(lagrangian.combine, stepwise=True, names=("multiplier",)),
    "blended": Rule(blended.combine),
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


def columns_of(name: str, options: Mapping[str, Any], terms: Sequence[str]) -> tuple[str, ...]:
    """The extra columns that a rule with these options reads, when it joins these terms."""
    known = {**(rule(name).combine.__kwdefaults__ or {}), **options}
    if name == "blended":
        return tuple(known["prefix"] + t for t in terms if t != known["primary"])
    return tuple(known[option] for option in rule(name).names if isinstance(known.get(option), str))
