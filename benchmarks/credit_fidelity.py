"""How near credit assigners come to the exact policy gradient: on the grids they were tried on, and on held-out ones.

Three studies. *development* and *held_out* are of one form (four success rates; anchor dilution 1, 16 and 64; five
qualities of progress), on the worlds that measures and assigners were tried on, and on worlds that were named before
anything was run on them: claims are read off the second. *sizes* has groups of 4, 8 and 16 and horizons of 2, 3 and 5
shortest ways on the held-out worlds. CPU seconds: about 250 in full, 15 with --quick (exact progress, undiluted
anchors, two success rates, no third study).
"""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from typing import Any

import common
import numpy as np

from agentgym.rewards import audit
from agentgym.rewards.audit.measures import spearman


def main() -> None:
    options = common.parser(__doc__ or "").parse_args()
    studies = {"development": _grid(audit.DEVELOPMENT, options.quick), "held_out": _grid(audit.HELD_OUT, options.quick)}
    if not options.quick:
        studies["sizes"] = audit.sizes_and_horizons(audit.HELD_OUT)
    figures: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    found: dict[str, audit.CreditStudy] = {}
    for name, settings in studies.items():
        began = time.process_time()
        study = audit.study(settings, [audit.named(n) for n in audit.STANDARD], batches=4)
        found[name] = study
        figures[name] = {
            "settings": len(settings),
            "cpu_seconds": round(time.process_time() - began, 1),
            "assigners": _rounded(study.rows()),
            "contrasts": _rounded(study.contrasts()),
            "cos@1": _rounded(study.by_kind()),
            "mixed": _rounded(study.by_kind("mixed")),
            "alone": _rounded(study.by_kind("alone")),
            "by_rate": _by(study, lambda s: s.success_rate),
            "by_size": _by(study, lambda s: s.size),
            "by_stretch": _by(study, lambda s: s.stretch),
        }
        cells += [{"study": name, **row} for row in _rounded(study.cells())]
        _show(name, study)
    figures["ranks"] = _ranks(found)
    print("\nrank correlation of the assigners' order:", figures["ranks"])
    if options.save:
        _save(cells)
    common.finish("credit_fidelity", figures, options)


def _grid(worlds: tuple[audit.World, ...], quick: bool) -> list[audit.Setting]:
    return audit.quick(worlds) if quick else audit.dilution_and_progress(worlds)


def _by(study: audit.CreditStudy, key: Callable[[audit.Setting], float]) -> list[dict[str, Any]]:
    """Mean cos@1 of every assigner at every value of something; none where it has but one value."""
    values = sorted({key(s) for s in study.settings})
    if len(values) == 1:
        return []
    return _rounded([{"value": v, **_means(study, lambda s, v=v: key(s) == v)} for v in values])


def _means(study: audit.CreditStudy, where: Callable[[audit.Setting], bool]) -> dict[str, float]:
    return {name: study.mean(name, "cos@1", where).value for name in study.assigners}


def _ranks(found: dict[str, audit.CreditStudy]) -> dict[str, float]:
    """Does the quick form rank as the full one does, and do the studies agree, where progress is exact?"""
    six = {(s.world.name, s.success_rate) for s in audit.quick()}

    def exact(s: audit.Setting) -> bool:
        return s.dilution == 1 and s.progress == "exact"

    def quick(s: audit.Setting) -> bool:
        return exact(s) and (s.world.name, s.success_rate) in six

    full = np.array(list(_means(found["development"], exact).values()))
    held_out = np.array(list(_means(found["held_out"], exact).values()))
    short = np.array(list(_means(found["development"], quick).values()))
    return {
        "six settings with development": round(spearman(short, full), 3),
        "six settings with held_out": round(spearman(short, held_out), 3),
        "development with held_out": round(spearman(full, held_out), 3),
    }


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


def _save(cells: list[dict[str, Any]]) -> None:
    common.RESULTS.mkdir(exist_ok=True)
    with (common.RESULTS / "credit_fidelity.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(cells[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(cells)


if __name__ == "__main__":
    main()
