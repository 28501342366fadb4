"""What every credit assigner checks before it counts: rewards, scores, options and extras."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["LARGEST", "Float", "Int", "extra", "finite", "number", "one_of", "step_rewards", "trajectory_scores"]

Float = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]

LARGEST = 1e100
"""Rewards and scores up to this size: their squares, summed over any table, stay finite in float64."""


def finite(name: str, values: npt.ArrayLike, shape: tuple[int, ...]) -> Float:
    """``values`` as float64 of ``shape``, all finite and at most `LARGEST` in size.

    Raises:
        ValueError: naming the column, the row and the remedy.
    """
    given = np.asarray(values)
    if given.dtype.kind not in "biuf":
        raise ValueError(f"{name!r} must hold numbers, got dtype {given.dtype}")
    if given.shape != shape:
        raise ValueError(f"{name!r} must have shape {shape}, got {given.shape}")
    column = given.astype(np.float64, copy=False)
    bad = np.unique(np.nonzero(~(np.abs(column) <= LARGEST))[0])
    if bad.size:
        raise ValueError(
            f"{name!r} must be finite and at most {LARGEST:g} in size, row {bad[0]} is {column[bad[0]]}; "
            "drop the trajectory or repair the reward before credit is assigned"
        )
    return column


def step_rewards(steps: StepTable, rewards: npt.ArrayLike | None) -> Float:
    """float64[n]: the rewards given, or the environment's."""
    return finite("rewards", steps.reward if rewards is None else rewards, (len(steps),))


def trajectory_scores(steps: StepTable, rewards: npt.ArrayLike | None, score: npt.ArrayLike | None) -> Float:
    """float64[k]: one score per trajectory that has steps, in the order of ``steps.starts``.

    ``score`` when given; else the sum of the ``rewards`` given; else the trajectories' ``outcome``.
    """
    k = (len(steps.starts),)
    if score is not None:
        return finite("score", score, k)
    if rewards is not None:
        column = step_rewards(steps, rewards)
        return np.add.reduceat(column, steps.starts) if len(column) else np.zeros(0)
    return finite("outcome", steps.outcome, k)


def one_of(option: str, value: Any, allowed: Collection[Any]) -> None:
    """Refuse an option's value that is not in the list."""
    if value not in allowed:
        raise ValueError(f"option {option!r} must be one of {sorted(allowed, key=str)}, got {value!r}")


def number(
    option: str, value: float, low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False
) -> None:
    """Refuse an option's value outside an interval, and NaN."""
    above = value > low if open_low else value >= low
    below = value < high if open_high else value <= high
    if not (above and below) or math.isinf(value):
        left, right = "(" if open_low else "[", ")" if open_high or math.isinf(high) else "]"
        raise ValueError(f"option {option!r} must lie in {left}{low:g}, {high:g}{right}, got {value!r}")


def extra(steps: StepTable, name: str, why: str) -> npt.NDArray[Any]:
    """The named extra column.

    Raises:
        ValueError: it is missing; says how to add it.
    """
    if name not in steps.extras:
        raise ValueError(
            f"{why} reads the extra column {name!r}, which this table lacks (it has {sorted(steps.extras)}); "
            f"add it with steps.with_extra({name}=...) or steps.join({name!r}, ...)"
        )
    return steps.extras[name]
