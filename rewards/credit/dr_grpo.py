"""Dr. GRPO: GRPO without its two biases (arXiv 2503.20783, section 3.2).

    A_i = s_i - mean_g

No division by the group's standard deviation. The other half of the method is the loss: token losses are summed and
divided by a constant (the longest response allowed), not by each response's own length; choose that aggregation in the
trainer.
"""

from __future__ import annotations

import numpy.typing as npt

from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    over: grpo.Over = "trajectories",
    single: grpo.Single = "raw",
) -> Float:
    """Score minus group mean, float64[n]; arguments and errors as in `grpo.assign`."""
    return grpo.assign(steps, rewards, score=score, normalise="mean", over=over, single=single)
