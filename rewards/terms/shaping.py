"""Potential-based shaping: gamma phi(after) - phi(before) (Ng, Harada & Russell 1999).

With ``terminal="zero"`` the potential is 0 after termination (and kept at a time-out, where the episode was only cut):
the discounted sum over an episode telescopes to -phi(start), so no policy is preferred that was not before. With
``"keep"`` the last potential stays: with gamma 1 an episode earns its final potential. That is biased, and often what
learns fastest: it pays for what is done even where the task is not.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["Terminal", "difference"]

Terminal = Literal["zero", "keep"]


def difference(
    steps: StepTable,
    before: npt.NDArray[np.float64],
    after: npt.NDArray[np.float64],
    *,
    gamma: float,
    terminal: Terminal,
) -> npt.NDArray[np.float64]:
    """float64[n]: change of a potential over every step.

    Raises:
        ValueError: gamma outside [0, 1], or an unknown terminal rule.
    """
    if terminal not in ("zero", "keep"):
        raise ValueError(f"option 'terminal' must be 'zero' or 'keep', got {terminal!r}")
    if not 0.0 <= gamma <= 1.0:
        raise ValueError(f"option 'gamma' must lie in [0, 1], got {gamma!r}")
    kept = np.where(steps.terminated, 0.0, after) if terminal == "zero" else after
    return gamma * kept - before
