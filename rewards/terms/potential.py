"""Any column as a potential; what the options do stands in `agentgym.rewards.terms.shaping`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite
from agentgym.rewards.terms.shaping import Terminal, difference
from agentgym.steps import StepTable

__all__ = ["term"]


def term(
    steps: StepTable,
    *,
    name: str = "potential",
    before: str = "potential_before",
    gamma: float = 1.0,
    terminal: Terminal = "zero",
) -> npt.NDArray[np.float64]:
    """float64[n]: gamma times the potential after minus the potential before.

    Args:
        steps: n rows; reads ``terminated`` and two extra columns.
        name, before: extra columns float[n]: the potential after and before the step.
        gamma: discount in [0, 1]; policy-invariant only where it equals the learner's.
        terminal: "zero" (policy-invariant) or "keep" (an episode earns its final potential).

    Raises:
        ValueError: a column is missing or not finite; gamma outside [0, 1], or an unknown terminal rule.
    """
    after, start = (finite(c, extra(steps, c, "the term 'potential'"), (len(steps),)) for c in (name, before))
    return difference(steps, start, after, gamma=gamma, terminal=terminal)
