"""Duration-aware gradient: actions that take longer weigh more (arXiv 2509.01684; ICLR 2026).

    A'_t = A_t dt_t / mean dt

In asynchronous training quick actions are sampled more often per second; weighting by the action's duration over the
batch mean undoes that. `weigh` takes any advantages, ``assign`` weighs GRPO's.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float, finite
from agentgym.steps import StepTable

__all__ = ["assign", "weigh"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    normalise: grpo.Normalise = "mean_std",
    over: grpo.Over = "trajectories",
    single: grpo.Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """GRPO's advantages weighted by duration, float64[n]; arguments as in `grpo.assign`."""
    base = grpo.assign(steps, rewards, score=score, normalise=normalise, over=over, single=single, eps=eps)
    return weigh(steps, base)


def weigh(steps: StepTable, advantages: npt.ArrayLike) -> Float:
    """float64[n]: advantages times ``duration`` over the batch's mean duration.

    Raises:
        ValueError: a duration is negative, or all are 0; advantages not finite or of another length.
    """
    a = finite("advantages", advantages, (len(steps),))
    if not len(steps):
        return a
    if steps.duration.min() < 0.0 or steps.duration.max() == 0.0:
        raise ValueError(
            "column 'duration' must be at least 0 and not 0 everywhere, got values from "
            f"{steps.duration.min():g} to {steps.duration.max():g}; record durations in seconds"
        )
    return np.asarray(a * (steps.duration / steps.duration.mean()))
