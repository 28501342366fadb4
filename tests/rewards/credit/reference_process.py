"""Slow plain-Python versions of the methods that read process scores, labels, trees or durations."""

from __future__ import annotations

import math

from agentgym.steps import StepTable
from tests.rewards.credit.reference import (
    deviation,
    entries,
    grpo,
    mean,
    outcomes,
    rows_of_trajectories,
    sd,
    within,
)


def suffix_sum(steps: StepTable, values: list[float]) -> list[float]:
    result = [0.0] * len(steps)
    for rows in rows_of_trajectories(steps):
        total = 0.0
        for row in reversed(rows):
            total += values[row]
            result[row] = total
    return result


def salt(steps: StepTable, history: int) -> list[float]:
    base = grpo(steps, "mean_std", "trajectories", "raw")
    edges = [None] * len(steps)
    for rows in rows_of_trajectories(steps):
        for i, row in enumerate(rows):
            past = tuple(int(steps.anchor[r]) for r in rows[max(0, i - history) : i + 1])
            edges[row] = (int(steps.group[row]), past, int(steps.action[row]), int(steps.next_anchor[row]))
    return within(base, edges, lambda _, values: mean(values))


def gdpo(steps: StepTable, scores: list[list[float]], weights: list[float], version: str) -> list[float]:
    """Before the batch is normalised."""
    total = [0.0] * len(steps)
    group = {int(steps.trajectory[rows[0]]): int(steps.group[rows[0]]) for rows in rows_of_trajectories(steps)}
    trajectories = [int(steps.trajectory[rows[0]]) for rows in rows_of_trajectories(steps)]
    for j, w in enumerate(weights):
        for i, rows in enumerate(rows_of_trajectories(steps)):
            members = [scores[k][j] for k, t in enumerate(trajectories) if group[t] == group[trajectories[i]]]
            if len(members) == 1:
                z = scores[i][j] / (1 + 1e-6) if version == "verl" else 0.0
            else:
                z = deviation(scores[i][j], members) / (sd(members) + (1e-6 if version == "verl" else 1e-4))
            for row in rows:
                total[row] += w * z
    return total


def pure(steps: StepTable, p: list[float], temperature: float, baseline: str, verifiable: float) -> list[float]:
    shaped = [0.0] * len(steps)
    trajectories = rows_of_trajectories(steps)
    for rows in trajectories:
        low = min(p[r] for r in rows)
        w = {r: math.exp((low - p[r]) / temperature) for r in rows}
        for r in rows:
            shaped[r] = w[r] / sum(w.values()) * p[r]
    result = list(shaped)
    tokens = steps.extras["n_tokens"]
    score = outcomes(steps)
    for rows in trajectories:
        others = [o for o in trajectories if o != rows and steps.group[o[0]] == steps.group[rows[0]]]
        for r in rows:
            if baseline == "token":
                per_token = sum(sum(shaped[x] for x in o) for o in others) / sum(
                    sum(tokens[x] for x in o) for o in others
                )
                result[r] -= per_token * (tokens[r] - 1)
            elif baseline == "step":
                result[r] -= mean([mean([shaped[x] for x in o]) for o in others])
        if verifiable:
            result[rows[-1]] += verifiable * (score[rows[0]] - mean([score[o[0]] for o in others]))
    return suffix_sum(steps, result)


def prime(steps: StepTable, q: list[float]) -> list[float]:
    """Returns, not whitened."""
    trajectories, score = rows_of_trajectories(steps), outcomes(steps)
    largest = max(abs(x) for x in suffix_sum(steps, q))
    q = [x / (largest + 1e-6) for x in q]
    process, final = [0.0] * len(steps), [0.0] * len(steps)
    for rows in trajectories:
        group = [o for o in trajectories if steps.group[o[0]] == steps.group[rows[0]]]
        n = len(group)
        for r in rows:
            process[r] = q[r] * n / (n - 1) - sum(mean([q[x] for x in o]) for o in group) / (n - 1)
        final[rows[-1]] = score[rows[0]] * n / (n - 1) - sum(score[o[0]] for o in group) / (n - 1)
    return [a + b for a, b in zip(suffix_sum(steps, process), suffix_sum(steps, final), strict=True)]


def istar(steps: StepTable, r: list[float], variant: str, weight: float) -> list[float]:
    score, trajectories = outcomes(steps), rows_of_trajectories(steps)
    result = []
    for row, group in enumerate(steps.group.tolist()):
        members = entries(steps, "trajectories")[group]
        values = [r[x] for x in range(len(steps)) if steps.group[x] == group]
        if len(members) == 1:
            scale = 1 / (1 + 1e-6) if variant == "grpo" else 1.0
            result.append(scale * (score[row] + weight * r[row]))
            continue

        def part(x: float, xs: list[float]) -> float:
            d, n = deviation(x, xs), len(xs)
            if variant == "grpo":
                return d / (sd(xs) + 1e-6)
            return d * n / (n - 1) if variant == "rloo" and n > 1 else d

        result.append(part(score[row], members) + weight * part(r[row], values))
    assert trajectories
    return result


def spa_code(steps: StepTable) -> list[float]:
    score, trajectories = outcomes(steps), rows_of_trajectories(steps)
    result = [0.0] * len(steps)
    for rows in trajectories:
        others = [score[o[0]] for o in trajectories if o != rows and steps.group[o[0]] == steps.group[rows[0]]]
        for r in rows:
            result[r] = score[r] - mean(others) + (0.5 if steps.grounded[r] or r == rows[-1] else 0.0)
    return result


def adca(steps: StepTable, scheme: str, over: str, outcome_on: str, alpha: float) -> list[float]:
    score, trajectories, good = outcomes(steps), rows_of_trajectories(steps), steps.extras["good"]
    raw = [0.2 if g else -0.2 for g in good]
    if scheme == "allocation":
        for rows in trajectories:
            won = score[rows[0]] > 0.5
            w = {r: 1.0 if bool(good[r]) == won else 0.2 for r in rows}
            for r in rows:
                raw[r] = (1 if won else -1) * w[r] / sum(w.values())
    reward = [0.0] * len(steps)
    for rows in trajectories:
        group = [o for o in trajectories if steps.group[o[0]] == steps.group[rows[0]]]
        if over == "trajectories":
            m = mean([mean([raw[r] for r in o]) for o in group])
            s = math.sqrt(mean([mean([(raw[r] - m) ** 2 for r in o]) for o in group]) + 1e-8)
        else:
            flat = [raw[r] for o in group for r in o]
            m, s = mean(flat), max(sd(flat, 0), 1e-8)
        scores = [score[o[0]] for o in group]
        z = deviation(score[rows[0]], scores) / (sd(scores, 0) if sd(scores, 0) > 1e-8 else 1.0)
        for r in rows:
            gap = 0.0 if abs(raw[r] - m) < 1e-12 else raw[r] - m
            reward[r] = alpha * gap / s + (z if outcome_on == "all_steps" or r == rows[-1] else 0.0)
    return suffix_sum(steps, reward)


def cm2(steps: StepTable, small: int, divide: bool) -> list[float]:
    positions = {}
    for rows in rows_of_trajectories(steps):
        for i, row in enumerate(rows):
            positions[row] = (int(steps.group[row]), i)
    result = []
    for row in range(len(steps)):
        same = [float(steps.reward[r]) for r in range(len(steps)) if positions[r] == positions[row]]
        a = deviation(float(steps.reward[row]), same) / (sd(same) + 1e-6 if divide else 1.0)
        result.append(a if len(same) > small else 0.0)
    return result


def copo(steps: StepTable) -> list[float]:
    groups = entries(steps, "trajectories")
    means = [mean(v) for v in groups.values()]
    score = outcomes(steps)
    result = []
    for row, group in enumerate(steps.group.tolist()):
        values = groups[group]
        local = deviation(score[row], values) / (sd(values) + 1e-6)
        batch = deviation(mean(values), means) / (sd(means) + 1e-6)
        shares = [values.count(v) / len(values) for v in set(values)]
        c = 1 + sum(s * math.log(s) for s in shares) / math.log(max(len(values), 2))
        result.append((1 - c) * local + c * batch)
    return result


def propagation(steps: StepTable, decay: float) -> list[float]:
    """Differences of propagated value."""
    value: dict[tuple[int, int], float] = {}
    trajectories = rows_of_trajectories(steps)
    for _ in range(len(steps) + 2):
        for rows in trajectories:
            for r in rows:
                x, y = (int(steps.group[r]), int(steps.anchor[r])), (int(steps.group[r]), int(steps.next_anchor[r]))
                best = decay * float(steps.reward[r])
                if r != rows[-1]:
                    best = max(best, decay * value.get(y, 0.0))
                value[x] = max(value.get(x, 0.0), best)
    result = []
    for r in range(len(steps)):
        group = int(steps.group[r])
        after = value.get((group, int(steps.next_anchor[r])), 0.0)
        if steps.terminated[r]:
            after = max(float(steps.reward[r]), 0.0)
        result.append(after - value[group, int(steps.anchor[r])])
    return result


def portool(steps: StepTable) -> list[float]:
    """From the leaves of every row, found by walking each trajectory's lineage."""
    ids = steps.trajectory[steps.starts].tolist()
    score = dict(zip(ids, steps.outcome.tolist(), strict=True))
    base = grpo(steps, "mean_std", "trajectories", "raw")
    advantage = {int(steps.trajectory[r]): base[r] for r in range(len(steps))}
    leaves: dict[int, list[int]] = {row: [] for row in range(len(steps))}
    origin: dict[int, object] = {}
    for trajectory in ids:
        path = steps.lineage(trajectory).tolist()
        for before, row in zip([("root", int(steps.group[path[0]])), *path], path, strict=False):
            leaves[row].append(trajectory)
            origin[row] = before
    value = {row: mean([score[t] for t in below]) for row, below in leaves.items()}
    result = []
    for row in range(len(steps)):
        siblings = [value[r] for r in range(len(steps)) if origin[r] == origin[row]]
        result.append(mean([advantage[t] for t in leaves[row]]) + value[row] - mean(siblings))
    return result
