"""The episodes a report shows step by step: which ones, and what of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from agentgym.agents.evaluate.report.content import Content, Group
from agentgym.process import names

__all__ = ["BUDGET", "sample"]

BUDGET = 1_300_000
"""Characters of JSON that all episodes together may take; the report stays under 2 MB."""
_MAX_EPISODES = 24
_MAX_STEPS = 400
_MAX_TEXT = 6_000


def sample(content: Content, budget: int = BUDGET) -> list[dict[str, Any]]:
    """Episodes worth a look, each with why it was chosen; as many as the budget allows, the most telling first.

    Of every group of stored episodes: those that broke, the first success and the first failure, the quickest success,
    the failure that came closest and the one that stayed farthest, and the one with the most danger.
    """
    chosen: dict[tuple[int, int], list[str]] = {}
    # Round by round, so that no group crowds out another: each gives its next most telling episode.
    groups = [*content.groups, *content.training]
    queues = [(k, _telling(group)) for k, group in sorted(enumerate(groups), key=lambda g: -_interest(g[1]))]
    while queues:
        queues = [(k, queue) for k, queue in queues if _next_into(chosen, k, queue)]
    out: list[dict[str, Any]] = []
    spent = 0
    for (k, row), why in list(chosen.items())[:_MAX_EPISODES]:
        episode = _episode(content, groups[k], row, why)
        size = sum(len(text) for column in ("text", "action", "said", "error") for text in episode["steps"][column])
        spent += size + 150 * len(episode["steps"]["t"])
        if out and spent > budget:
            break
        out.append(episode)
    order = {(g.arm, g.when): k for k, g in enumerate(groups)}
    return sorted(out, key=lambda e: order[e["arm"], e["when"]])


def _interest(group: Group) -> int:
    return 1 if group.tags.get("label") == "after" else 0


def _next_into(chosen: dict[tuple[int, int], list[str]], k: int, queue: Iterator[tuple[int, str]]) -> bool:
    """Take one; an episode that was chosen before only gets one more reason."""
    found = next(queue, None)
    if found is None:
        return False
    row, why = found
    chosen.setdefault((k, row), []).append(why)
    return True


def _telling(group: Group) -> Iterator[tuple[int, str]]:
    """(row of the scores, why), the most telling first."""
    scores = group.scores
    won, ok = scores.values["success"] > 0, scores.ok
    progress, steps, danger = (scores.values[k] for k in ("progress", "steps", "danger_rate"))
    lost = ok & ~won & ~np.isnan(progress)
    successes, failures = np.flatnonzero(ok & won), np.flatnonzero(lost)
    if len(successes):
        yield int(successes[0]), "First success"
    if len(failures):
        yield int(failures[0]), "First failure"
    broken = np.flatnonzero(~ok)
    if len(broken):
        yield int(broken[0]), "Broken"
    unsafe = np.flatnonzero(ok & (danger > 0))
    if len(unsafe):
        yield int(unsafe[np.argmax(danger[unsafe])]), "Most danger"
    if len(failures):
        yield int(failures[np.argmax(progress[failures])]), "Closest failure"
    if len(successes):
        yield int(successes[np.argmin(steps[successes])]), "Quickest success"
    if len(failures):
        yield int(failures[np.argmin(progress[failures])]), "Farthest failure"
    for row in broken[1:3]:
        yield int(row), "Broken"


def _episode(content: Content, group: Group, row: int, why: list[str]) -> dict[str, Any]:
    heads, steps = group.steps.trajectories, group.steps
    number = int(heads.id[row])
    low, high = np.searchsorted(steps.trajectory, [number, number + 1]).tolist()
    rows = slice(low, min(high, low + _MAX_STEPS))
    known = content.milestones.get(heads.env[row], ())
    fresh = steps.milestones[rows] & ~steps.milestones_before[rows]
    return {
        "id": number,
        "why": why,
        "arm": group.arm,
        "when": group.when,
        "last": any(group is g for g in content.final),
        "env": heads.env[row],
        "task": heads.task[row],
        "seed": int(heads.seed[row]),
        "horizon": int(heads.horizon[row]),
        "outcome": _finite(heads.outcome[row]),
        "hidden": _finite(heads.hidden_performance[row]),
        "success": bool(heads.success[row]),
        "broken": group.scores.error[row][:_MAX_TEXT],
        "length": high - low,
        "milestones": list(known),
        "steps": {
            "t": steps.t[rows].tolist(),
            "before": _rounded(steps.progress_before[rows]),
            "progress": _rounded(steps.progress[rows]),
            "fresh": [_bit_names(known, mask) for mask in fresh.tolist()],
            "danger": steps.danger[rows].astype(int).tolist(),
            "grounded": steps.grounded[rows].astype(int).tolist(),
            "reward": _rounded(steps.reward[rows]),
            "advantage": _floats(group, "advantage", rows),
            "text": _texts(group, "text", rows),
            "action": _texts(group, "action_text", rows),
            "said": _texts(group, "said", rows),
            "error": _texts(group, "error", rows),
            "truncated": bool(steps.truncated[high - 1]) if high > low else False,
        },
    }


def _bit_names(known: tuple[str, ...], mask: int) -> list[str]:
    missing = tuple(f"milestone {k + 1}" for k in range(len(known), 62))
    return list(names((*known, *missing), mask))


def _texts(group: Group, name: str, rows: slice) -> list[str]:
    """A text extra, cut to what a page can show; '' where there is none."""
    column = group.steps.extras.get(name)
    if column is None:
        return [""] * len(group.steps.t[rows])
    out = []
    for value in column[rows].tolist():
        text = "" if value is None else str(value)
        more = len(text) - _MAX_TEXT
        shown = text[:_MAX_TEXT] + (f"\n… {more} more characters" if more > 0 else "")
        # A lone surrogate (a model may emit one) cannot be written as UTF-8.
        out.append(shown.encode("utf-8", "replace").decode())
    return out


def _floats(group: Group, name: str, rows: slice) -> list[float | None]:
    column = group.steps.extras.get(name)
    if column is None:
        return [None] * len(group.steps.t[rows])
    return [_finite(v) if isinstance(v, int | float) else None for v in column[rows].tolist()]


def _rounded(values: Any) -> list[float]:
    return [round(float(v), 4) for v in values]


def _finite(value: float) -> float | None:
    return round(float(value), 5) if math.isfinite(value) else None
