"""Milestones as a potential (after MiRA, arXiv 2603.19685): shaping by the weighted share of milestones reached."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import number
from agentgym.rewards.terms.milestone import weighed
from agentgym.rewards.terms.shaping import Terminal, difference
from agentgym.steps import StepTable

__all__ = ["term"]


def term(
    steps: StepTable, *, weights: float | Sequence[float], gamma: float = 1.0, terminal: Terminal = "zero"
) -> npt.NDArray[np.float64]:
    """float64[n]: change of the potential sum_k w_k bit_k, with the weights scaled to sum to 1.

    Args:
        steps: n rows; reads ``milestones_before``, ``milestones`` and ``terminated``.
        weights: of every milestone of the task, in bit order; 0 or more, not all 0. One number: the potential of every
            milestone, taken as it is, since the table does not say how many a task has.
        gamma: discount in [0, 1]; policy-invariant only where it equals the learner's.
        terminal: "zero" (policy-invariant) or "keep" (an episode earns its final potential).

    Raises:
        ValueError: weights negative, all 0, or missing for a milestone that is reached; see `shaping.difference`.
    """
    if isinstance(weights, float | int):
        number("weights", weights, 0.0, open_low=True)
        sides = [weighed(m, weights) for m in (steps.milestones_before, steps.milestones)]
        return difference(steps, *sides, gamma=gamma, terminal=terminal)
    w = np.asarray(weights, dtype=np.float64)
    if w.ndim != 1 or not np.isfinite(w).all() or (w < 0).any() or w.sum() <= 0:
        raise ValueError(f"'weights' must be numbers of at least 0, not all 0, got {weights!r}")
    share = (w / w.sum()).tolist()
    before, after = weighed(steps.milestones_before, share), weighed(steps.milestones, share)
    return difference(steps, before, after, gamma=gamma, terminal=terminal)
