"""How near credit assigners come to the exact policy gradient: on the grids they were tried on, and on held-out ones.

*development* and *held_out*: four success rates; anchor dilution 1, 16 and 64; five qualities of progress; on the
worlds that measures and assigners were tried on, and on worlds that were named before anything was run on them.
*sizes*: groups of 4, 8 and 16, horizons of 2, 3 and 5 shortest ways, on the held-out worlds. *cells* and *cells_2*: HTD
and what it is held against, in the twelve cells of dilution and progress (none reversed), on the held-out worlds, which
had been looked at when HTD was made, and on a second set, which had not.

    python benchmarks/credit_fidelity.py [--study NAME]... [--quick] [--save] [--json]
    python benchmarks/credit_fidelity.py --tables    # from what is saved, the tables of docs/fidelity.md

``--save`` replaces the studies that ran, and leaves the others as they were saved; every study has its date and its
cost. ``--quick``: exact progress, undiluted anchors, two success rates, no study of sizes.
"""

from __future__ import annotations

import argparse
import csv
import datetime
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import common
import fidelity_tables

from agentgym.rewards import audit

WORLDS = {
    "development": audit.DEVELOPMENT,
    "held_out": audit.HELD_OUT,
    "sizes": audit.HELD_OUT,
    "cells": audit.HELD_OUT,
    "cells_2": audit.HELD_OUT_2,
}

COMPARED = ("exact", "htd", *audit.RIVALS, "rloo")
"""What the studies of cells are run with: those that the claim names, the ceiling and the floor."""


def main() -> None:
    arguments = common.parser(__doc__ or "")
    arguments.add_argument("--study", choices=list(WORLDS), action="append", help="only these")
    arguments.add_argument(
        "--tables", action="store_true", help="run nothing; write the page's tables from what is saved"
    )
    options = arguments.parse_args()
    if options.tables:
        page = fidelity_tables.PAGE
        page.write_text(fidelity_tables.written(page.read_text()))
        return
    figures: dict[str, Any] = {}
    for name in options.study or [n for n in WORLDS if not (options.quick and n == "sizes")]:
        began = time.process_time()
        settings = _settings(name, options.quick)
        of_cells = name.startswith("cells")
        measured = [audit.named(n) for n in (COMPARED if of_cells else audit.STANDARD)]
        study = audit.study(settings, measured, batches=2 if of_cells else 4, tick=_tick(name))
        figures[name] = {
            "date": datetime.date.today().isoformat(),
            "settings": len(settings),
            "cpu_seconds": round(time.process_time() - began, 1),
            "assigners": _rounded(study.rows()),
            "contrasts": _rounded(study.contrasts()),
            "margins": _rounded(study.margins()),
            "cos@1": _rounded(study.by_kind()),
            "mixed": _rounded(study.by_kind("mixed")),
            "alone": _rounded(study.by_kind("alone")),
            "cos@16": _rounded(study.by_kind("cos@16")),
            "by_rate": _by(study, lambda s: s.success_rate),
            "by_size": _by(study, lambda s: s.size),
            "by_stretch": _by(study, lambda s: s.stretch),
            "exact": _rounded(_where_exact(study).rows()),
        }
        _show(name, study)
        if options.save:
            _save(name, _rounded(study.cells()))
            earlier = common.saved("credit_fidelity")
            figures = {**{n: earlier[n] for n in WORLDS if n in earlier}, **figures}
            common.finish("credit_fidelity", figures, argparse.Namespace(save=True, json=False))
    common.finish("credit_fidelity", figures, argparse.Namespace(save=False, json=options.json))


def _settings(name: str, quick: bool) -> list[audit.Setting]:
    worlds = WORLDS[name]
    if name == "sizes":
        return audit.sizes_and_horizons(worlds)
    if quick:
        return audit.quick(worlds)
    if name.startswith("cells"):
        return audit.dilution_and_progress(worlds, progress=("exact", "noisy", "manhattan", "none"))
    return audit.dilution_and_progress(worlds)


def _tick(name: str) -> Callable[[int, int], None]:
    def tick(done: int, of: int) -> None:
        print(f"{name}: {done} of {of} settings, {time.process_time():.0f} CPU-seconds", file=sys.stderr, flush=True)

    return tick


def _where_exact(study: audit.CreditStudy) -> audit.CreditStudy:
    """The settings with the task's own progress and anchors that repeat."""
    chosen = [j for j, s in enumerate(study.settings) if s.dilution == 1 and s.progress == "exact"]
    return replace(
        study,
        settings=tuple(study.settings[j] for j in chosen),
        figures={figure: values[:, chosen] for figure, values in study.figures.items()},
        curves=tuple(study.curves[j] for j in chosen),
    )


def _by(study: audit.CreditStudy, key: Callable[[audit.Setting], float]) -> list[dict[str, Any]]:
    """Mean cos@1 of every assigner at every value of something; none where it has but one value."""
    values = sorted({key(s) for s in study.settings})
    if len(values) == 1:
        return []
    return _rounded([{"value": v, **_means(study, lambda s, v=v: key(s) == v)} for v in values])


def _means(study: audit.CreditStudy, where: Callable[[audit.Setting], bool]) -> dict[str, float]:
    return {name: study.mean(name, "cos@1", where).value for name in study.assigners}


def _show(name: str, found: audit.CreditStudy) -> None:
    print(f"\n{name}: {len(found.settings)} settings")
    print(f"{'assigner':34}{'cos@1':>7}  {'95 %':15}{'cos@16':>8}{'alone':>7}{'mixed':>7}")
    for row in found.rows():
        interval = f"[{row['low']:6.3f} {row['high']:6.3f}]"
        others = f"{row['cos@16']:8.3f}{row['alone']:7.3f}{row['mixed']:7.3f}"
        print(f"{row['assigner']:34}{row['cos@1']:7.3f}  {interval}{others}")
    for c in found.contrasts():
        interval = f"[{c['low']:6.3f} {c['high']:6.3f}]"
        print(f"{c['kind']:16}{c['figure']:7}{c['a']:>5} - {c['b']:34}{c['difference']:7.3f} {interval}")


def _rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: round(v, 4) if isinstance(v, float) else v for k, v in row.items()} for row in rows]


def _save(study: str, cells: list[dict[str, Any]]) -> None:
    """One row per assigner and setting; those of other studies stay."""
    common.RESULTS.mkdir(exist_ok=True)
    path = common.RESULTS / "credit_fidelity.csv"
    others = []
    if path.exists():
        with path.open(newline="") as file:
            others = [row for row in csv.DictReader(file) if row["study"] != study]
    rows = [*others, *({"study": study, **cell} for cell in cells)]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(rows, key=lambda row: list(WORLDS).index(row["study"])))


if __name__ == "__main__":
    main()
