"""GDPO: normalise every reward in its group before they are added (arXiv 2601.05242).

    z_ij = (s_ij - mean_g s_j) / (sd_g s_j + eps)        reward j of trajectory i in group g, sample sd
    x_i  = sum_j w_j z_ij
    A_i  = x_i normalised over the batch

A sum of raw rewards lets the one with the largest spread decide; here each has a say.

Disagreements. The authors ship two versions. ``version="verl"``: eps 1e-6, a group of one keeps its raw score, the
batch is whitened, (x - mean) / sqrt(var + 1e-8), over *tokens* (``whiten_over="tokens"`` reads the extra ``n_tokens``;
rows otherwise), and exactly two rewards of weight 1 (any number and weights here). ``version="trl"``: eps 1e-4, a group
of one gets 0, the batch is normalised over trajectories with (x - mean) / (sd + 1e-4), and NaN rewards count as 0
(refused here).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, one_of
from agentgym.rewards.credit.groups import Partition, partition, standardised, whitened
from agentgym.rewards.credit.grpo import Over
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    weights: npt.ArrayLike | None = None,
    version: Literal["verl", "trl"] = "verl",
    over: Over = "trajectories",
    whiten_over: Literal["rows", "tokens"] = "rows",
    batch_normalise: bool = True,
) -> Float:
    """Advantages from k rewards, each normalised on its own.

    Args:
        steps: n rows, m trajectories that have steps.
        rewards: float[n, k] or float[n], summed over each trajectory; None: the environment's.
        score: float[m, k] or float[m] scores per trajectory, in the order of ``steps.starts``; overrides ``rewards``.
        weights: float[k]; None: 1 each.
        version: of the two public ones.
        over: what has one entry in the group's statistics.
        whiten_over: what counts once in the batch statistics of the "verl" version.
        batch_normalise: False stops after the weighted sum.

    Returns:
        float64[n].

    Raises:
        ValueError: columns not finite or of another shape; an unknown option; ``n_tokens`` missing; fewer than two
            entries to normalise the batch over.
    """
    one_of("version", version, ("verl", "trl"))
    one_of("over", over, ("trajectories", "rows"))
    one_of("whiten_over", whiten_over, ("rows", "tokens"))
    scores = _scores(steps, rewards, score)
    w = np.ones(scores.shape[1]) if weights is None else finite("weights", weights, (scores.shape[1],))
    if not len(steps):
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    total = np.zeros(len(scores))
    for j in range(scores.shape[1]):
        total += w[j] * standardised(
            scores[:, j],
            groups,
            divide=True,
            eps=1e-6 if version == "verl" else 1e-4,
            weights=steps.lengths if over == "rows" else None,
            raw_singles=version == "verl",
        )
    if not batch_normalise:
        return total[steps.segment]
    if version == "trl":
        if len(total) < 2:
            raise ValueError("normalising the batch needs at least two trajectories, got 1; collect more rollouts")
        whole = Partition(np.zeros(len(total), dtype=np.int64), 1)
        return standardised(total, whole, divide=True, eps=1e-4)[steps.segment]
    counts = np.ones(len(steps))
    if whiten_over == "tokens":
        counts = finite("n_tokens", extra(steps, "n_tokens", "whitening over tokens"), (len(steps),))
    return whitened(total[steps.segment], counts)


def _scores(steps: StepTable, rewards: npt.ArrayLike | None, score: npt.ArrayLike | None) -> Float:
    """float64[m, k]."""
    given = np.asarray(steps.reward if rewards is None else rewards) if score is None else np.asarray(score)
    if given.ndim == 1:
        given = given[:, None]
    rows = len(steps) if score is None else len(steps.starts)
    k = given.shape[1] if given.ndim == 2 else 1
    column = finite("rewards" if score is None else "score", given, (rows, k))
    if score is not None or not len(steps):
        return column
    return np.add.reduceat(column, steps.starts, axis=0)
