"""Vectorised statistics over groups of rows, and discounted sums inside trajectories.

Two rules hold for every method that uses them. Statistics are float64, and a group whose relative spread (standard
deviation over size of the mean) is at most `FLAT` counts as equal: its deviations are exactly 0, where float32 code
divides rounding error by epsilon. Nothing loops over rows or groups.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, Int
from agentgym.steps import StepTable

__all__ = [
    "FLAT",
    "Deviations",
    "Partition",
    "dense",
    "deviations",
    "joint",
    "joint_runs",
    "partition",
    "standardised",
    "suffix_sums",
    "whitened",
]

FLAT = 1e-12
"""Relative spread at or below which the members of a group count as equal."""

_SPREAD = np.int64(-7046029254386353131)  # odd: multiplication by it is a bijection on 64 bits


@dataclass(frozen=True)
class Partition:
    """Rows divided into classes: ``code`` int64[n] in [0, ``count``)."""

    code: Int
    count: int

    @cached_property
    def size(self) -> Int:
        """int64[count]: rows in every class."""
        return np.bincount(self.code, minlength=self.count)

    def totals(self, values: Float) -> Float:
        """float64[count]: the sum of ``values`` over every class."""
        return np.bincount(self.code, weights=values, minlength=self.count).astype(np.float64, copy=False)


def _number_runs(order: Int | None, new: npt.NDArray[np.bool_]) -> Partition:
    runs = np.zeros(len(new) + 1, dtype=np.int64)
    np.cumsum(new, out=runs[1:])
    if order is None:
        return Partition(runs, int(runs[-1]) + 1)
    code = np.empty_like(runs)
    code[order] = runs
    return Partition(code, int(runs[-1]) + 1)


def partition(column: npt.NDArray[Any]) -> Partition:
    """Rows with equal values share a class. Sorted columns cost one pass, others one sort."""
    if not len(column):
        return Partition(np.zeros(0, dtype=np.int64), 0)
    if np.all(column[1:] >= column[:-1]):
        return _number_runs(None, column[1:] != column[:-1])
    order = np.argsort(column)
    ordered = column[order]
    return _number_runs(order, ordered[1:] != ordered[:-1])


def joint(first: Partition, second: Int) -> Partition:
    """Rows that are equal in both share a class; classes are numbered in the order of ``first``.

    One stable sort of a 64-bit key, ``first`` above a hash of ``second``: on rows whose ``first`` is sorted already it
    takes linear time, and neighbouring rows stay neighbours in memory. Runs of equal keys are checked for equality.
    """
    if not len(second):
        return Partition(first.code, 0)
    bits = 63 - first.count.bit_length()
    hashed = (second * _SPREAD).view(np.uint64) >> np.uint64(64 - bits)
    key = (first.code << bits) | hashed.view(np.int64)
    order = np.argsort(key, kind="stable")
    ordered, inner = key[order], second[order]
    new = ordered[1:] != ordered[:-1]
    if np.any(~new & (inner[1:] != inner[:-1])):  # a collision of the hash inside one class of `first`
        order = np.lexsort((second, first.code))
        outer, inner = first.code[order], second[order]
        new = (outer[1:] != outer[:-1]) | (inner[1:] != inner[:-1])
    return _number_runs(order, new)


def joint_runs(first: Partition, second: Int) -> Partition:
    """As `joint`, for columns whose neighbours are often equal: a run of equal pairs is sorted once."""
    if not len(second):
        return Partition(first.code, 0)
    new = np.ones(len(second), dtype=np.bool_)
    new[1:] = (first.code[1:] != first.code[:-1]) | (second[1:] != second[:-1])
    starts = np.flatnonzero(new)
    runs = joint(Partition(first.code[starts], first.count), second[starts])
    return Partition(np.repeat(runs.code, np.diff(np.append(starts, len(second)))), runs.count)


def dense(first: Partition, second: Int, count: int) -> Partition:
    """As `joint`, for a second column in [0, ``count``): without sorting where the pairs are few beside the rows."""
    pairs = first.count * count
    if pairs > 4 * len(second):
        return joint(first, second)
    key = first.code * count + second
    there = np.bincount(key, minlength=pairs) > 0
    number = np.cumsum(there) - 1
    return Partition(number[key], int(there.sum()))


@dataclass(frozen=True)
class Deviations:
    """``row`` float64[n]: value minus the mean of its class; per class the ``mean``, ``sd`` and total ``weight``."""

    row: Float
    mean: Float
    sd: Float
    weight: Float


def deviations(values: Float, classes: Partition, *, weights: Float | Int | None = None, ddof: int = 1) -> Deviations:
    """Deviations from the (weighted) mean of every class, exactly 0 in classes of equal values.

    Args:
        values: float64[n].
        classes: of the n rows.
        weights: [n] repetitions of every row in the statistics; 0: the row is compared but not counted.
        ddof: 1 for the sample standard deviation, 0 for the population's.
    """
    code = classes.code
    shift = np.zeros(classes.count)
    shift[code] = values  # any member: equal members then differ from it by exactly 0
    row = values - shift[code]
    if weights is None:
        weight = classes.size.astype(np.float64)
        mean = classes.totals(row) / weight
        row -= mean[code]
        square = classes.totals(row * row)
    else:
        weight = classes.totals(weights.astype(np.float64, copy=False))
        mean = classes.totals(row * weights) / np.maximum(weight, 1.0)
        row -= mean[code]
        square = classes.totals(row * row * weights)
    sd = np.sqrt(square / np.maximum(weight - ddof, 1.0))
    mean += shift
    flat = sd <= FLAT * np.abs(mean)
    near = flat[code]
    near &= np.abs(row) <= 10 * FLAT * np.abs(mean)[code]
    row[near] = 0.0
    sd[flat] = 0.0
    return Deviations(row, mean, sd, weight)


def standardised(
    values: Float,
    classes: Partition,
    *,
    divide: bool,
    eps: float,
    weights: Float | Int | None = None,
    ddof: int = 1,
    min_std: float = 0.0,
    raw_singles: bool = False,
) -> Float:
    """float64[n]: (value - mean) of its class, divided by (sd + eps) where ``divide``.

    Args:
        min_std: floor of the standard deviation.
        raw_singles: a class of one entry keeps its value (mean 0, sd 1) instead of getting 0.
    """
    d = deviations(values, classes, weights=weights, ddof=ddof)
    result = d.row
    if divide:
        result = result / (np.maximum(d.sd, min_std) + eps)[classes.code]
    if raw_singles:
        single = (d.weight == 1)[classes.code]
        result[single] = values[single] / (1.0 + eps if divide else 1.0)
    return result


def whitened(values: Float, weights: Float | Int, *, eps: float = 1e-8) -> Float:
    """float64[n]: (value - mean) / sqrt(variance + eps) over all rows, row i counted ``weights[i]`` times.

    Raises:
        ValueError: fewer than two entries carry weight.
    """
    entries = weights.sum()
    if entries < 2:
        raise ValueError(f"whitening needs at least two entries in the batch, got {entries:g}; collect more rollouts")
    whole = Partition(np.zeros(len(values), dtype=np.int64), 1)
    d = deviations(values, whole, weights=weights)
    return d.row / math.sqrt(d.sd[0] ** 2 + eps)


def suffix_sums(steps: StepTable, values: Float, factor: float) -> Float:
    """float64[n]: sum over k >= 0 of factor^k * values[t + k] inside the row's trajectory.

    Doubles the window until it spans the longest trajectory, so equal futures give bitwise equal sums.
    """
    total = values.astype(np.float64, copy=True)
    if not len(total) or factor == 0.0:
        return total
    left = steps.ends[steps.segment] - np.arange(len(total))
    window, weight, longest = 1, factor, int(steps.lengths.max())
    while window < longest:
        total[:-window] += weight * np.where(left[:-window] >= window, total[window:], 0.0)
        window, weight = 2 * window, weight * weight
    return total
