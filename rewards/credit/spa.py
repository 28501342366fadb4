"""SPA: the outcome redistributed over the steps by their contribution (arXiv 2505.20732).

``mode="paper"``: r_t = alpha c_t + beta grounded_t, with c_t the contribution that an estimator gives step t (extra
column ``contribution``, or ``rewards``); the c_t of a trajectory sum to its predicted completion. The paper's weights
could not be established: alpha 1 and beta 0.1 are ours.

``mode="code"``: what the released code trains on. The estimator's values are thrown away; every step gets the outcome
minus the mean outcome of the other rollouts of its group, plus 0.5 if it was grounded (the last step always).

``assign`` gives the return-to-go of r_t. ``ppo_weights=True`` multiplies step i of n by n - 1 - i first, as the
released PPO trainer does: the last step then counts nothing.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number, one_of
from agentgym.rewards.credit.groups import partition, suffix_sums
from agentgym.steps import StepTable

__all__ = ["assign", "redistributed", "token_rewards"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    mode: Literal["paper", "code"] = "paper",
    alpha: float = 1.0,
    beta: float = 0.1,
    completion: npt.ArrayLike | None = None,
    ppo_weights: bool = False,
    gamma: float = 1.0,
) -> Float:
    """Return-to-go of the redistributed reward, float64[n].

    Args:
        steps: n rows, k trajectories that have steps.
        rewards: float[n] contributions for "paper"; None: the extra column ``contribution``. "code" reads outcomes.
        mode: "paper" or "code".
        alpha, beta: weights of contribution and grounding in "paper".
        completion: float[k], in the order of ``steps.starts``: what the contributions of a trajectory are scaled to sum
            to; None: as they are (an estimator's own prediction).
        ppo_weights: multiply step i of n by n - 1 - i.
        gamma: discount in [0, 1].

    Raises:
        ValueError: columns missing, not finite or of another length; a group of one in "code"; an unknown mode.
    """
    number("gamma", gamma, 0.0, 1.0)
    reward = redistributed(steps, rewards, mode=mode, alpha=alpha, beta=beta, completion=completion)
    if ppo_weights and len(steps):
        reward = reward * (steps.ends[steps.segment] - np.arange(len(steps)))
    return suffix_sums(steps, reward, gamma)


def redistributed(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    mode: Literal["paper", "code"] = "paper",
    alpha: float = 1.0,
    beta: float = 0.1,
    completion: npt.ArrayLike | None = None,
) -> Float:
    """r_t float64[n]; arguments as in `assign`."""
    one_of("mode", mode, ("paper", "code"))
    n, k = len(steps), len(steps.starts)
    if mode == "paper":
        given = extra(steps, "contribution", "SPA") if rewards is None else rewards
        c = finite("contributions", given, (n,))
        if completion is not None and n:
            c = _scaled(steps, c, finite("completion", completion, (k,)))
        return alpha * c + beta * steps.grounded
    outcome = finite("outcome", steps.outcome, (k,))
    if not n:
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    size = groups.size[groups.code]
    if size.min() < 2:
        at = int(size.argmin())
        raise ValueError(
            f"the released SPA compares with the other rollouts, group {steps.trajectory_group[at]} (row "
            f"{steps.starts[at]}) has one; drop it or use mode='paper'"
        )
    centred = outcome - (groups.totals(outcome)[groups.code] - outcome) / (size - 1)
    executable = steps.grounded.copy()
    executable[steps.ends] = True
    return centred[steps.segment] + 0.5 * executable


def _scaled(steps: StepTable, c: Float, completion: Float) -> Float:
    """Contributions that sum to the completion: what is missing is shared in proportion to their size, or evenly."""
    size = np.add.reduceat(np.abs(c), steps.starts)
    missing = completion - np.add.reduceat(c, steps.starts)
    share = np.where(
        (size > 0.0)[steps.segment],
        np.abs(c) / np.where(size > 0.0, size, 1.0)[steps.segment],
        (1.0 / steps.lengths)[steps.segment],
    )
    return c + missing[steps.segment] * share


def token_rewards(
    scores: npt.ArrayLike, produced: npt.NDArray[np.bool_], log_ratio: npt.ArrayLike, *, kl_coefficient: float = 0.0
) -> Float:
    """Per-token rewards of one dialogue as the released PPO trainer lays them out.

    The last token of the turn with score i of n gets score * (n - 1 - i); scores and turns are matched from the end, so
    scores without a turn are lost. Every token pays ``kl_coefficient`` times its log-ratio to the reference.

    Args:
        scores: float[n], one per turn.
        produced: bool[length], tokens of the assistant.
        log_ratio: float[length], policy minus reference.
        kl_coefficient: 0 or more.
    """
    number("kl_coefficient", kl_coefficient, 0.0)
    ratio = finite("log_ratio", log_ratio, produced.shape)
    values = finite("scores", scores, (len(np.asarray(scores)),))
    ends = np.flatnonzero(produced & ~np.append(produced[1:], False))
    matched = min(len(ends), len(values))
    reward = -kl_coefficient * ratio
    weight = np.arange(len(values) - 1, -1, -1)
    reward[ends[len(ends) - matched :]] += (values * weight)[len(values) - matched :]
    return reward
