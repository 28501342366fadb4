"""The figures of a study against plain loops, and what is said of a claim."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from agentgym.agents.evaluate.learning import picture
from agentgym.agents.evaluate.learning.study import Plan, Result, Study
from agentgym.agents.evaluate.learning.summary import summary, verdict, write_csv
from agentgym.errors import UsageError

PLAN = Plan("p", ("t", "u"), ("ref", "good", "same"), seeds=(0, 1, 2, 3, 4), rates=(0.1,))


def study(gain: float = 0.2, leave_out: tuple[str, int, str] | None = None) -> Study:
    rng = np.random.default_rng(5)
    results = []
    for task, seed in itertools.product(PLAN.tasks, PLAN.seeds):
        level = 0.4 * (task == "u") + 0.1 * rng.random()
        for arm in PLAN.arms:
            area = level + (arm == "good") * gain + 0.02 * rng.normal()
            found = {"area": area, "success": [0.0] * 18 + [0.5, area], "skipped": 1, "start": "s", "cpu_seconds": 1.0}
            if (task, seed, arm) != leave_out:
                results.append(Result(task, arm, seed, 0.1, found))
    return Study(PLAN, dict.fromkeys(PLAN.arms, 0.1), results, {}, 1.0)


def plain_iqm(values: list[float]) -> float:
    ordered = sorted(values)
    cut = len(ordered) // 4
    middle = ordered[cut : len(ordered) - cut]
    return sum(middle) / len(middle)


def plain_sign_flips(differences: list[float]) -> float:
    observed = abs(sum(differences))
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed - 1e-12 for total in sums) / len(sums)


def test_figures_equal_plain_loops() -> None:
    s = study()
    areas = {a: {(r.task, r.seed): r.area for r in s.results if r.arm == a} for a in PLAN.arms}
    rows = {row.arm: row for row in summary(s).rows}
    p = {}
    for arm in PLAN.arms:
        assert rows[arm].area.value == pytest.approx(plain_iqm(list(areas[arm].values())))
        assert rows[arm].mean == pytest.approx(sum(areas[arm].values()) / 10)
        assert rows[arm].final == pytest.approx(sum((0.5 + x) / 2 for x in areas[arm].values()) / 10)
        assert rows[arm].area.low < rows[arm].area.value < rows[arm].area.high
        if arm != "ref":
            d = [areas[arm][k] - areas["ref"][k] for k in areas["ref"]]
            difference = rows[arm].difference
            assert difference is not None
            assert difference.value == pytest.approx(sum(d) / 10)
            p[arm] = plain_sign_flips(d)
            assert rows[arm].p == pytest.approx(p[arm])
    small, large = sorted(p.values())
    assert rows[min(p, key=p.__getitem__)].p_holm == pytest.approx(min(1.0, 2 * small))
    assert rows[max(p, key=p.__getitem__)].p_holm == pytest.approx(min(1.0, max(2 * small, large)))


def test_tasks_are_strata_and_pairs_take_out_what_seeds_share() -> None:
    rows = {row.arm: row for row in summary(study(gain=0.0)).rows}
    spread = rows["same"].area.high - rows["same"].area.low
    difference = rows["same"].difference
    assert difference is not None
    assert spread < 0.2, "tasks 0.4 apart do not widen the interval"
    assert difference.high - difference.low < spread


def test_a_seed_counts_once_every_arm_has_run_it() -> None:
    part = study(leave_out=("u", 3, "good"))
    assert (summary(part).pairs, part.missing) == (9, 1)
    assert summary(part, tasks=["t"]).tasks == ("t",)
    with pytest.raises(UsageError, match="no seed of v is complete"):
        summary(part, tasks=["v"])


def test_verdicts_follow_the_interval() -> None:
    said = {
        gain: verdict(next(row for row in summary(study(gain)).rows if row.arm == "good")) for gain in (0.2, 0.0, -0.2)
    }
    assert said == {0.2: "reproduced", 0.0: "not distinguishable", -0.2: "not reproduced"}
    with pytest.raises(UsageError, match="itself"):
        verdict(summary(study()).rows[0])


def test_the_csv_has_a_run_a_line_and_shared_runs_once(tmp_path: Path) -> None:
    s = study()
    write_csv(tmp_path / "runs.csv", [s, s])
    with (tmp_path / "runs.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == 30
    assert float(lines[0]["area"]) == pytest.approx(s.results[0].area, abs=1e-5)


def test_the_picture_has_a_panel_a_task_and_a_line_an_arm() -> None:
    from xml.etree import ElementTree

    drawn = ElementTree.fromstring(picture.curves([("A & B", study())]))
    space = "{http://www.w3.org/2000/svg}"
    lines = drawn.findall(f"{space}polyline")
    assert len(lines) == 2 * 3
    assert len(lines[0].get("points", "").split()) == 20
    words = [t.text for t in drawn.findall(f"{space}text")]
    assert "A & B" in words
    assert {"t, 5 seeds", "u, 5 seeds", "good"} <= set(words)
