"""Learning curves of a study as one SVG without a style sheet: a panel a task, the mean over seeds, bands of 80 %."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
import numpy.typing as npt

from agentgym.agents.evaluate.learning.study import Study

__all__ = ["curves"]

Float = npt.NDArray[np.float64]

# distinct in hue and in lightness; after Okabe & Ito
_COLOURS = ("#555555", "#e69f00", "#56b4e9", "#cc79a7", "#b3a100", "#0072b2", "#009e73", "#d55e00", "#882255")
_W, _H, _LEFT, _TOP, _BOTTOM, _GAP = 300, 210, 46, 52, 44, 26


def curves(studies: Sequence[tuple[str, Study]]) -> str:
    """An SVG document.

    Args:
        studies: (title, study) pairs, a row of panels each; tasks without results are left out.
    """
    arms = dict.fromkeys(arm for _, study in studies for arm in study.plan.arms)
    colours = {arm: _COLOURS[k % len(_COLOURS)] for k, arm in enumerate(arms)}
    rows = [
        (title, study, [t for t in study.plan.tasks if any(r.task == t for r in study.results)])
        for title, study in studies
    ]
    width = _LEFT + max(len(tasks) for _, _, tasks in rows) * (_W + _GAP) + 230
    height = len(rows) * (_H + _TOP + _BOTTOM)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for k, (title, study, tasks) in enumerate(rows):
        top = k * (_H + _TOP + _BOTTOM) + _TOP
        parts.append(f'<text x="{_LEFT}" y="{top - 30}" font-size="14" font-weight="bold">{escape(title)}</text>')
        for j, task in enumerate(tasks):
            parts += _panel(study, task, colours, _LEFT + j * (_W + _GAP), top, first=j == 0)
        parts += _names(study, colours, _LEFT + len(tasks) * (_W + _GAP), top)
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(study: Study, task: str, colours: Mapping[str, str], left: int, top: int, *, first: bool) -> list[str]:
    by_arm = {a: [r.found["success"] for r in study.results if (r.task, r.arm) == (task, a)] for a in study.plan.arms}
    length = max(len(run) for runs in by_arm.values() for run in runs)
    seeds = max(len(runs) for runs in by_arm.values())
    parts = [f'<text x="{left + _W / 2}" y="{top - 8}" text-anchor="middle">{escape(task)}, {seeds} seeds</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + _H * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + _W}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        if first:
            parts.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end" fill="#444444">{share:.0%}</text>')
    for update in (0, length // 2, length):
        at = left + _W * update / length
        parts.append(f'<text x="{at:.1f}" y="{top + _H + 16}" text-anchor="middle" fill="#444444">{update}</text>')
    parts.append(f'<text x="{left + _W / 2}" y="{top + _H + 32}" text-anchor="middle" fill="#444444">updates</text>')
    for arm, runs in by_arm.items():
        colour = colours[arm]
        if not runs:
            continue
        values = _smooth(np.array(runs))
        x = left + _W * (np.arange(length) + 0.5) / length
        low, high = np.quantile(values, [0.1, 0.9], axis=0)
        band = _points(np.concatenate([x, x[::-1]]), np.concatenate([high, low[::-1]]), top)
        parts.append(f'<polygon points="{band}" fill="{colour}" fill-opacity="0.10"/>')
        line = _points(x, values.mean(axis=0), top)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


def _smooth(values: Float, reach: int = 1) -> Float:
    """Running mean over 2 reach + 1 updates; shorter at the ends."""
    kernel = np.ones(2 * reach + 1)
    weight = np.convolve(np.ones(values.shape[1]), kernel, mode="same")
    return np.stack([np.convolve(row, kernel, mode="same") / weight for row in values])


def _points(x: Float, y: Float, top: int) -> str:
    return " ".join(f"{a:.1f},{top + _H * (1 - b):.1f}" for a, b in zip(x, y, strict=True))


def _names(study: Study, colours: Mapping[str, str], left: int, top: int) -> list[str]:
    parts = []
    for k, arm in enumerate(study.plan.arms):
        colour = colours[arm]
        y = top + 8 + 20 * k
        name = escape(arm.replace("(z_scored=True)", ", z-scored"))
        parts.append(f'<line x1="{left}" x2="{left + 20}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{left + 26}" y="{y + 4}">{name}</text>')
    return parts
