"""The report's pictures, as SVG with classes for colours (so that light and dark are the style sheet's business)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from agentgym.agents.evaluate.report.content import Panel, Series
from agentgym.agents.evaluate.stats import Interval

__all__ = ["COLOURS", "curves", "interval"]

COLOURS = 6
"""Number of series colours in the style sheet; further arms use them again."""

_W, _H = 520, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 132, 12, 30


def interval(found: Interval, colour: int, low: float = 0.0, high: float = 1.0) -> str:
    """One row of a forest plot over [low, high]: the interval as a line, the estimate as a dot.

    Places are percentages of the width, so that the row stretches with its column and the dot stays round.
    """

    def x(value: float) -> str:
        return f"{(min(max(value, low), high) - low) / (high - low) * 100:.2f}%"

    marks = [low, (low + high) / 2, high]
    grid = "".join(f'<line class="grid" x1="{x(v)}" x2="{x(v)}" y1="0" y2="100%"/>' for v in marks)
    band = ""
    if math.isfinite(found.low) and math.isfinite(found.high) and found.high > found.low:
        band = f'<line class="bar" x1="{x(found.low)}" x2="{x(found.high)}" y1="50%" y2="50%"/>'
    return (
        f'<svg class="forest s{colour % COLOURS}" aria-hidden="true">{grid}{band}'
        f'<circle cx="{x(found.value)}" cy="50%" r="5"/></svg>'
    )


def curves(panel: Panel, colours: Mapping[str, int]) -> str:
    """One chart of learning curves: bands where there are intervals, dots for tests, names at the ends of the lines.

    Training curves step back (thin and pale) where the same arm has validation to look at.
    """
    width, height, right = (_W, _H, _RIGHT) if panel.large else (360, 180, 14)
    xs = [v for s in panel.series for v in s.x]
    ys = [v for s in panel.series for k in (s.y, s.low, s.high) for v in k if math.isfinite(v)]
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    y_ticks = [0.0, 0.25, 0.5, 0.75, 1.0] if panel.share and (max(ys) > 0.3) else _ticks(min(0.0, *ys), max(ys))
    y_low, y_high = y_ticks[0], y_ticks[-1]

    def px(v: float) -> float:
        return _LEFT + (v - x_low) / (x_high - x_low) * (width - _LEFT - right)

    def py(v: float) -> float:
        return height - _BOTTOM - (v - y_low) / (y_high - y_low) * (height - _BOTTOM - _TOP)

    def line(x: Sequence[float], y: Sequence[float]) -> str:
        return " ".join(f"{px(a):.1f},{py(b):.1f}" for a, b in zip(x, y, strict=True))

    parts = [
        f'<svg class="curves" viewBox="0 0 {width} {height}" role="img" aria-label="{escape(panel.title)} by update" '
        f'data-left="{_LEFT}" data-right="{width - right}" data-x0="{x_low:g}" data-x1="{x_high:g}" '
        f'data-top="{_TOP}" data-bottom="{height - _BOTTOM}">'
    ]
    for v in y_ticks:
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{width - right}" y1="{py(v):.1f}" y2="{py(v):.1f}"/>')
        text = f"{v:.0%}" if panel.share and y_high >= 0.1 else f"{v:.1%}" if panel.share else f"{v:g}"
        parts.append(f'<text class="tick" x="{_LEFT - 8}" y="{py(v) + 3.5:.1f}" text-anchor="end">{text}</text>')
    for v in [t for t in _ticks(x_low, x_high, 5) if x_low <= t <= x_high and t == int(t)]:
        parts.append(
            f'<text class="tick" x="{px(v):.1f}" y="{height - _BOTTOM + 18}" text-anchor="middle">{v:g}</text>'
        )
    validated = {s.arm for s in panel.series if s.phase == "validation" and len(s.x) > 1}
    ends: list[tuple[float, float, str, int]] = []
    for s in panel.series:
        colour = colours[s.arm] % COLOURS
        if s.phase == "test":
            parts.append(_dots(s, colour, px, py))
            continue
        if len(s.x) < 2:
            continue
        faint = s.phase == "train" and s.arm in validated
        banded = [k for k in range(len(s.x)) if math.isfinite(s.low[k]) and math.isfinite(s.high[k])]
        if len(banded) > 1:
            upper = line([s.x[k] for k in banded], [s.high[k] for k in banded])
            lower = line([s.x[k] for k in banded[::-1]], [s.low[k] for k in banded[::-1]])
            parts.append(f'<polygon class="band s{colour}" points="{upper} {lower}"/>')
        kind = "line faint" if faint else "line"
        parts.append(f'<polyline class="{kind} s{colour}" points="{line(s.x, s.y)}"/>')
        if not faint:
            ends.append((py(s.y[-1]), px(s.x[-1]), s.arm or s.phase, colour))
    if panel.large:
        for (y, x, name, colour), shown in zip(sorted(ends), _apart([e[0] for e in sorted(ends)], 15), strict=True):
            parts.append(
                f'<path class="leader s{colour}" d="M{x + 3:.1f} {y:.1f}L{width - right + 9} {shown:.1f}"/>'
                f'<text class="name s{colour}" x="{width - right + 13}" y="{shown + 4:.1f}">'
                f"{escape(_short(name))}</text>"
            )
    parts.append('<line class="cursor" y1="0" y2="0"/></svg>')
    return "".join(parts)


def _dots(s: Series, colour: int, px: Callable[[float], float], py: Callable[[float], float]) -> str:
    out = []
    for x, y, low, high in zip(s.x, s.y, s.low, s.high, strict=True):
        if math.isfinite(low) and math.isfinite(high):
            out.append(
                f'<line class="whisker s{colour}" x1="{px(x):.1f}" x2="{px(x):.1f}" '
                f'y1="{py(low):.1f}" y2="{py(high):.1f}"/>'
            )
        out.append(f'<circle class="dot s{colour}" cx="{px(x):.1f}" cy="{py(y):.1f}" r="4"/>')
    return "".join(out)


def _short(name: str) -> str:
    return name if len(name) <= 17 else name[:16] + "…"


def _apart(values: Sequence[float], gap: float) -> list[float]:
    """Ascending positions moved as little downwards as keeps them ``gap`` apart."""
    out: list[float] = []
    for v in values:
        out.append(max(v, out[-1] + gap) if out else v)
    return out


def _ticks(low: float, high: float, parts: int = 4) -> list[float]:
    """Round numbers about ``parts`` steps apart whose first is at most ``low`` and whose last is at least ``high``."""
    span = (high - low) or abs(high) or 1.0
    rough = span / parts
    power = 10 ** math.floor(math.log10(rough))
    step = next(k * power for k in (1, 2, 2.5, 5, 10) if k * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(k * step, 12) for k in range(first, max(last, first + 1) + 1)]
