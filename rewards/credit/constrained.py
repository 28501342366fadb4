"""Credit under a limit: the advantage of the rewards, less the price of danger times danger's own advantage. Ours.

    A_t   = (A^r_t - price A^c_t) / (1 + price)
    A^r     `gigpo` on the rewards
    A^c     `gtd` with lambda = 0 on the danger bits: c_t + V^c(x_(t+1)) - V^c(x_t), V^c the danger to come

Why apart, and not a price in the reward (the rule "lagrangian"): scores that are divided by their spread in a group
move everybody's advantage when one rollout pays; a group in which all fail would be told of danger alone, as loudly as
others are told of success; and a score of whole rollouts blames every step of a rollout for one unsafe one. The
temporal difference blames the step that raised the danger to come. The division keeps the size of advantages while the
price moves, as in Stooke et al. (arXiv 2007.03964).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import gigpo, gtd
from agentgym.rewards.credit.checks import Float, extra, finite, number
from agentgym.rewards.credit.grpo import Normalise, Over, Single
from agentgym.steps import StepTable

__all__ = ["assign", "danger_advantage"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    price: float | str = "danger_price",
    score: npt.ArrayLike | None = None,
    kappa: float = 1.0,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """Two advantages at a price, float64[n].

    Args:
        steps: n rows; reads ``danger`` and what `gigpo.assign` and `gtd.assign` read.
        rewards: float[n]; None: the environment's. Without any price of danger: that is paid here.
        price: of an unsafe step, 0 or more, or the extra column that holds it (`DangerLimit` keeps it).
        kappa: as in `gtd.assign`, for danger.
        score, gamma, step_weight, normalise, over, single, eps: as in `gigpo.assign`, for the rewards.

    Raises:
        ValueError: the price is negative, not finite or missing; what `gigpo.assign` and `gtd.assign` refuse.
    """
    dear = priced(steps, price)
    gain = gigpo.assign(
        steps,
        rewards,
        score=score,
        gamma=gamma,
        step_weight=step_weight,
        normalise=normalise,
        over=over,
        single=single,
        eps=eps,
    )
    return (gain - dear * danger_advantage(steps, kappa=kappa)) / (1.0 + dear)


def danger_advantage(steps: StepTable, *, kappa: float = 1.0) -> Float:
    """A^c float64[n]: by how many unsafe steps a step raised what was to be expected."""
    return gtd.assign(steps, steps.danger.astype(np.float64), lam=0.0, kappa=kappa)


def priced(steps: StepTable, price: float | str) -> Float:
    """float64[n]: the price at every step; arguments and errors as in `assign`."""
    if not isinstance(price, str):
        number("price", price, 0.0)
        return np.full(len(steps), float(price))
    found = finite(price, extra(steps, price, "credit under a limit"), (len(steps),))
    bad = np.flatnonzero(found < 0.0)
    if bad.size:
        raise ValueError(f"{price!r} must be at least 0, row {bad[0]} is {found[bad[0]]}; danger is never paid for")
    return found
