"""How near an assigner's numbers are to the truth: of gradients, and of single steps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.rewards.audit.sample import Sample

__all__ = ["Curve", "Interval", "bootstrap", "cosine", "gradients", "noise_share", "ranks", "spearman", "step_measures"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

DECISIVE = 0.25
"""A step is decisive where its true advantage is at least this share of their root mean square."""


def gradients(sample: Sample, advantage: Float) -> Float:
    """float64[groups, S * A]: every group's policy-gradient estimate, sum over its rows of A_t grad log pi(a_t|s_t).

    For softmax logits grad log pi(a|s) is (one-hot of a) - pi(s) in row s.
    """
    policy = sample.solution.policy
    states, actions = policy.shape
    groups, code = np.unique(sample.steps.group, return_inverse=True)
    cell = (code * states + sample.state) * actions + sample.action
    weight = np.bincount(cell, weights=advantage, minlength=len(groups) * states * actions)
    weight = weight.reshape(len(groups), states, actions)
    found: Float = (weight - policy * weight.sum(axis=2, keepdims=True)).reshape(len(groups), -1)
    return found


def cosine(estimates: Float, truth: Float) -> Float:
    """float64[m]: cosine of each row with the truth; 0 for a row of zeros."""
    size = np.linalg.norm(estimates, axis=1) * np.linalg.norm(truth)
    # Rounding leaves crumbs of an estimate that is zero; they point nowhere.
    tiny = size <= 1e-12 * max(1.0, float(np.linalg.norm(truth)))
    return np.where(tiny, 0.0, estimates @ truth.ravel() / np.where(tiny, 1.0, size))


def noise_share(estimates: Float) -> float:
    """Share of the mean squared length of an estimate that is not its mean's: 1 - |E g|^2 / E |g|^2, in [0, 1].

    |E g|^2 is taken from products of different groups, so that it is not biased by the noise. 1 for zeros.
    """
    m = len(estimates)
    squares = float((estimates**2).sum())
    if m < 2 or squares <= 0.0:
        return 1.0
    total = estimates.sum(axis=0)
    between = (float(total @ total) - squares) / (m * (m - 1))
    return float(np.clip(1.0 - between / (squares / m), 0.0, 1.0))


def ranks(values: Float) -> Float:
    """float64[n]: ranks from 0, equal values share the mean of theirs."""
    _, code, counts = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(counts) - counts
    found: Float = (first + (counts - 1) / 2.0)[code]
    return found


def spearman(a: Float, b: Float) -> float:
    """Rank correlation; 0 where one side is constant or fewer than two values are given."""
    if len(a) < 2:
        return 0.0
    x, y = ranks(a), ranks(b)
    x, y = x - x.mean(), y - y.mean()
    size = float(np.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / size if size > 0.0 else 0.0


def step_measures(truth: Float, estimate: Float) -> dict[str, float]:
    """Of single steps, where the truth says the step mattered (`DECISIVE`).

    Returns:
        ``spearman``; ``sign``: share whose sign is right, zeros count half; ``slope`` and ``intercept`` of the least
        squares line estimate = slope * truth + intercept over all steps (1 and 0: calibrated in units of success).
    """
    rms = float(np.sqrt(np.mean(truth**2))) if len(truth) else 0.0
    decisive = np.abs(truth) >= DECISIVE * rms
    agree = np.sign(truth[decisive]) * np.sign(np.where(np.abs(estimate[decisive]) < 1e-12, 0.0, estimate[decisive]))
    centred = truth - truth.mean()
    spread = float(centred @ centred)
    slope = float(centred @ estimate) / spread if spread > 0.0 else 0.0
    return {
        "spearman": spearman(truth[decisive], estimate[decisive]),
        "sign": float((1.0 + agree).mean() / 2.0) if len(agree) else 0.5,
        "slope": slope,
        "intercept": float(estimate.mean() - slope * truth.mean()),
    }


@dataclass(frozen=True, eq=False)
class Curve:
    """Mean cosine of RLOO against the number of groups it averages over; the scale of the rollout multiplier.

    Attributes:
        groups: float64[m], 1, 2, 4, ...
        cosine: float64[m], made to rise.
    """

    groups: Float
    cosine: Float

    @classmethod
    def of(cls, estimates: Float, truth: Float) -> Curve:
        """From one gradient a group; every point averages over disjoint batches of groups."""
        groups, found = [], []
        n = 1
        while n <= len(estimates) // 2:
            whole = len(estimates) // n * n
            batches = estimates[:whole].reshape(-1, n, estimates.shape[1]).sum(axis=1)
            groups.append(float(n))
            found.append(float(cosine(batches, truth).mean()))
            n *= 2
        return cls(np.array(groups), np.maximum.accumulate(np.array(found)))

    def multiplier(self, value: float) -> float:
        """How many times the rollouts of one group RLOO needs for this cosine; inf beyond the curve's end, 0 for <= 0.

        Between points it is interpolated in log(groups) against log(cos^2 / (1 - cos^2)), which is a straight line for
        an unbiased estimate with independent noise; below one group it is extended by that line.
        """
        if value <= 0.0:
            return 0.0
        if value > self.cosine[-1]:
            return float("inf")
        x, y = np.log(self.groups), _odds(self.cosine)
        target = float(_odds(np.array([value]))[0])
        if target <= y[0]:
            return float(np.exp(target - y[0]))
        return float(np.exp(np.interp(target, y, x)))


def _odds(value: Float) -> Float:
    square = np.clip(value, 1e-6, 1.0 - 1e-9) ** 2
    found: Float = np.log(square / (1.0 - square))
    return found


@dataclass(frozen=True)
class Interval:
    """A mean over settings and its 95 % interval."""

    value: float
    low: float
    high: float


def bootstrap(values: Float, clusters: Int, *, resamples: int = 2000, seed: int = 0) -> Interval:
    """Percentile interval of a mean, resampling whole clusters: values of one cluster stand or fall together.

    Args:
        values: float64[n].
        clusters: int64[n], which of them belong together.
    """
    labels, code = np.unique(clusters, return_inverse=True)
    sums, counts = np.bincount(code, weights=values), np.bincount(code).astype(np.float64)
    picks = np.random.default_rng(seed).integers(len(labels), size=(resamples, len(labels)))
    means = sums[picks].sum(axis=1) / counts[picks].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return Interval(float(values.mean()), float(low), float(high))
