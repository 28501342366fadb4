"""Grounding: 1 for an action that was well formed and applicable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["term"]


def term(steps: StepTable) -> npt.NDArray[np.float64]:
    """float64[n]: 1 where ``grounded``, else 0."""
    return steps.grounded.astype(np.float64)
