"""GTDP: group temporal difference with a prior calibrated from progress. Ours; formula and measures in `gtd`."""

from __future__ import annotations

import numpy.typing as npt

from agentgym.rewards.credit import gtd
from agentgym.rewards.credit.checks import Float
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    prior: gtd.Prior = "calibrated",
    lam: float = 0.5,
    kappa: float = 0.3,
    prior_count: float = 1.0,
    bins: int = 10,
    horizon: int | None = None,
    normalise: bool = False,
) -> Float:
    """`gtd.assign` with another default prior, float64[n]; arguments and errors as there."""
    return gtd.assign(
        steps,
        rewards,
        prior=prior,
        lam=lam,
        kappa=kappa,
        prior_count=prior_count,
        bins=bins,
        horizon=horizon,
        normalise=normalise,
    )
