"""Terms: one number per step from the process record. One module a term, each with ``term(steps, **options)``.

Terms read columns and return float64[n]; they weigh nothing and mix nothing (see `agentgym.rewards.combine`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.terms import (
    checklist,
    column,
    cost,
    danger,
    grounded,
    intrinsic,
    judged,
    milestone,
    outcome,
    potential,
    progress,
    reference,
    subgoals,
)

__all__ = ["TERMS", "TermFunction", "columns_of", "term"]

TermFunction = Callable[..., npt.NDArray[np.float64]]
"""``term(steps, **options) -> float64[n]``."""

TERMS: dict[str, TermFunction] = {
    "outcome": outcome.term,
    "milestone": milestone.term,
    "progress": progress.term,
    "grounded": grounded.term,
    "danger": danger.term,
    "subgoals": subgoals.term,
    "potential": potential.term,
    "column": column.term,
    "checklist": checklist.term,
    "cost": cost.term,
    "reference": reference.term,
    "par": judged.par_term,
    "ensemble": judged.ensemble_term,
    "intrinsic": intrinsic.term,
}
"""Every term by name."""


def term(name: str) -> TermFunction:
    """The named term.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in TERMS:
        raise UnknownName("reward term", name, TERMS, "agentgym.rewards.terms.TERMS lists them")
    return TERMS[name]


def columns_of(name: str, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The extra columns that a term with these options reads."""
    known = term(name).__kwdefaults__ or {}
    chosen = {option: options.get(option, known.get(option)) for option in _NAMES.get(name, ())}
    if name == "cost" and chosen["name"] == "duration":
        return ()
    if name == "reference" and options.get("paid", "gain") == "level":
        chosen.pop("before")
    if name == "par" and options.get("form") == "sigmoid":
        chosen.pop("references")
    if name == "intrinsic" and options.get("beta") == 0:
        chosen.pop("message")
    return tuple(chosen.values())


_NAMES = {
    "column": ("name",),
    "checklist": ("name",),
    "cost": ("name",),
    "potential": ("name", "before"),
    "reference": ("name", "before"),
    "par": ("name", "references"),
    "ensemble": ("name",),
    "intrinsic": ("name", "message"),
}
"""Options that name extra columns."""
