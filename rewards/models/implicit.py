"""Losses and accuracies of implicit process rewards, on log-ratio columns.

An implicit reward model phi is a language model; its reward of a token is q = log pi_phi - log pi_reference. Everything
below takes Q, the sum (or mean) of q over a rollout, so that a trainer in any framework can be held against it.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, Int, finite, number, one_of
from agentgym.rewards.credit.groups import partition

__all__ = ["absolute_accuracy", "cross_entropy", "detached_preference", "pair_accuracy", "preference"]


def cross_entropy(total: npt.ArrayLike, outcome: npt.ArrayLike, *, beta: float = 0.05) -> float:
    """PRIME's loss (arXiv 2502.01456): mean binary cross-entropy of sigmoid(beta Q) against the outcome.

    Args:
        total: float[k], Q, the sum of q over a rollout's tokens.
        outcome: float[k] in [0, 1].
        beta: temperature.
    """
    q, y = _columns(total, outcome)
    return float(np.mean(y * _softplus(-beta * q) + (1.0 - y) * _softplus(beta * q)))


def preference(group: Int, total: npt.ArrayLike, outcome: npt.ArrayLike, *, beta: float = 0.05) -> float:
    """iStar's trajectory loss (arXiv 2509.19199): mean of -log sigmoid(beta (Q+ - Q-)) over pairs.

    Pairs are all successes against all failures of a group; 0 where there is none. The paper sums q over a trajectory,
    the released code takes the mean over its steps of the step sums: pass the one you mean as ``total``.

    Args:
        group: int64[k].
        total: float[k].
        outcome: float[k]; above 0 is a success.
        beta: temperature.
    """
    q, y = _columns(total, outcome)
    first, second = _pairs(group, y > 0)
    return float(np.mean(_softplus(-beta * (q[first] - q[second])))) if len(first) else 0.0


def detached_preference(
    group: Int,
    total: npt.ArrayLike,
    outcome: npt.ArrayLike,
    *,
    beta: float = 0.05,
    best_of_n: Literal["none", "bon_rm", "bon_acc"] = "none",
    reference_total: npt.ArrayLike | None = None,
) -> float:
    """PRIME's preference loss against a detached mean: -log sigmoid(+-beta (Q_i - mean Q of the other kind)).

    The other kind are the group's rollouts of lower outcome for a success, of higher for a failure; where there are
    none their mean counts as 0. "none" is the mean over rollouts; "bon_rm" and "bon_acc" the sum weighted by
    n p^(n - 1), p the share of the group with Q (or outcome) at most the rollout's own.

    Args:
        group: int64[k]; total: float[k]; outcome: float[k].
        beta: temperature.
        best_of_n: weighting.
        reference_total: float[k], Q of an earlier model for the detached side; None: ``total``.
    """
    one_of("best_of_n", best_of_n, ("none", "bon_rm", "bon_acc"))
    q, y = _columns(total, outcome)
    other = q if reference_total is None else finite("reference_total", reference_total, q.shape)
    groups = partition(group)
    same = groups.code[:, None] == groups.code[None, :]
    won = y > 0
    opposed = same & np.where(won[:, None], y[None, :] < y[:, None], y[None, :] > y[:, None])
    counts = opposed.sum(axis=1)
    mean = np.where(counts > 0, (opposed * other).sum(axis=1) / np.maximum(counts, 1), 0.0)
    loss = _softplus(-beta * (q - mean) * np.where(won, 1.0, -1.0))
    if best_of_n == "none":
        return float(loss.mean())
    below = other[None, :] <= q[:, None] if best_of_n == "bon_rm" else y[None, :] <= y[:, None]
    n = groups.size[groups.code]
    own = np.eye(len(q), dtype=bool)  # a rollout is at most itself, however the two models' sums were rounded
    share = ((below | own) & same).sum(axis=1) / n
    return float((loss * n * share ** (n - 1)).sum())


def pair_accuracy(group: Int, total: npt.ArrayLike, outcome: npt.ArrayLike) -> float:
    """Share of pairs inside a group that Q orders like the outcome, each weighted by the difference of outcomes.

    Mean over groups; a group of equal outcomes counts as 0.5. Of a pair with equal Q the earlier row is taken as the
    lower.
    """
    q, y = _columns(total, outcome)
    groups = partition(group)
    i, j = np.nonzero(np.triu(groups.code[:, None] == groups.code[None, :], k=1))
    gap = y[i] - y[j]
    right = ((q[i] - q[j] > 0) == (gap > 0)) * np.abs(gap)
    top = np.bincount(groups.code[i], weights=right, minlength=groups.count)
    bottom = np.bincount(groups.code[i], weights=np.abs(gap), minlength=groups.count)
    return float(np.mean(np.where(bottom > 0, top / np.where(bottom > 0, bottom, 1.0), 0.5)))


def absolute_accuracy(total: npt.ArrayLike, outcome: npt.ArrayLike) -> float:
    """Share of rollouts whose Q is positive for a success (outcome above 0.5) and negative for a failure."""
    q, y = _columns(total, outcome)
    return float(np.mean(np.sign(q) == np.sign(2.0 * y - 1.0)))


def _columns(total: npt.ArrayLike, outcome: npt.ArrayLike) -> tuple[Float, Float]:
    q = finite("total", total, (len(np.asarray(total)),))
    number("rollouts", len(q), 1)
    return q, finite("outcome", outcome, q.shape)


def _pairs(group: Int, won: npt.NDArray[np.bool_]) -> tuple[Int, Int]:
    same = group[:, None] == group[None, :]
    first, second = np.nonzero(same & won[:, None] & ~won[None, :])
    return first, second


def _softplus(x: Float) -> Float:
    """log(1 + exp(x)) without overflow."""
    return np.logaddexp(0.0, x)
