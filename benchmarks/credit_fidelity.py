"""How near credit assigners come to the exact policy gradient: on the grids they were tried on, and on held-out ones.

Two studies of the same form (four success rates, anchor dilution 1, 16 and 64, five qualities of progress): the
development worlds, and the worlds that were named before anything was run on them. The claims are read off the second.
CPU seconds: about 180 in full, 10 with --quick (exact progress, undiluted anchors, two success rates).
"""

from __future__ import annotations

import csv
import time
from typing import Any

import common

from agentgym.rewards import audit


def main() -> None:
    options = common.parser(__doc__ or "").parse_args()
    figures: dict[str, Any] = {}
    cells: list[dict[str, Any]] = []
    for name, worlds in (("development", audit.DEVELOPMENT), ("held_out", audit.HELD_OUT)):
        began = time.process_time()
        settings = audit.quick(worlds) if options.quick else audit.dilution_and_progress(worlds)
        found = audit.study(settings, [audit.named(n) for n in audit.STANDARD], batches=4, alone=1)
        figures[name] = {
            "settings": len(settings),
            "cpu_seconds": round(time.process_time() - began, 1),
            "assigners": _rounded(found.rows()),
            "contrasts": _rounded(found.contrasts()),
            "cos@1": _rounded(found.by_kind()),
            "mixed": _rounded(found.by_kind("mixed")),
            "alone": _rounded(found.by_kind("alone")),
        }
        cells += [{"study": name, **row} for row in _rounded(found.cells())]
        _show(name, found)
    if options.save:
        _save(cells)
    common.finish("credit_fidelity", figures, options)


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
        writer = csv.DictWriter(file, list(cells[0]))
        writer.writeheader()
        writer.writerows(cells)


if __name__ == "__main__":
    main()
