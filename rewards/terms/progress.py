"""Progress as a potential; what the options do stands in `agentgym.rewards.terms.shaping`."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.terms.shaping import Terminal, difference
from agentgym.steps import StepTable

__all__ = ["term"]


def term(steps: StepTable, *, gamma: float = 1.0, terminal: Terminal = "zero") -> npt.NDArray[np.float64]:
    """float64[n]: gamma times progress after minus progress before, the potential in [0, 1].

    Args:
        steps: n rows; reads ``progress_before``, ``progress`` and ``terminated``.
        gamma: discount in [0, 1]; policy-invariant only where it equals the learner's.
        terminal: "zero" (policy-invariant) or "keep" (an episode earns its final progress).

    Raises:
        ValueError: gamma outside [0, 1], or an unknown terminal rule.
    """
    return difference(steps, steps.progress_before, steps.progress, gamma=gamma, terminal=terminal)
