"""The tables of docs/learning.md, made from what is saved in benchmarks/results/.

python benchmarks/learning_tables.py     # writes them into the page
"""

from __future__ import annotations

import json
from typing import Any

import common
import page

PAGE = common.RESULTS.parent.parent / "docs" / "learning.md"


def _saved(name: str) -> Any:
    return json.loads((common.RESULTS / f"{name}.json").read_text())["figures"]


def _span(low: float, high: float) -> str:
    return f"[{low:.2f}, {high:.2f}]"


def _difference(arm: dict[str, Any]) -> str:
    if arm.get("difference") is None:
        return ""
    return f"{arm['difference']:+.2f} [{arm['difference_low']:+.2f}, {arm['difference_high']:+.2f}]"


def _arms(table: dict[str, Any]) -> str:
    head = ("assigner", "area (IQM)", "95 %", "success at the end", "difference to GRPO", "p (Holm)")
    lines = []
    for a in sorted(table["arms"], key=lambda a: -a["iqm"]):
        p = "" if a["p_holm"] is None else f"{a['p_holm']:.4f}"
        span = _span(a["low"], a["high"])
        lines.append((f"`{a['arm']}`", f"{a['iqm']:.2f}", span, f"{a['final']:.2f}", _difference(a), p))
    return page.rows(head, lines)


def small() -> str:
    """Eight assigners, all tasks together."""
    return _arms(_saved("learning")["small"]["tables"][0])


def tasks() -> str:
    """The area of each assigner on each task."""
    whole, *each = _saved("learning")["small"]["tables"]
    order = [a["arm"] for a in sorted(whole["arms"], key=lambda a: -a["iqm"])]
    found = [{a["arm"]: a for a in table["arms"]} for table in each]
    lines = [
        (f"`{arm}`", *(f"{f[arm]['iqm']:.2f} {_span(f[arm]['low'], f[arm]['high'])}" for f in found)) for arm in order
    ]
    return page.rows(("assigner", *(table["tasks"][0] for table in each)), lines)


def claims() -> str:
    """What papers claim, and what was found of it."""
    lines = []
    for v in _saved("learning")["claims"]["verdicts"]:
        told = "; ".join(filter(None, (v["reads"], v["why"] if v["arm"] else "")))
        lines.append((f"`{v['recipe']}`", v["claim"], told, _difference(v), v["verdict"]))
    return page.rows(
        ("recipe", "the paper's claim", "told beside outcomes; other", "difference to GRPO", "here"), lines
    )


def transformer() -> str:
    """Four recipes with a transformer."""
    return _arms(_saved("learning")["transformer"]["tables"][0])


def danger() -> str:
    """The limit on danger."""
    head = (
        "task",
        "danger, free",
        "danger, limited",
        "worst seed",
        "success, free",
        "success, limited",
        "kept",
        "passes",
    )
    lines = []
    for row in _saved("danger")["tasks"]:
        cells = [f"{row[k][0]:.3f} {_span(row[k][1], row[k][2])}" for k in ("free", "limited")]
        success = [f"{row[k][0]:.2f} {_span(row[k][1], row[k][2])}" for k in ("free_success", "limited_success")]
        lines.append(
            (
                row["task"],
                *cells,
                f"{row['worst']:.3f}",
                *success,
                f"{row['kept']:.2f}",
                "yes" if row["passes"] else "**no**",
            )
        )
    return page.rows(head, lines)


TABLES: page.Tables = {
    "small": small,
    "tasks": tasks,
    "claims": claims,
    "transformer": transformer,
    "danger": danger,
}


def written(text: str) -> str:
    """The page with its marked tables as saved."""
    return page.written(text, TABLES)


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text()))
