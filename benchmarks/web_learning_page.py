"""The tables and the picture of docs/web-learning.md, made from what is saved in benchmarks/results/.

python benchmarks/web_learning_page.py     # writes them
"""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from typing import Any

import common
import page

PAGE = common.RESULTS.parent.parent / "docs" / "web-learning.md"
PICTURE = common.RESULTS / "web_learning.svg"
# distinct in hue and in lightness; after Okabe & Ito
_COLOURS = ("#555555", "#e69f00", "#56b4e9", "#0072b2", "#d55e00")
_W, _H, _LEFT, _TOP, _GAP, _BELOW = 250, 150, 44, 34, 62, 58


def _saved() -> dict[str, Any]:
    """What was measured.

    Raises:
        FileNotFoundError: nothing was yet.
    """
    saved: dict[str, Any] = json.loads((common.RESULTS / "web_learning.json").read_text())
    return saved


def _figures() -> dict[str, Any]:
    figures: dict[str, Any] = _saved()["figures"]
    return figures


def _span(interval: list[float]) -> str:
    return f"[{interval[0]:+.2f}, {interval[1]:+.2f}]"


def _percent(share: float) -> str:
    return f"{share:.0%}"


def arms() -> str:
    """Every arm: success, gain, and what it cost."""
    head = (
        "arm",
        "learning rate",
        "seeds",
        "before",
        "after",
        "gain",
        "each seed",
        "browser steps",
        "minutes",
        "steps/s",
    )
    lines = []
    for arm, row in _figures()["arms"].items():
        before = row["success"] - row["gain"]
        lines.append(
            (
                f"`{arm}`",
                f"{row['lr']:g}",
                str(len(row["seeds"])),
                f"{before:.2f}",
                f"{row['success']:.2f}",
                f"{row['gain']:+.2f}",
                ", ".join(f"{s:.2f}" for s in row["success_by_seed"]),
                f"{row['env_steps']:,.0f}",
                f"{row['minutes_a_seed']:.1f}",
                f"{row['steps_per_s']:.0f}",
            )
        )
    return page.rows(head, lines)


def tasks() -> str:
    """Success on each task."""
    figures = _figures()
    lines = [("before", *(f"{s:.2f}" for s in figures["before_by_task"]))]
    lines += [(f"`{arm}`", *(f"{s:.2f}" for s in row["success_by_task"])) for arm, row in figures["arms"].items()]
    return page.rows(("arm", *figures["tasks"]), lines)


def differences() -> str:
    """Arms against each other, on the same pages and seeds."""
    figures = _figures()
    head = ("success of", "minus that of", "difference", "over pages", "over seeds", *figures["tasks"])
    lines = [
        (
            f"`{d['arm']}`",
            f"`{d['minus']}`",
            f"{d['difference']:+.2f}",
            _span(d["interval_over_pages"]),
            _span(d["interval_over_seeds"]) if len(d["by_seed"]) > 1 else "one seed",
            *(f"{s:+.2f}" for s in d["by_task"]),
        )
        for d in figures["differences"]
    ]
    return page.rows(head, lines)


def mechanism() -> str:
    """What credit had to work with."""
    head = ("arm", "steps whose anchor another rollout stands in", "anchors with return variance, first five updates")
    lines = [
        (f"`{arm}`", _percent(row["anchors_repeat"]), _percent(row["anchors_varied_first_updates"]))
        for arm, row in _figures()["arms"].items()
    ]
    return page.rows(head, lines)


def _met(figures: dict[str, Any]) -> str:
    """How many of all tests were on a page that looks like one of that run's training."""
    arms = figures["arms"].values()
    tests = sum(len(a["seeds"]) for a in arms) * figures["pages"]
    return f"{sum(a['test_pages_seen_in_training'] for a in arms)} of {tests:,}"


def run() -> str:
    """What was run, and where."""
    saved, figures = _saved(), _figures()
    machine = saved["machine"]
    lines = [
        ("date", saved["date"]),
        ("machine", f"{machine['cpu']}, {machine['cores']} cores"),
        ("command", f"`{saved['command']}`"),
        ("browser steps of a run", f"{figures['steps']:,}"),
        ("training seeds", ", ".join(map(str, figures["seeds"]))),
        ("held-out pages", str(figures["pages"])),
        ("parameters", f"{figures['parameters']:,}"),
        ("learning rates", "searched, alike for all" if figures["search"] else "the same for all, not searched"),
        ("episodes whose world broke", str(sum(a["episodes_broken"] for a in figures["arms"].values()))),
        ("test pages that a training had met too", _met(figures)),
    ]
    return page.rows(("", ""), lines)


def search() -> str:
    """What the rates brought in the search."""
    found = _figures()["search"]
    if not found:
        return "No search was made."
    rates = list(next(iter(found.values())))
    head = ("arm", *(f"late success at {rate}" for rate in rates))
    return page.rows(head, [(f"`{arm}`", *(f"{v:.2f}" for v in row.values())) for arm, row in found.items()])


def curves() -> str:
    """Where the picture is."""
    _saved()
    return "![Training success by browser steps](../benchmarks/results/web_learning.svg)"


def _if_measured(table: Callable[[], str]) -> Callable[[], str]:
    def made() -> str:
        try:
            return table()
        except FileNotFoundError:
            return "Not measured yet."

    return made


_MADE = {
    "run": run,
    "search": search,
    "arms": arms,
    "curves": curves,
    "tasks": tasks,
    "differences": differences,
    "mechanism": mechanism,
}
TABLES: page.Tables = {name: _if_measured(table) for name, table in _MADE.items()}


def written(text: str) -> str:
    """The page with its marked tables as saved; they say so where nothing is."""
    return page.written(text, TABLES)


# ------------------------------------------------------------------ the picture


def picture() -> str:
    """Training success by browser steps as an SVG: all tasks together, then each."""
    figures = _figures()
    panels = ["all five together", *figures["tasks"]]
    width = _LEFT + 3 * (_W + _GAP)
    height = 2 * (_TOP + _H + _BELOW) + 30
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for k, title in enumerate(panels):
        left, top = _LEFT + k % 3 * (_W + _GAP), _TOP + k // 3 * (_TOP + _H + _BELOW - 20)
        parts += _panel(figures, title, k, left, top)
    for k, arm in enumerate(figures["arms"]):
        x, y = _LEFT + 150 * k, height - 16
        colour = _COLOURS[k % len(_COLOURS)]
        parts.append(f'<line x1="{x}" x2="{x + 22}" y1="{y}" y2="{y}" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{x + 28}" y="{y + 4}">{escape(arm)}</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _panel(figures: dict[str, Any], title: str, number: int, left: int, top: int) -> list[str]:
    budget = figures["steps"]
    parts = [f'<text x="{left + _W / 2}" y="{top - 8}" text-anchor="middle">{escape(title)}</text>']
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = top + _H * (1 - share)
        parts.append(f'<line x1="{left}" x2="{left + _W}" y1="{y:.1f}" y2="{y:.1f}" stroke="#dddddd"/>')
        parts.append(f'<text x="{left - 5}" y="{y + 4:.1f}" text-anchor="end" fill="#444444">{share:.0%}</text>')
    for steps in (0, budget // 2, budget):
        x = left + _W * steps / budget
        parts.append(f'<text x="{x:.1f}" y="{top + _H + 15}" text-anchor="middle" fill="#444444">{steps:,}</text>')
    parts.append(
        f'<text x="{left + _W / 2}" y="{top + _H + 30}" text-anchor="middle" fill="#444444">browser steps</text>'
    )
    for k, row in enumerate(figures["arms"].values()):
        curve = row["curve"]
        values = curve["success"] if number == 0 else curve["by_task"][number - 1]
        points = " ".join(
            f"{left + _W * steps / budget:.1f},{top + _H * (1 - value):.1f}"
            for steps, value in zip(curve["steps"], values, strict=True)
        )
        colour = _COLOURS[k % len(_COLOURS)]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
    return parts


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
    PICTURE.write_text(picture())
