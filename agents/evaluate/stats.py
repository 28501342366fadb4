"""Statistics of evaluations: intervals, robust means, paired differences. NumPy alone; the caller brings the generator.

Strata: the episodes of one environment (or task) form a stratum. A suite's environments are chosen, not drawn, so the
bootstrap resamples episodes *inside* each of them and never the environments (Agarwal et al., "Deep Reinforcement
Learning at the Edge of the Statistical Precipice", NeurIPS 2021, section 4.1; there the
strata are tasks and the draws are runs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError

__all__ = [
    "Interval",
    "bootstrap",
    "difference_of_intervals",
    "holm",
    "iqm",
    "mean",
    "paired_bootstrap",
    "sign_flip_test",
    "wilson",
]

Float = npt.NDArray[np.float64]
Statistic = Callable[[Float], Float]
"""float64[..., n] -> float64[...], along the last axis."""

_CELLS = 4_000_000  # numbers in one block of resamples: 32 MB


@dataclass(frozen=True)
class Interval:
    """A figure and where it may lie.

    Attributes:
        value: the estimate, NaN when nothing was measured.
        low, high: the confidence interval; NaN when n is 0, both equal to ``value`` when n is 1.
        n: number of episodes (or pairs) behind it.
        method: "bootstrap", "wilson" or "difference".
    """

    value: float
    low: float
    high: float
    n: int
    method: str = "bootstrap"


def mean(values: Float) -> Float:
    """The mean along the last axis."""
    return np.asarray(values.mean(axis=-1))


def iqm(values: Float) -> Float:
    """Interquartile mean along the last axis: the mean without the lowest and the highest floor(n / 4) values.

    Less swayed by single episodes than the mean, needs fewer of them than the median (Agarwal et al. 2021,
    section 4.3).
    """
    n = values.shape[-1]
    cut = n // 4
    return np.asarray(np.sort(values, axis=-1)[..., cut : n - cut].mean(axis=-1))


def wilson(successes: npt.ArrayLike, n: npt.ArrayLike, level: float = 0.95) -> tuple[Float, Float]:
    """Wilson score interval of a share (Wilson 1927, JASA 22).

    Args:
        successes, n: counts, of one shape or broadcast together; 0 <= successes <= n.
        level: of confidence, in (0, 1).

    Returns:
        low, high: float64 in [0, 1]; (0, 1) where n is 0.
    """
    k, m = np.asarray(successes, dtype=np.float64), np.asarray(n, dtype=np.float64)
    if np.any((k < 0) | (k > m)):
        raise UsageError(f"wilson needs 0 <= successes <= n, got successes {successes!r}, n {n!r}")
    z = _z(level)
    safe = np.maximum(m, 1)
    share = k / safe
    center = (share + z**2 / (2 * safe)) / (1 + z**2 / safe)
    half = z / (1 + z**2 / safe) * np.sqrt(share * (1 - share) / safe + z**2 / (4 * safe**2))
    # At k = 0 and k = n the bound is 0 or 1 exactly; rounding must not push it past the estimate.
    low = np.where((m == 0) | (k == 0), 0.0, np.maximum(center - half, 0.0))
    high = np.where((m == 0) | (k == m), 1.0, np.minimum(center + half, 1.0))
    return low[()], high[()]  # scalars for scalars


def bootstrap(
    values: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    strata: npt.ArrayLike | None = None,
    statistic: Statistic = mean,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Percentile interval of a statistic from resampling episodes inside their strata.

    Args:
        values: float[n], one an episode, none NaN.
        rng: the caller's.
        strata: [n] labels; None for one stratum.
        statistic: `mean`, `iqm` or another of that form; sees all strata together.
        level: of confidence.
        resamples: more make the interval's own noise smaller.
    """
    x = np.asarray(values, dtype=np.float64)
    if x.ndim != 1 or np.isnan(x).any():
        raise UsageError(f"bootstrap needs float[n] without NaN, got shape {x.shape}; leave the missing ones out")
    if not len(x):
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    draws = np.concatenate([statistic(x[rows]) for rows in _resampled_rows(len(x), strata, resamples, rng)])
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    value = float(statistic(x))
    # Rounding in a resample's sum must not put a constant sample outside its own interval.
    return Interval(value, min(float(low), value), max(float(high), value), len(x))


def paired_bootstrap(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    rng: np.random.Generator,
    *,
    strata: npt.ArrayLike | None = None,
    level: float = 0.95,
    resamples: int = 2000,
) -> Interval:
    """Mean of b - a over pairs (the same environment and seed), with its stratified bootstrap interval."""
    x, y = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if x.shape != y.shape:
        raise UsageError(f"pairs need two arrays of one length, got {x.shape} and {y.shape}")
    return bootstrap(y - x, rng, strata=strata, level=level, resamples=resamples)


def sign_flip_test(differences: npt.ArrayLike, rng: np.random.Generator, *, resamples: int = 10_000) -> float:
    """Two-sided p-value of "these paired differences are symmetric about 0" by flipping their signs.

    Exact (all 2^n sign patterns) while those are no more than ``resamples``, otherwise Monte Carlo with the observed
    pattern counted in, which keeps the test valid (Phipson & Smyth 2010). 1.0 for no differences at all.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[d != 0]  # a flip of 0 changes nothing
    if not len(d):
        return 1.0
    observed = abs(d.sum()) * (1 - 1e-12)  # ties count as "at least as far"
    if 2.0 ** len(d) <= resamples:
        patterns = (np.arange(2 ** len(d))[:, None] >> np.arange(len(d)) & 1) * 2 - 1
        return float(np.mean(np.abs(patterns @ d) >= observed))
    hits = 0
    for size in _blocks(resamples, len(d)):
        signs = rng.integers(0, 2, size=(size, len(d)), dtype=np.int8) * 2 - 1
        hits += int(np.count_nonzero(np.abs(signs @ d) >= observed))
    return (hits + 1) / (resamples + 1)


def holm(p_values: npt.ArrayLike) -> Float:
    """Holm's step-down correction: p-values that hold for all hypotheses together (Holm 1979).

    Args:
        p_values: float[k] in [0, 1].

    Returns:
        float64[k] in the same order; never below the raw value, never above 1.
    """
    p = np.asarray(p_values, dtype=np.float64)
    if p.ndim != 1 or np.any(~((p >= 0) & (p <= 1))):
        raise UsageError(f"holm needs p-values in [0, 1] as float[k], got {p_values!r}")
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def difference_of_intervals(a: Interval, b: Interval) -> Interval:
    """b - a of two *independent* figures, from their intervals alone (MOVER: Zou & Donner 2008; for Wilson intervals
    Newcombe 1998, method 10). Pairs deserve `paired_bootstrap`, which is narrower."""
    value = b.value - a.value
    low = value - float(np.hypot(b.value - b.low, a.high - a.value))
    high = value + float(np.hypot(b.high - b.value, a.value - a.low))
    return Interval(value, low, high, min(a.n, b.n), "difference")


def _resampled_rows(
    n: int, strata: npt.ArrayLike | None, resamples: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Blocks int64[size, n] of row numbers, each row of a block one resample that keeps the size of every stratum."""
    if strata is None:
        groups: list[npt.NDArray[Any]] = [np.arange(n)]
    else:
        labels = np.asarray(strata)
        if labels.shape != (n,):
            raise UsageError(f"strata must label each of the {n} values, got shape {labels.shape}")
        _, codes = np.unique(labels, return_inverse=True)
        order = np.argsort(codes, kind="stable")
        groups = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    for size in _blocks(resamples, n):
        yield np.concatenate([g[rng.integers(0, len(g), size=(size, len(g)))] for g in groups], axis=1)


def _blocks(total: int, width: int) -> Iterator[int]:
    """Sizes that sum to ``total``, each small enough for a block of ``width`` columns."""
    step = max(1, _CELLS // max(1, width))
    for start in range(0, total, step):
        yield min(step, total - start)


def _z(level: float) -> float:
    from statistics import NormalDist

    if not 0 < level < 1:
        raise UsageError(f"level must be in (0, 1), got {level}")
    return NormalDist().inv_cdf((1 + level) / 2)
