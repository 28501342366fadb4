"""VeRPO: unit tests as a dense reward, rare passes worth more (after arXiv 2601.03525; the weight function is ours).

    rho_j   = pass rate of test j at the end, over the group
    w_j     = (1 - rho_j)^alpha + floor, scaled to sum 1 over the group's tests
    dense   = sum_j w_j pass_j;      a turn earns the increase of dense

A rollout that ends with a test failing that passed at its start keeps none of it. The terms (the outcome: all tests
pass) are added.
"""

from __future__ import annotations

import numpy as np

from agentgym.rewards.combine.columns import Columns, summed
from agentgym.rewards.credit.checks import Float, extra, number
from agentgym.rewards.credit.groups import partition
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(
    steps: StepTable,
    columns: Columns,
    *,
    tests: str = "tests",
    tests_before: str = "tests_before",
    alpha: float = 1.0,
    floor: float = 1e-3,
    weight: float = 1.0,
) -> Float:
    """float64[n]: the terms plus the dense reward of tests.

    Args:
        steps: n rows; reads ``group`` and two extra columns.
        columns: float64[n] by name, added up.
        tests: extra column int[n, m] after the step: 1 passes, 0 fails, -1 the task has no such test.
        tests_before: the same before the step.
        alpha: how much rarer passes gain, 0 or more.
        floor: weight of a test that everyone passes, above 0.
        weight: of the dense part.

    Raises:
        ValueError: a column is missing, of another shape or with other values; an option out of range.
    """
    number("alpha", alpha, 0.0)
    number("floor", floor, 0.0, open_low=True)
    total = summed(steps, columns)
    after, before = _results(steps, tests), _results(steps, tests_before)
    if after.shape != before.shape:
        raise ValueError(
            f"extras {tests!r} and {tests_before!r} must have one shape, got {after.shape}, {before.shape}"
        )
    if not len(steps):
        return total
    groups = partition(steps.trajectory_group)
    final, start = after[steps.ends], before[steps.starts]
    exists = final >= 0
    present = np.stack([groups.totals(e.astype(np.float64)) for e in exists.T], axis=1)
    passed = np.stack([groups.totals((f == 1).astype(np.float64)) for f in final.T], axis=1)
    rare = (1.0 - passed / np.maximum(present, 1.0)) ** alpha + floor
    w = np.where(present > 0, rare, 0.0)
    w /= np.maximum(w.sum(axis=1, keepdims=True), floor)
    per_row = w[groups.code[steps.segment]]
    gained = (per_row * ((after == 1).astype(np.float64) - (before == 1))).sum(axis=1)
    broke = ((start == 1) & (final == 0)).any(axis=1)
    return total + weight * np.where(broke[steps.segment], 0.0, gained)


def _results(steps: StepTable, name: str) -> np.ndarray:
    given = extra(steps, name, "VeRPO")
    if given.ndim != 2 or given.dtype.kind not in "iub" or not np.isin(given, (-1, 0, 1)).all():
        raise ValueError(f"extra {name!r} must be int[rows, tests] of 1 (passes), 0 (fails) or -1 (no such test)")
    return given.astype(np.int64)
