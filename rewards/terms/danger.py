"""Danger as a cost: -1 for a step that did something unsafe."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["term"]


def term(steps: StepTable) -> npt.NDArray[np.float64]:
    """float64[n]: -1 where ``danger``, else 0. A positive weight therefore punishes."""
    return np.where(steps.danger, -1.0, 0.0)
