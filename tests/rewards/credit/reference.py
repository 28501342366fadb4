"""Slow plain-Python versions of the credit methods: one row at a time, written from the formulas."""

from __future__ import annotations

import difflib
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


def similar(steps: StepTable, texts: list[str], threshold: float) -> list[int]:
    """Greedy first fit against every cluster's first member, in the order of the rows."""
    clusters: list[tuple[int, str]] = []
    result = []
    for group, text in zip(steps.group.tolist(), texts, strict=True):
        for number, (g, first) in enumerate(clusters):
            if g == group and difflib.SequenceMatcher(None, text, first).ratio() >= threshold:
                result.append(number)
                break
        else:
            result.append(len(clusters))
            clusters.append((group, text))
    return result


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


def hgpo(steps: StepTable, history: int, alpha: float, weights: str, normalise: str, gamma: float) -> list[float]:
    """Without the base group."""
    returns = return_to_go(steps, gamma)
    pasts: dict[int, list[tuple[int, ...]]] = {row: [] for row in range(len(steps))}
    for rows in rows_of_trajectories(steps):
        for i, row in enumerate(rows):
            for k in range(1, min(history + 1, i + 1) + 1):
                pasts[row].append(tuple(int(steps.anchor[r]) for r in rows[i - k + 1 : i + 1]))
    result = []
    for row in range(len(steps)):
        total, weight = 0.0, 0.0
        for k, past in enumerate(pasts[row], start=1):
            same = [
                returns[r]
                for r in range(len(steps))
                if steps.group[r] == steps.group[row] and len(pasts[r]) >= k and pasts[r][k - 1] == past
            ]
            a = deviation(returns[row], same) / (sd(same, 0) + 1e-6 if normalise == "mean_std" else 1.0)
            w = (k if weights == "paper" else k + 1) ** alpha
            total += w * a
            weight += w if a != 0.0 else 0.0
        result.append(total / (weight + 1e-6))
    return result


def gtd(steps: StepTable, prior: str, lam: float, kappa: float, count: float, bins: int, horizon: int) -> list[float]:
    """V by plain iteration to rounding."""
    trajectories = rows_of_trajectories(steps)
    score = [sum(float(steps.reward[r]) for r in rows) for rows in trajectories]

    def bin_of(phi: float) -> int:
        return min(math.floor(bins * phi + 1e-9), bins)

    def prior_of(group: int, phi: float) -> float:
        if prior == "mean":
            return mean([s for s, rows in zip(score, trajectories, strict=True) if steps.group[rows[0]] == group])
        k = bin_of(phi)
        there = [
            s
            for s, rows in zip(score, trajectories, strict=True)
            if any(bin_of(float(steps.progress_before[r])) == k for r in rows)
        ]
        return (sum(there) + count * (k / bins if prior == "progress" else mean(score))) / (len(there) + count)

    p: dict[tuple[int, int], float] = {}
    for row, group in enumerate(steps.group.tolist()):
        p[group, int(steps.next_anchor[row])] = prior_of(group, float(steps.progress[row]))
    for row, group in enumerate(steps.group.tolist()):
        p[group, int(steps.anchor[row])] = prior_of(group, float(steps.progress_before[row]))
    value = dict(p)
    for _ in range(20_000):
        top = {x: kappa * v for x, v in p.items()}
        bottom = dict.fromkeys(p, kappa)
        for rows in trajectories:
            for row in rows:
                final = row == rows[-1]
                if final and not steps.terminated[row]:
                    continue
                x = int(steps.group[row]), int(steps.anchor[row])
                y = int(steps.group[row]), int(steps.next_anchor[row])
                top[x] += float(steps.reward[row]) + (0.0 if final else (1 - 1 / horizon) * value[y])
                bottom[x] += 1
        following = {x: top[x] / bottom[x] for x in p}
        change = max(abs(following[x] - value[x]) for x in p)
        value = following
        if change < 1e-14:
            break
    result = [0.0] * len(steps)
    for rows in trajectories:
        carried = 0.0
        for row in reversed(rows):
            group = int(steps.group[row])
            after = 0.0 if steps.terminated[row] else value[group, int(steps.next_anchor[row])]
            delta = float(steps.reward[row]) + after - value[group, int(steps.anchor[row])]
            carried = delta + lam * carried
            result[row] = carried
    return result
