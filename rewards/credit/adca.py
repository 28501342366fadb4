"""ADCA-GRPO: a judge's GOOD and BAD per step beside the outcome (AgentEvolver, arXiv 2511.10395).

    decouple    b_t = +base if GOOD else -base
    allocation  b_t = sign w_t / sum w, sign +1 for a success, w_t = 1 where the label agrees with the outcome, else 0.2
    z_t  = (b_t - m) / sd          over the group; every trajectory weighs alike, or every step
    r_t  = alpha z_t + z_outcome   on the last step, or on all
    A_t  = sum_{k >= t} r_k        over sqrt(length) with ``by_length`` (the authors: in "decouple" only)

With equal trajectory weight m is the mean of trajectory means and sd = sqrt(mean of the trajectories' mean squared
deviations + eps); with flat weight sd is the population's, at least eps. z_outcome uses the population sd, and is only
centred where that is at most eps. alpha is 0.1 in the authors' configuration (0.2 in their full run), and they use the
method for the first 100 updates only. Missing labels are the caller's to fill (they take GOOD, and in "allocation" what
the outcome says).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, number, one_of, trajectory_scores
from agentgym.rewards.credit.groups import FLAT, Partition, deviations, partition, suffix_sums
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    good: str = "good",
    scheme: Literal["decouple", "allocation"] = "decouple",
    alpha: float = 0.1,
    base: float = 0.2,
    agreeing: float = 1.0,
    bad_in_success: float = 0.2,
    good_in_failure: float = 0.2,
    normalise: bool = True,
    over: Literal["trajectories", "rows"] = "trajectories",
    outcome_on: Literal["last_step", "all_steps"] = "last_step",
    by_length: bool = False,
    success_above: float = 0.5,
    eps: float = 1e-8,
) -> Float:
    """Suffix sums of normalised labels and outcome, float64[n].

    Args:
        steps: n rows, k trajectories that have steps; reads the extra column ``good``.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        good: name of the extra column bool[n].
        scheme: "decouple" or "allocation".
        alpha: weight of the labels.
        base: size of a label in "decouple".
        agreeing, bad_in_success, good_in_failure: weights w in "allocation", 0 or more, not all 0 in a trajectory.
        normalise: z-score labels in the group; False takes b_t as it is.
        over: what weighs alike in the labels' statistics.
        outcome_on: where z_outcome goes.
        by_length: divide by the square root of the trajectory's length.
        success_above: scores above it are successes in "allocation".
        eps: see above.

    Raises:
        ValueError: the labels are missing or not bool; columns not finite or of another length; an option out of range.
    """
    one_of("scheme", scheme, ("decouple", "allocation"))
    one_of("over", over, ("trajectories", "rows"))
    one_of("outcome_on", outcome_on, ("last_step", "all_steps"))
    number("eps", eps, 0.0, open_low=True)
    for name, value in (
        ("agreeing", agreeing),
        ("bad_in_success", bad_in_success),
        ("good_in_failure", good_in_failure),
    ):
        number(name, value, 0.0)
    s = trajectory_scores(steps, rewards, score)
    labels = extra(steps, good, "ADCA")
    if labels.dtype != np.bool_:
        raise ValueError(f"extra {good!r} must be bool (True for GOOD), got {labels.dtype}")
    if not len(steps):
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    if scheme == "decouple":
        raw = np.where(labels, base, -base)
    else:
        won = (s > success_above)[steps.segment]
        w = np.where(won == labels, agreeing, np.where(won, bad_in_success, good_in_failure))
        total = np.add.reduceat(w, steps.starts)[steps.segment]
        raw = np.where(won, 1.0, -1.0) * np.where(total > eps, w / np.where(total > eps, total, 1.0), 0.0)
    labelled = _normalised(steps, raw, groups, over, eps) if normalise else raw
    outcome = deviations(s, groups, ddof=0)
    spread = np.where(outcome.sd > eps, outcome.sd, 1.0)[groups.code]
    z = (outcome.row / spread)[steps.segment]
    reward = alpha * labelled
    if outcome_on == "all_steps":
        reward = reward + z
    else:
        reward[steps.ends] += z[steps.ends]
    advantage = suffix_sums(steps, reward, 1.0)
    return advantage / np.sqrt(steps.lengths[steps.segment]) if by_length else advantage


def _normalised(steps: StepTable, raw: Float, groups: Partition, over: str, eps: float) -> Float:
    by_row = Partition(groups.code[steps.segment], groups.count)
    # Weighing every row by one over its trajectory's length gives the mean of trajectory means.
    weight = np.ones(len(raw)) if over == "rows" else (1.0 / steps.lengths)[steps.segment]
    total = by_row.totals(weight)
    shift = np.zeros(groups.count)
    shift[by_row.code] = raw  # any member: rows of equal labels then differ from the mean by exactly 0
    row = raw - shift[by_row.code]
    row -= (by_row.totals(weight * row) / total)[by_row.code]
    row[np.abs(row) <= FLAT * np.abs(raw)] = 0.0
    variance = by_row.totals(weight * row * row) / total
    sd = np.maximum(np.sqrt(variance), eps) if over == "rows" else np.sqrt(variance + eps)
    return row / sd[by_row.code]
