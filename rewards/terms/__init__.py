"""Terms: one number per step from the process record. One module a term, each with ``term(steps, **options)``.

Terms read columns and return float64[n]; they weigh nothing and mix nothing (see `agentgym.rewards.combine`).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.terms import column, danger, grounded, milestone, outcome, progress, subgoals

__all__ = ["TERMS", "TermFunction", "term"]

TermFunction = Callable[..., npt.NDArray[np.float64]]
"""``term(steps, **options) -> float64[n]``."""

TERMS: dict[str, TermFunction] = {
    "outcome": outcome.term,
    "milestone": milestone.term,
    "progress": progress.term,
    "grounded": grounded.term,
    "danger": danger.term,
    "subgoals": subgoals.term,
    "column": column.term,
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
