"""PRIME: process rewards from a language model's own log-probabilities (arXiv 2502.01456).

    q_t = log pi_phi(token) - log pi_ref(token)
    process:  x_t = q_t n/(n-1) - (sum over the group of each rollout's mean q) / (n-1)
    outcome:  x_T = s n/(n-1) - (sum of the group's scores) / (n-1)          on the last row only
    A = whitened sum of both returns, R_t = sum_{k >= t} gamma^(k-t) x_k

Rows may be steps (q summed over their tokens) or tokens (`assign_tokens`). ``batch_norm`` first divides all q by the
largest |reverse cumulative sum| in the batch, plus 1e-6, as both public versions do.

Departures and disagreements. The process term is leave-one-out only on average: own rows are scaled by n/(n-1), the
baseline uses means per rollout; kept, it is the reference. The original repository weighs the two sources 1:1, verl's
recipe 5:5 (equal after whitening); set the weights here. There the advantages of padding are not masked; here is no
padding. A group of one, and a trajectory without rows, are refused where the reference fails or gives NaN. beta does
not enter the advantage, only the loss (`agentgym.rewards.models.implicit.cross_entropy`).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number, one_of, trajectory_scores
from agentgym.rewards.credit.groups import partition, suffix_sums, whitened
from agentgym.rewards.credit.token_rows import produced, token_table
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["assign", "assign_tokens", "batch_normalised", "log_ratio"]

Granularity = Literal["row", "whole"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    granularity: Granularity = "row",
    batch_norm: bool = True,
    process_weight: float = 1.0,
    outcome_weight: float = 1.0,
    gamma: float = 1.0,
    outcome_gamma: float = 1.0,
    whiten: bool = True,
) -> Float:
    """Advantages from implicit process rewards and outcomes.

    Args:
        steps: n rows, k trajectories, each with at least one row.
        rewards: float[n], q; None: the extra columns ``logprob_model`` minus ``logprob_reference``.
        score: float[k] outcome scores, in the order of ``steps.starts``; None: the trajectories' ``outcome``.
        granularity: "row", or "whole" to put the sum of q on the last row.
        batch_norm: scale q by the largest return in the batch.
        process_weight, outcome_weight: of the two sources.
        gamma, outcome_gamma: discounts of the two returns, in [0, 1].
        whiten: bring the batch to mean 0 and variance 1; False gives the returns.

    Returns:
        float64[n].

    Raises:
        ValueError: columns missing, not finite or of another length; a group of one; a trajectory without rows.
    """
    number("gamma", gamma, 0.0, 1.0)
    number("outcome_gamma", outcome_gamma, 0.0, 1.0)
    q = log_ratio(steps) if rewards is None else finite("rewards", rewards, (len(steps),))
    s = trajectory_scores(steps, None, score)
    bare = np.setdiff1d(steps.trajectories.id, steps.trajectory)
    if bare.size:
        raise ValueError(f"trajectory {bare[0]} has no rows, so no mean reward; drop it with steps.only(...)")
    if not len(steps):
        return np.zeros(0)
    q = batch_normalised(steps, q, granularity=granularity, scale=batch_norm)
    groups = partition(steps.trajectory_group)
    n = groups.size[groups.code].astype(np.float64)
    alone = np.flatnonzero(n < 2)
    if alone.size:
        raise ValueError(
            f"PRIME leaves one out, group {steps.trajectory_group[alone[0]]} (row {steps.starts[alone[0]]}) has only "
            "one rollout; drop the group"
        )
    means = np.add.reduceat(q, steps.starts) / steps.lengths
    process = q * (n / (n - 1))[steps.segment] - (groups.totals(means)[groups.code] / (n - 1))[steps.segment]
    total = process_weight * suffix_sums(steps, process, gamma)
    final = np.zeros(len(steps))
    final[steps.ends] = s * n / (n - 1) - groups.totals(s)[groups.code] / (n - 1)
    total += outcome_weight * suffix_sums(steps, final, outcome_gamma)
    return whitened(total, np.ones(len(steps))) if whiten else total


def assign_tokens(
    steps: StepTable,
    tokens: TokenTable,
    *,
    logprob_model: npt.ArrayLike,
    logprob_reference: npt.ArrayLike,
    granularity: Granularity = "row",
    batch_norm: bool = True,
    process_weight: float = 1.0,
    outcome_weight: float = 1.0,
    gamma: float = 1.0,
    outcome_gamma: float = 1.0,
    whiten: bool = True,
) -> Float:
    """float64[n_tokens]: the same with a row per produced token; 0 on tokens the policy did not produce.

    Args:
        steps: says groups and outcomes.
        tokens: n_tokens tokens.
        logprob_model, logprob_reference: float[n_tokens]; read where ``tokens.mask`` is set.
        granularity, batch_norm, process_weight, outcome_weight, gamma, outcome_gamma, whiten: as in `assign`.
    """
    q = produced(tokens, logprob_model, "logprob_model") - produced(tokens, logprob_reference, "logprob_reference")
    result = np.zeros(len(tokens))
    result[tokens.mask] = assign(
        token_table(steps, tokens),
        q,
        granularity=granularity,
        batch_norm=batch_norm,
        process_weight=process_weight,
        outcome_weight=outcome_weight,
        gamma=gamma,
        outcome_gamma=outcome_gamma,
        whiten=whiten,
    )
    return result


def log_ratio(steps: StepTable) -> Float:
    """float64[n]: q of every step, from the extra columns ``logprob_model`` and ``logprob_reference`` (token sums)."""
    columns = [
        finite(name, extra(steps, name, "an implicit process reward"), (len(steps),))
        for name in ("logprob_model", "logprob_reference")
    ]
    return columns[0] - columns[1]


def batch_normalised(
    steps: StepTable, q: Float, *, granularity: Granularity = "row", scale: bool = True, eps: float = 1e-6
) -> Float:
    """float64[n]: q, or its sum on the last row, over the largest |reverse cumulative sum| in the batch plus eps."""
    one_of("granularity", granularity, ("row", "whole"))
    if not len(q):
        return q
    if granularity == "whole":
        whole = np.zeros(len(q))
        whole[steps.ends] = np.add.reduceat(q, steps.starts)
        q = whole
    return q / (np.abs(suffix_sums(steps, q, 1.0)).max() + eps) if scale else q
