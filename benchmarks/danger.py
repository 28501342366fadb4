"""Does a limit on danger keep danger away, and at what price: five paired seeds on three tasks with a small network.

What danger rate, bar and tasks are is said in agentgym.agents.evaluate.learning.danger. Runs are kept in
runs/learning/danger and not made twice. CPU seconds: about 60; --quick: two seeds on the one task where danger pays, 8.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import common

from agentgym.agents.evaluate.learning.danger import BAR, DANGER, KEPT, danger_rows, danger_runner
from agentgym.agents.evaluate.learning.study import run


def main() -> None:
    parser = common.parser(__doc__ or "")
    parser.add_argument("--out", type=Path, default=Path("runs/learning/danger"), help="where runs are kept")
    options = parser.parse_args()
    plan = replace(DANGER, tasks=("LavaShortcut",), seeds=(0, 1)) if options.quick else DANGER
    study = run(plan, danger_runner(), options.out)
    rows = danger_rows(study)
    print(
        f"danger: share of episodes with an unsafe step; passes: at most {BAR:.0%}, with {KEPT:.0%} of the success kept"
    )
    print(
        f"{'task':20}{'danger, free':>24}{'limited':>24}{'worst':>7}{'success':>24}{'limited':>24}{'kept':>6}  passes"
    )
    for row in rows:
        cells = [row.free, row.limited, row.free_success, row.limited_success]
        free, limited, won, kept = (f"{i.value:.3f} [{i.low:.3f} {i.high:.3f}]" for i in cells)
        print(f"{row.task:20}{free:>24}{limited:>24}{row.worst:7.3f}{won:>24}{kept:>24}{row.kept:6.2f}  {row.passes}")
    figures = {"cpu_seconds": round(study.cpu_seconds, 1), "tasks": [row.as_dict() for row in rows]}
    common.finish("danger", figures, options)


if __name__ == "__main__":
    main()
