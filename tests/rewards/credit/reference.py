"""Slow plain-Python versions of the credit methods: one row at a time, written from the formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence

from agentgym.steps import StepTable

FLAT = 1e-12


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def sd(values: Sequence[float], ddof: int = 1) -> float:
    """0 for one value, and for values whose spread is rounding."""
    if len(values) <= ddof:
        return 0.0
    m = mean(values)
    s = math.sqrt(math.fsum((v - m) ** 2 for v in values) / (len(values) - ddof))
    return 0.0 if s <= FLAT * abs(m) else s


def deviation(value: float, values: Sequence[float]) -> float:
    return 0.0 if sd(values, 0) == 0.0 and value in values else value - mean(values)


def rows_of_trajectories(steps: StepTable) -> list[list[int]]:
    result: dict[int, list[int]] = {}
    for row, trajectory in enumerate(steps.trajectory.tolist()):
        result.setdefault(trajectory, []).append(row)
    return list(result.values())


def outcomes(steps: StepTable) -> list[float]:
    """Of every row's trajectory."""
    by_id = dict(zip(steps.trajectories.id.tolist(), steps.trajectories.outcome.tolist(), strict=True))
    return [by_id[t] for t in steps.trajectory.tolist()]


def return_to_go(steps: StepTable, gamma: float) -> list[float]:
    result = [0.0] * len(steps)
    for rows in rows_of_trajectories(steps):
        following = 0.0
        for row in reversed(rows):
            following = float(steps.reward[row]) + gamma * following
            result[row] = following
    return result


def gae(steps: StepTable, values: list[float], last: list[float], gamma: float, lam: float) -> list[float]:
    result = [0.0] * len(steps)
    for rows, end in zip(rows_of_trajectories(steps), last, strict=True):
        carried, following = 0.0, 0.0 if steps.terminated[rows[-1]] else end
        for row in reversed(rows):
            delta = float(steps.reward[row]) + gamma * following - values[row]
            carried = delta + gamma * lam * carried
            result[row], following = carried, values[row]
    return result


def entries(steps: StepTable, over: str) -> dict[int, list[float]]:
    """The scores that make each group's statistics: one per row, or one per trajectory."""
    score = outcomes(steps)
    result: dict[int, list[float]] = {}
    for rows in rows_of_trajectories(steps):
        result.setdefault(int(steps.group[rows[0]]), []).extend([score[rows[0]]] * (len(rows) if over == "rows" else 1))
    return result


def grpo(steps: StepTable, normalise: str, over: str, single: str, eps: float = 1e-6) -> list[float]:
    score, members = outcomes(steps), entries(steps, over)
    result = []
    for row, group in enumerate(steps.group.tolist()):
        values = members[group]
        if len(values) == 1:
            a = (score[row] if single == "raw" else 0.0) / (1 + eps if normalise == "mean_std" else 1)
        else:
            a = deviation(score[row], values) / (sd(values) + eps if normalise == "mean_std" else 1)
        result.append(a)
    return result


def pass_at_k(steps: StepTable) -> list[float]:
    """Over trajectories, not divided."""
    score, members = outcomes(steps), entries(steps, "trajectories")
    best: dict[int, int] = {}
    for row, group in enumerate(steps.group.tolist()):
        if group not in best or score[row] > score[best[group]]:
            best[group] = row
    result = []
    for row, group in enumerate(steps.group.tolist()):
        first, second = sorted(members[group], reverse=True)[:2]
        is_best = steps.trajectory[row] == steps.trajectory[best[group]]
        result.append(first - second if is_best else 0.0)
    return result


def rloo(steps: StepTable, over: str, single: str) -> list[float]:
    score, members = outcomes(steps), entries(steps, over)
    result = []
    for row, group in enumerate(steps.group.tolist()):
        others = list(members[group])
        others.remove(score[row])
        if others:
            result.append(0.0 if sd(members[group]) == 0.0 else score[row] - mean(others))
        else:
            result.append(score[row] if single == "raw" else 0.0)
    return result


def reinforce_pp(steps: StepTable, over: str, single: str, eps: float = 1e-8) -> list[float]:
    x = grpo(steps, "mean", over, single)
    return [deviation(v, x) / math.sqrt(sd(x) ** 2 + eps) for v in x]


def within(values: list[float], keys: Sequence[Hashable], how: Callable[[float, list[float]], float]) -> list[float]:
    """``how(value, values of the rows with its key)`` for every row."""
    return [
        how(v, [w for w, other in zip(values, keys, strict=True) if other == k])
        for v, k in zip(values, keys, strict=True)
    ]


def gigpo(
    steps: StepTable, gamma: float, weight: float, normalise: str, over: str, single: str, eps: float = 1e-6
) -> list[float]:
    episode = grpo(steps, normalise, over, single, eps)
    states = list(zip(steps.group.tolist(), steps.anchor.tolist(), strict=True))
    step = within(
        return_to_go(steps, gamma),
        states,
        lambda v, vs: deviation(v, vs) / (sd(vs) + eps if normalise == "mean_std" else 1.0),
    )
    return [e + weight * s for e, s in zip(episode, step, strict=True)]
