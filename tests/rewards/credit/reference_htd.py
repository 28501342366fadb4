"""Slow plain-Python versions of congruent states and of HTD, one row at a time, written from the docstrings."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Hashable
from itertools import permutations

from agentgym.steps import StepTable
from tests.rewards.credit.reference import mean, rows_of_trajectories

Pair = tuple[Hashable, Hashable]


class Classes:
    """States that may be found to be one."""

    def __init__(self) -> None:
        self.up: dict[Hashable, Hashable] = {}

    def of(self, state: Hashable) -> Hashable:
        while state in self.up:
            state = self.up[state]
        return state

    def merge(self, a: Hashable, b: Hashable) -> bool:
        a, b = self.of(a), self.of(b)
        if a != b:
            self.up[a] = b
        return a != b


def congruent(steps: StepTable, evidence: int) -> tuple[list[Pair], list[Pair]]:
    """The names of the states before and after every row: told apart by groups, and shared by them."""
    rows_of = defaultdict(list)
    for row, group in enumerate(steps.group.tolist()):
        rows_of[group].append(row)
    anchor, after = steps.anchor.tolist(), steps.next_anchor.tolist()
    folding = {group for group, rows in rows_of.items() if not anchors_repeat(steps, rows, evidence)}
    own: dict[int, Classes] = {}
    for group in rows_of:
        own[group] = closed(steps, rows_of[group] if group in folding else [], {})
    folding -= {g for g in folding if refuted(steps, rows_of[g], rows_of[g], lambda r, g=g: own[g].of(anchor[r]))}
    for group in rows_of:
        if group not in folding:
            own[group] = Classes()
    rows = [row for row, group in enumerate(steps.group.tolist()) if group in folding]
    shared = closed(steps, rows, {})
    compared = rows
    kept = {g for g in folding if refuted(steps, rows_of[g], compared, lambda r: shared.of(anchor[r]))}
    names_own, names_across = [], []
    for row, group in enumerate(steps.group.tolist()):
        names_own.append(tuple((group, own[group].of(x)) for x in (anchor[row], after[row])))
        if group in kept:
            names_across.append(tuple(("own", group, own[group].of(x)) for x in (anchor[row], after[row])))
        elif group in folding:
            names_across.append(tuple(("folded", shared.of(x)) for x in (anchor[row], after[row])))
        else:
            names_across.append(tuple(("anchor", x) for x in (anchor[row], after[row])))
    return names_own, names_across


def anchors_repeat(steps: StepTable, rows: list[int], evidence: int) -> bool:
    agreed = compared = 0
    for i, j in permutations(rows, 2):
        if steps.anchor[i] == steps.anchor[j] and steps.action[i] == steps.action[j]:
            compared += 1
            agreed += int(steps.next_anchor[i] == steps.next_anchor[j])
    return compared >= evidence and agreed > 0.5 * compared


def closed(steps: StepTable, rows: list[int], start: dict[Hashable, Hashable]) -> Classes:
    classes = Classes()
    for row in rows:
        if steps.t[row] == 0 and (row == 0 or steps.trajectory[row] != steps.trajectory[row - 1]):
            key = (int(steps.group[row]), round(float(steps.progress_before[row]) * 1e9))
            classes.merge(int(steps.anchor[row]), start.setdefault(key, int(steps.anchor[row])))
    changed = True
    while changed:
        changed = False
        led: dict[Hashable, int] = {}
        for row in rows:
            seen = round(float(steps.progress[row]) * 1e9), bool(steps.terminated[row])
            key = (classes.of(int(steps.anchor[row])), int(steps.action[row]), seen)
            changed |= classes.merge(int(steps.next_anchor[row]), led.setdefault(key, int(steps.next_anchor[row])))
    return classes


def refuted(steps: StepTable, mine: list[int], compared: list[int], state: Callable[[int], Hashable]) -> bool:
    """``mine``: the group's rows; ``compared``: those whose classes they may share."""

    def disagreement(others: list[int], key: Callable[[int], Hashable]) -> float:
        keys = {row: key(row) for row in others}
        pairs = [(i, j) for i in mine for j in others if i != j and keys[i] == keys[j]]
        return sum(bool(steps.terminated[i]) != bool(steps.terminated[j]) for i, j in pairs) / max(len(pairs), 1)

    def action(row: int) -> int:
        return int(steps.action[row])

    lengths = [
        len(rows)
        for rows in rows_of_trajectories(steps)
        if rows[0] in mine and steps.terminated[rows[-1]] and steps.reward[rows[-1]] > 0
    ]
    needed = max(2.0, 0.5 * min(lengths, default=0))
    by_state = disagreement(compared, lambda row: (state(row), action(row)))
    return by_state > 0.5 * disagreement(mine, action) or len({state(row) for row in mine}) < needed


def fixed_point(
    steps: StepTable, names: list[Pair], prior: list[tuple[float, float]], kappa: float, horizon: int
) -> list[tuple[float, float]]:
    """GTD's values of named states by plain iteration; the prior of a state is the mean over its mentions."""
    mentions = defaultdict(list)
    for pair, values in zip(names, prior, strict=True):
        for name, value in zip(pair, values, strict=True):
            mentions[name].append(value)
    p = {name: mean(values) for name, values in mentions.items()}
    value = dict(p)
    for _ in range(20_000):
        top, bottom = {x: kappa * v for x, v in p.items()}, dict.fromkeys(p, kappa)
        for rows in rows_of_trajectories(steps):
            for row in rows:
                final = row == rows[-1]
                if final and not steps.terminated[row]:
                    continue
                x, y = names[row]
                top[x] += float(steps.reward[row]) + (0.0 if final else (1 - 1 / horizon) * value[y])
                bottom[x] += 1
        following = {x: top[x] / bottom[x] for x in p}
        change = max(abs(following[x] - value[x]) for x in p)
        value = following
        if change < 1e-14:
            break
    return [(value[x], value[y]) for x, y in names]


def htd(
    steps: StepTable, lam: float, kappa: float, bins: int, goal: float, across: bool, horizon: int, evidence: int
) -> list[float]:
    phi = list(zip(steps.progress_before.tolist(), steps.progress.tolist(), strict=True))
    bits = list(zip(steps.milestones_before.tolist(), steps.milestones.tolist(), strict=True))
    group = steps.group.tolist()
    scores = [math.fsum(float(steps.reward[r]) for r in rows) for rows in rows_of_trajectories(steps)]
    rate = (math.fsum(scores) / goal + 0.5) / (len(scores) + 1)
    rate = min(max(rate, 0.5 / (len(scores) + 1)), 1.0)
    value = [tuple(goal * rate ** (1 - x) for x in pair) for pair in phi]

    def binned(x: float) -> int:
        return min(math.floor(bins * x + 1e-9), bins)

    coarse = [tuple((m, binned(x)) for m, x in zip(b, f, strict=True)) for b, f in zip(bits, phi, strict=True)]
    value = fixed_point(steps, coarse, value, kappa, horizon)
    fine = [
        tuple((g, m, round(x * 1e9)) for m, x in zip(b, f, strict=True))
        for g, b, f in zip(group, bits, phi, strict=True)
    ]
    own, shared = congruent(steps, evidence)
    levels = []
    for names in (fine, own, shared) if across else (fine, own):
        value = fixed_point(steps, names, value, kappa, horizon)
        levels.append(value)
    result = [0.0] * len(steps)
    for rows in rows_of_trajectories(steps):
        carried = 0.0
        for row in reversed(rows):
            before, after = (mean([level[row][k] for level in levels]) for k in (0, 1))
            delta = float(steps.reward[row]) + (0.0 if steps.terminated[row] else after) - before
            carried = delta + lam * carried
            result[row] = carried
    taken: dict[tuple[object, int], list[int]] = {}
    for row, action in enumerate(steps.action.tolist()):
        taken.setdefault(((shared if across else own)[row][0], action), []).append(row)
    for rows in taken.values():
        credit = mean([result[row] for row in rows])
        for row in rows:
            result[row] = credit
    return result
