"""Which credit assigners learn faster: eight with a small network, four with a transformer, and the claims of papers.

Runs what is missing in runs/learning and prints area under the success curve, with 95 % intervals and differences to
GRPO that are paired by task and seed. A killed run goes on where it was; --seconds stops between two runs, to be gone
on with later; --found runs nothing and reports what is there. With --save the runs go into results/learning.csv, the
curves into results/learning.svg. CPU seconds in full: about 600 for the small network, 900 for the transformer;
--quick: 15, one small task, four seeds, three assigners.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import common

from agentgym.agents.evaluate.learning import Study, Summary, found, picture, run, write_csv
from agentgym.agents.evaluate.learning.parts import PARTS, parts, tables, verdicts
from agentgym.errors import AgentGymError


def main() -> None:
    parser = common.parser(__doc__ or "")
    parser.add_argument("--out", type=Path, default=Path("runs/learning"), help="where runs are kept")
    parser.add_argument("--part", action="append", choices=PARTS, help="these parts alone")
    parser.add_argument("--found", action="store_true", help="run nothing, report what is there")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="after so long, stop between two runs")
    options = parser.parse_args()
    tick = _until(time.monotonic() + options.seconds)
    figures: dict[str, Any] = {}
    studies: list[tuple[str, Study]] = []
    for name, plan, runner in parts(options.part or (), quick=options.quick):
        try:
            folder = options.out / plan.name
            study = found(plan, runner, folder) if options.found else run(plan, runner, folder, tick=tick)
            shown = tables(study)
        except AgentGymError as error:
            if not options.found:
                raise
            print(f"\n{name}: {error}")
            continue
        studies.append((name, study))
        figures[name] = {
            "missing_runs": study.missing,
            "cpu_seconds": round(study.cpu_seconds, 1),
            "rates": dict(study.rates),
            "tables": [table.as_dict() for table in shown],
        }
        for table in shown:
            _show(name, table)
        if name == "claims":
            figures[name]["verdicts"] = said = verdicts(shown[0])
            for claim in said:
                print(f"{claim['recipe']:28}{claim['claim']:64}{claim['verdict']}")
    if options.save:
        common.RESULTS.mkdir(exist_ok=True)
        write_csv(common.RESULTS / "learning.csv", [study for _, study in studies])
        drawn = [(_TITLES[name], study) for name, study in studies if name in _TITLES]
        (common.RESULTS / "learning.svg").write_text(picture.curves(drawn))
    common.finish("learning", figures, options)


_TITLES = {"small": "Small network: success while training", "transformer": "Transformer: success while training"}


def _until(end: float) -> Callable[[int, int], None]:
    def tick(done: int, of: int) -> None:
        if done < of and time.monotonic() > end:
            raise SystemExit(f"the time is up: {done} of {of} runs are there; start again to go on")

    return tick


def _show(name: str, table: Summary) -> None:
    print(f"\n{name}: {', '.join(table.tasks)}; {table.pairs} runs an arm")
    print(f"{'arm':34}{'lr':>7}{'IQM':>8}  {'95 %':16}{'final':>7}{'- ref':>9}  {'95 %':18}{'p (Holm)':>8}")
    for row in table.rows:
        line = (
            f"{row.arm:34}{row.lr:7g}{row.area.value:8.3f}  [{row.area.low:.3f} {row.area.high:.3f}]   {row.final:6.3f}"
        )
        if row.difference is not None:
            d = row.difference
            line += f"{d.value:+9.3f}  [{d.low:+.3f} {d.high:+.3f}]  {row.p_holm:8.4f}"
        print(line)


if __name__ == "__main__":
    main()
