"""What a report says: a run's figures, curves, environments and sample episodes as plain values, ready to be drawn."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentgym.agents.evaluate.compare import compare_scores
from agentgym.agents.evaluate.evaluate import EvalResult, summarise
from agentgym.agents.evaluate.scores import Scores, milestone_names, score
from agentgym.agents.evaluate.stats import Interval, difference_of_intervals, wilson
from agentgym.errors import UsageError
from agentgym.runs import Run, Shard, Tag
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["Content", "Contrast", "Group", "Panel", "Row", "Series", "gather"]

_LABELS = {"before": "before training", "after": "after training", "greedy": "after training, greedy"}
_PANELS: dict[str, tuple[str, bool]] = {
    "success": ("Success", True),
    "progress": ("Progress at the end", True),
    "danger_rate": ("Dangerous steps", True),
    "entropy": ("Entropy", False),
    "kl": ("Divergence from the start", False),
    "clip_fraction": ("Clipped share", True),
    "loss": ("Loss", False),
    "grad_norm": ("Gradient norm", False),
}
"""Metrics that are drawn, in order: title, and whether they are a share of 1."""
_SMALL = 4  # so many small charts fit side by side


@dataclass(frozen=True)
class Row:
    """One line of the headline: a policy, when, and its success."""

    arm: str
    when: str
    key: str
    success: Interval


@dataclass(frozen=True)
class Contrast:
    """A difference between two rows; ``paired`` over the same tasks, or from two separate intervals."""

    name: str
    difference: Interval
    paired: bool


@dataclass(frozen=True)
class Series:
    """A curve: x, y and, where known, a band; ``phase`` is train, validation or test."""

    arm: str
    phase: str
    x: list[float]
    y: list[float]
    low: list[float]
    high: list[float]


@dataclass(frozen=True)
class Panel:
    """One chart of curves over updates."""

    metric: str
    title: str
    share: bool
    large: bool
    series: list[Series]


@dataclass(frozen=True)
class Group:
    """The stored episodes of one row: of an arm at one time, or of a whole evaluation."""

    arm: str
    when: str
    tags: Mapping[str, Tag]
    steps: StepTable
    scores: Scores
    result: EvalResult


@dataclass(frozen=True)
class Content:
    """All of it. ``arms`` in the order of their colours; ``milestones``: environment -> names in bit order."""

    run: Run
    arms: list[str]
    rows: list[Row]
    contrasts: list[Contrast]
    panels: list[Panel]
    groups: list[Group]
    milestones: dict[str, tuple[str, ...]]
    training: list[Group] = field(default_factory=list)
    """Rollouts of some updates, with their credit; shown step by step, never counted in the tables."""

    @property
    def final(self) -> list[Group]:
        """Of every arm, the group that shows how it ended: sampled after training, or the last stored."""
        out: dict[str, Group] = {}
        for group in self.groups:
            held = out.get(group.arm)
            if held is None or _rank(group.tags) >= _rank(held.tags):
                out[group.arm] = group
        return list(out.values())


def gather(run: Run) -> Content:
    """Read what the report needs. Test episodes are preferred; a run that has none shows what it has."""
    metrics = run.metrics()
    shards = [*run.shards, *_other_arms(run, {str(m.get("arm")) for m in metrics})]
    held_out = [s for s in shards if s.tags.get("phase") == "test"]
    milestones: dict[str, tuple[str, ...]] = {}
    groups = _groups(held_out or shards, milestones, tagged=bool(held_out))
    training = _groups(_some_updates(shards), milestones, tagged=True) if held_out else []
    tested = [m for m in metrics if m.get("phase") == "test" and _number(m.get("success"))]
    rows = _rows(tested) or [Row(g.arm, g.when, "", g.result.metrics["success"]) for g in groups if g.result.metrics]
    arms = list(dict.fromkeys([*(r.arm for r in rows), *(str(m.get("arm", "")) for m in metrics if "phase" in m)]))
    return Content(run, arms, rows, _contrasts(rows, groups), _panels(metrics), groups, milestones, training)


def _other_arms(run: Run, arms: Collection[str]) -> list[Shard]:
    """Episodes of arms that were trained beside this one, in a run folder of their own inside its folder."""
    inner = [Run.open(path.parent) for path in sorted(run.path.glob("*/run.json"))]
    return [shard for other in inner for shard in other.shards if shard.tags.get("arm") in arms]


# ---------------------------------------------------------------------- headline


def _when(tags: Mapping[str, Any]) -> str:
    label = tags.get("label")
    if isinstance(label, str) and label:
        return _LABELS.get(label, label)
    if _number(tags.get("update")):
        return f"training, update {tags['update']}" if tags.get("phase") == "train" else f"update {tags['update']}"
    return str(tags.get("phase") or "all episodes")


def _rows(tested: Iterable[Mapping[str, Any]]) -> list[Row]:
    rows: dict[tuple[str, str], Row] = {}
    for m in tested:
        value = float(m["success"])
        n = int(m["episodes"]) if _number(m.get("episodes")) else 0
        if _number(m.get("low")) and _number(m.get("high")):
            interval = Interval(value, float(m["low"]), float(m["high"]), n)
        elif n:
            low, high = wilson(value * n, n)
            interval = Interval(value, float(low), float(high), n, "wilson")
        else:
            interval = Interval(value, value, value, 0)
        arm, when = str(m.get("arm", "")), _when(m)
        rows[arm, when] = Row(arm, when, str(m.get("label") or ""), interval)
    order = {arm: k for k, arm in enumerate(dict.fromkeys(arm for arm, _ in rows))}
    return sorted(rows.values(), key=lambda row: order[row.arm])


def _contrasts(rows: Sequence[Row], groups: Sequence[Group]) -> list[Contrast]:
    """First and last time of every arm; then the arms against each other at their last time."""
    by_arm: dict[str, list[Row]] = {}
    for row in rows:
        if row.key != "greedy":
            by_arm.setdefault(row.arm, []).append(row)
    out = []
    for arm, own in by_arm.items():
        if len(own) > 1:
            name = f"{own[-1].when}, against {own[0].when}"
            out.append(_contrast(f"{arm}: {name}" if arm else name, own[0], own[-1], groups))
    last = [own[-1] for own in by_arm.values()]
    for other in last[1:]:
        out.append(_contrast(f"{last[0].arm} against {other.arm}, {last[0].when}", other, last[0], groups))
    return out


def _contrast(name: str, a: Row, b: Row, groups: Sequence[Group]) -> Contrast:
    stored = {(g.arm, g.when): g.scores for g in groups}
    if (a.arm, a.when) in stored and (b.arm, b.when) in stored:
        try:
            found = compare_scores(stored[a.arm, a.when], stored[b.arm, b.when], np.random.default_rng(0))
        except UsageError:  # the two were tested on different tasks
            return Contrast(name, difference_of_intervals(a.success, b.success), False)
        if "success" in found.metrics:
            return Contrast(name, found.metrics["success"].difference, True)
    return Contrast(name, difference_of_intervals(a.success, b.success), False)


# ---------------------------------------------------------------------- curves


def _panels(metrics: Sequence[Mapping[str, Any]]) -> list[Panel]:
    panels = []
    for metric, (title, share) in _PANELS.items():
        found: dict[tuple[str, str], dict[float, tuple[float, float, float]]] = {}
        for m in metrics:
            phase = m.get("phase")
            plain = phase in ("train", "validation") or (phase == "test" and not m.get("greedy"))
            if not plain or not _number(m.get("update")) or not _number(m.get(metric)):
                continue
            y = float(m[metric])
            banded = metric == "success" and _number(m.get("low")) and _number(m.get("high"))
            band = (float(m["low"]), float(m["high"])) if banded else (math.nan, math.nan)
            found.setdefault((str(m.get("arm", "")), str(phase)), {})[float(m["update"])] = (y, *band)
        series = [_series(arm, phase, points) for (arm, phase), points in found.items()]
        curves = [s for s in series if len(s.x) > 1 and s.phase != "test"]
        large = metric in ("success", "progress")
        says_something = large or any(any(s.y) for s in curves)
        if curves and says_something:
            panels.append(Panel(metric, title, share, large, series))
    small = [p for p in panels if not p.large]
    return [p for p in panels if p.large or p in small[:_SMALL]]


def _series(arm: str, phase: str, points: Mapping[float, tuple[float, float, float]]) -> Series:
    xs = sorted(points)
    columns = [[points[x][k] for x in xs] for k in range(3)]
    return Series(arm, phase, xs, *columns)


# ---------------------------------------------------------------------- stored episodes


def _groups(shards: Iterable[Shard], milestones: dict[str, tuple[str, ...]], *, tagged: bool) -> list[Group]:
    """Shards that belong together, by arm and when; fills ``milestones`` with the names of each environment's."""
    by_row: dict[tuple[str, str], list[Shard]] = {}
    for shard in shards:
        tags = shard.tags if tagged else {}
        by_row.setdefault((str(tags.get("arm") or ""), _when(tags)), []).append(shard)
    groups = []
    for (arm, when), some in by_row.items():
        steps = StepTable.concat(s.steps() for s in some)
        for env in steps.trajectories.env.tolist():
            if env not in milestones:
                milestones[env] = milestone_names(env)
        tokens = TokenTable.concat(s.tokens() for s in some)
        scores = score(steps, tokens, {env: len(names) for env, names in milestones.items()})
        result = summarise(scores, np.random.default_rng(0), name=when)
        groups.append(Group(arm, when, some[-1].tags if tagged else {}, steps, scores, result))
    return groups


def _some_updates(shards: Iterable[Shard]) -> list[Shard]:
    """Of every arm's stored training updates the first, the middle and the last."""
    by_arm: dict[str, list[Shard]] = {}
    for shard in shards:
        if shard.tags.get("phase") == "train":
            by_arm.setdefault(str(shard.tags.get("arm") or ""), []).append(shard)
    return [some[k] for some in by_arm.values() for k in sorted({0, len(some) // 2, len(some) - 1})]


def _rank(tags: Mapping[str, Tag]) -> tuple[bool, bool, float]:
    update = tags.get("update")
    return not tags.get("greedy"), tags.get("label") == "after", float(update) if _number(update) else -1.0  # type: ignore[arg-type]  # _number has checked


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
