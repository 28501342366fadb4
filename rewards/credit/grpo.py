"""GRPO: the trajectory's score against its group (DeepSeekMath, arXiv 2402.03300, section 4.1.2, outcome supervision).

    A_i = (s_i - mean_g) / (sd_g + eps)        for every step of trajectory i in group g

sd is the sample standard deviation. Options: no division (``normalise="mean"``; see `dr_grpo`), statistics over
trajectories or over rows, and the pass@k form.

Departures and disagreements. The paper's group statistics have one entry per output (``over="trajectories"``);
verl-agent's default has one per row (``over="rows"``), so that long trajectories weigh more. A group of one keeps its
raw score, s / (1 + eps), as in verl and verl-agent (``single="raw"``); ``"zero"`` gives 0. verl's vectorised estimator
floors the variance at eps: ``min_std=eps ** 0.5``. Everything is float64 and equal groups give exactly 0.

pass@k (arXiv 2503.19595, as verl writes it): only the best trajectory of the group is credited, with its lead over the
second best. verl-agent writes it on the first row of the best trajectory, here all its steps carry it; with
``over="rows"`` a best trajectory of several rows ties with itself and gets 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, number, one_of, trajectory_scores
from agentgym.rewards.credit.groups import deviations, partition, standardised
from agentgym.steps import StepTable

__all__ = ["Normalise", "Over", "Single", "assign"]

Normalise = Literal["mean", "mean_std"]
Over = Literal["trajectories", "rows"]
Single = Literal["raw", "zero"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    pass_at_k: bool = False,
    min_std: float = 0.0,
    eps: float = 1e-6,
) -> Float:
    """Group-relative advantages, one value per trajectory, repeated on its steps.

    Args:
        steps: n rows, k trajectories that have steps; ``group`` says which are compared.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        normalise: "mean_std", or "mean" for no division.
        over: what has one entry in the group's statistics.
        single: what a group of one entry gets.
        pass_at_k: credit the best trajectory alone, with its lead over the second.
        min_std: floor of the standard deviation.
        eps: added to the standard deviation.

    Returns:
        float64[n].

    Raises:
        ValueError: scores not finite or of another length; an option out of range; pass@k with a group of one.
    """
    one_of("normalise", normalise, ("mean", "mean_std"))
    one_of("over", over, ("trajectories", "rows"))
    one_of("single", single, ("raw", "zero"))
    number("min_std", min_std, 0.0)
    number("eps", eps, 0.0, open_low=True)
    s = trajectory_scores(steps, rewards, score)
    if not len(steps):
        return np.zeros(0)
    divide = normalise == "mean_std"
    if pass_at_k:
        advantage = _lead(steps, s, over, divide, min_std, eps)
    else:
        advantage = standardised(
            s,
            partition(steps.trajectory_group),
            divide=divide,
            eps=eps,
            weights=steps.lengths if over == "rows" else None,
            min_std=min_std,
            raw_singles=single == "raw",
        )
    return advantage[steps.segment]


def _lead(steps: StepTable, s: Float, over: Over, divide: bool, min_std: float, eps: float) -> Float:
    """float64[k]: best minus second best, on the best trajectory of every group."""
    groups = partition(steps.trajectory_group)
    entries = steps.lengths if over == "rows" else np.ones(len(s), dtype=np.int64)
    d = deviations(s, groups, weights=entries)
    alone = np.flatnonzero(d.weight < 2)
    if alone.size:
        row = int(np.flatnonzero(groups.code == alone[0])[0])
        raise ValueError(
            f"pass@k needs at least two entries per group, group {steps.trajectory_group[row]} "
            f"(row {steps.starts[row]}) has one; drop the group or use pass_at_k=False"
        )
    order = np.lexsort((s, groups.code))
    best_at = np.cumsum(groups.size) - 1
    best = order[best_at]
    second = order[np.maximum(best_at - 1, 0)]
    lead = np.where(entries[best] > 1, 0.0, s[best] - s[second])
    if divide:
        lead /= np.maximum(d.sd, min_std) + eps
    advantage = np.zeros(len(s))
    advantage[best] = lead
    return advantage
