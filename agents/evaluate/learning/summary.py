"""What a study says: area under the success curve first, with intervals, and paired differences to the reference.

The unit is a run. Tasks are chosen, not drawn: the bootstrap resamples seeds inside each of them. Differences are taken
between runs of one task and seed, which share start, instances and draws; their p-values (sign flips) are corrected for
all the arms compared with the reference (Holm).
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.agents.evaluate.learning.study import Result, Study
from agentgym.agents.evaluate.stats import Interval, bootstrap, holm, iqm, paired_bootstrap, sign_flip_test
from agentgym.errors import UsageError

__all__ = ["Row", "Summary", "summary", "verdict", "write_csv"]

Float = npt.NDArray[np.float64]
ALPHA = 0.05


@dataclass(frozen=True)
class Row:
    """One arm.

    Attributes:
        arm: name. lr: its learning rate.
        area: interquartile mean of the areas. mean: their mean. final: mean success of the last tenth of the updates.
        difference: mean of (this arm - reference) over pairs; None for the reference. p, p_holm: of "no difference".
    """

    arm: str
    lr: float
    area: Interval
    mean: float
    final: float
    difference: Interval | None
    p: float
    p_holm: float

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        d = self.difference
        return {
            "arm": self.arm,
            "lr": self.lr,
            "iqm": self.area.value,
            "low": self.area.low,
            "high": self.area.high,
            "mean": self.mean,
            "final": self.final,
            "n": self.area.n,
            "difference": None if d is None else d.value,
            "difference_low": None if d is None else d.low,
            "difference_high": None if d is None else d.high,
            "p": None if d is None else self.p,
            "p_holm": None if d is None else self.p_holm,
        }


@dataclass(frozen=True)
class Summary:
    """Rows over ``tasks`` together, in the order of the plan; ``pairs``: runs behind each."""

    tasks: tuple[str, ...]
    pairs: int
    rows: Sequence[Row]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"tasks": list(self.tasks), "pairs": self.pairs, "arms": [row.as_dict() for row in self.rows]}


def summary(study: Study, *, tasks: Iterable[str] | None = None, seed: int = 0) -> Summary:
    """Summarise some tasks of a study together. A task and seed counts once all arms have run it.

    Args:
        study: at least one task and seed that all arms have run.
        tasks: None for all.
        seed: of bootstrap and test.

    Raises:
        UsageError: nothing is complete.
    """
    wanted = tuple(study.plan.tasks if tasks is None else tasks)
    table = {(r.task, r.seed, r.arm): r for r in study.results if r.task in wanted}
    arms = study.plan.arms
    blocks = [b for b in dict.fromkeys((t, s) for t, s, _ in table) if all((*b, arm) in table for arm in arms)]
    if not blocks:
        raise UsageError(f"no seed of {', '.join(wanted)} is complete yet; run the study on")
    strata = np.array([t for t, _ in blocks])
    rng = np.random.default_rng(seed)
    runs = {arm: [table[t, s, arm] for t, s in blocks] for arm in arms}
    areas = {arm: np.array([r.area for r in rs]) for arm, rs in runs.items()}
    reference = areas[arms[0]]
    p = [sign_flip_test(areas[arm] - reference, rng) for arm in arms[1:]]
    corrected = [1.0, *holm(p).tolist()]
    rows = [
        Row(
            arm,
            study.rates[arm],
            bootstrap(areas[arm], rng, strata=strata, statistic=iqm),
            float(areas[arm].mean()),
            float(np.mean([_final(r) for r in runs[arm]])),
            None if k == 0 else paired_bootstrap(reference, areas[arm], rng, strata=strata),
            1.0 if k == 0 else p[k - 1],
            corrected[k],
        )
        for k, arm in enumerate(arms)
    ]
    return Summary(tuple(dict.fromkeys(strata.tolist())), len(blocks), rows)


def verdict(row: Row) -> str:
    """Whether a claimed gain over the reference shows: its 95 % interval lies above 0, below, or holds it."""
    if row.difference is None:
        raise UsageError("the reference is not compared with itself")
    if row.difference.low > 0:
        return "reproduced"
    return "not reproduced" if row.difference.high < 0 else "not distinguishable"


def write_csv(path: Path, studies: Iterable[Study]) -> None:
    """One line a run; a run that two studies share stands once."""
    lines: dict[tuple[str, str, str, int, float], dict[str, Any]] = {}
    for study in studies:
        for r in study.results:
            lines[study.plan.name, r.task, r.arm, r.seed, r.lr] = {
                "study": study.plan.name,
                "task": r.task,
                "arm": r.arm,
                "seed": r.seed,
                "lr": r.lr,
                "area": round(r.area, 5),
                "final": round(_final(r), 5),
                "held_out": r.found.get("after", {}).get("success", ""),
                "skipped": r.found["skipped"],
                "start": r.found["start"],
                "cpu_seconds": r.found["cpu_seconds"],
            }
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(next(iter(lines.values()))), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines.values())


def _final(r: Result) -> float:
    """Success over the last tenth of the updates."""
    success = r.found["success"]
    return float(np.mean(success[-max(1, len(success) // 10) :]))
