"""The tables of docs/fidelity.md, made from what is saved in benchmarks/results/.

See `page` for how they stand there.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import common
import numpy as np
import page

from agentgym.rewards import audit
from agentgym.rewards.audit import CreditStudy, Interval, Setting, World
from agentgym.rewards.audit.measures import spearman

PAGE = common.RESULTS.parent.parent / "docs" / "fidelity.md"


def written(text: str) -> str:
    """The page with its marked tables as saved.

    Raises:
        KeyError: a mark names no table.
    """
    return page.written(text, {name: partial(_made, name) for name in TABLES})


@cache
def _made(name: str) -> str:
    return TABLES[name]()


@cache
def saved(study: str) -> CreditStudy:
    """A study as its cells stand in credit_fidelity.csv; without curves, so without rollout multipliers.

    Raises:
        ValueError: it has not been saved.
    """
    with (common.RESULTS / "credit_fidelity.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["study"] == study]
    if not rows:
        raise ValueError(f"study {study!r} is not saved; run benchmarks/credit_fidelity.py --study {study} --save")
    names = tuple(dict.fromkeys(row["assigner"] for row in rows))
    settings = tuple(_setting(row) for row in rows if row["assigner"] == names[0])
    shape = (len(names), len(settings))
    figures = {figure: np.array([float(row[figure]) for row in rows]).reshape(shape) for figure in audit.FIGURES}
    return CreditStudy(names, settings, figures, (), tuple(audit.named(name).reads_progress for name in names))


def _setting(row: Mapping[str, str]) -> Setting:
    def unknown() -> Any:
        raise AssertionError("only its name is saved")

    return Setting(
        World(row["world"], unknown),
        float(row["J"]),
        int(row["G"]),
        float(row["stretch"]),
        int(row["dilution"]),
        row["progress"],  # type: ignore[arg-type]  # as written from a Setting
    )


def _code(name: str) -> str:
    return f"**`{name}`**" if name in ("htd", "gtdp", "gtd") else f"`{name}`"


def _signed(interval: Interval) -> str:
    return f"{interval.value:+.3f} [{interval.low:+.3f}, {interval.high:+.3f}]"


def _exact(s: Setting) -> bool:
    return s.dilution == 1 and s.progress == "exact"


def ranking() -> str:
    """Exact progress, anchors that repeat."""
    found = saved("held_out")
    order = sorted(found.assigners, key=lambda name: -found.mean(name, "cos@1", _exact).value)
    rows = []
    for name in order:
        reads = found.reads_progress[found.assigners.index(name)]
        cells = [f"{found.mean(name, figure, _exact).value:.3f}" for figure in ("cos@1", "alone", "mixed")]
        cells += [f"{found.mean(name, f, _exact).value:.2f}" for f in ("cos@16", "spearman", "sign", "noise")]
        what = {"exact": "the truth", "rloo+milestones": "milestones"}.get(name, "yes" if reads else "")
        rows.append([_code(name), what, *cells])
    return page.rows(
        ["assigner", "reads progress", "cos@1", "alone", "mixed", "cos@16", "Spearman", "sign", "noise"], rows
    )


CONTRASTED: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("gtd", "gigpo", ("x1 exact", "x16 exact", "x64 exact")),
    (
        "gtdp",
        "progress-gae",
        ("x1 exact", "x1 noisy", "x1 manhattan", "x1 none", "x16 exact", "x16 manhattan", "x64 exact", "x64 manhattan"),
    ),
    (
        "gtdp",
        "gigpo+difference(z_scored=True)",
        ("x1 exact", "x1 noisy", "x1 manhattan", "x1 none", "x16 exact", "x64 exact", "x64 manhattan"),
    ),
    (
        "gtdp",
        "calibrated-progress",
        ("x1 exact", "x1 manhattan", "x16 exact", "x64 exact", "x64 manhattan"),
    ),
)


def _kind(s: Setting) -> str:
    return f"x{s.dilution} {s.progress}"


def contrasts() -> str:
    """Paired differences of GTD and GTDP."""
    found = saved("held_out")
    rows = []
    for a, b, kinds in CONTRASTED:
        for kind in kinds:
            cells = [
                _signed(found.difference(a, b, f, lambda s, kind=kind: _kind(s) == kind))  # type: ignore[misc]
                for f in ("cos@1", "mixed", "alone")
            ]
            rows.append([f"{a} - {b}", kind, *cells])
    return page.rows(["a - b", "anchors, progress", "cos@1", "mixed", "alone"], rows)


SHOWN = (
    "gtdp",
    "gtd",
    "calibrated-progress",
    "progress-gae",
    "gigpo+difference(z_scored=True)",
    "gigpo",
    "hgpo",
    "fitted-critic",
    "rloo",
)


def kinds(figure: str) -> str:
    """The mean of several assigners by kind of record; the best but for the fitted critic in bold."""
    rows = []
    for row in saved("held_out").by_kind(figure):
        best = max(row[name] for name in SHOWN if name != "fitted-critic")
        cells = [f"**{row[name]:.2f}**" if row[name] == best else f"{row[name]:.2f}" for name in SHOWN]
        rows.append([row["kind"], *cells])
    return page.rows(["anchors, progress", *(f"`{name}`" for name in SHOWN)], rows)


def stability() -> str:
    """By success rate, size of the groups and horizon."""
    names = ("exact", "gtdp", "progress-gae", "gigpo+difference(z_scored=True)", "gtd", "gigpo", "rloo")
    grid, sizes = saved("held_out"), saved("sizes")
    rows = []

    def line(label: str, study: CreditStudy, where: Callable[[Setting], bool]) -> None:
        rows.append([label, *(f"{study.mean(name, 'cos@1', where).value:.2f}" for name in names)])

    for rate in (0.05, 0.3, 0.6, 0.9):
        line(f"J = {rate:g}", grid, lambda s, rate=rate: _exact(s) and s.success_rate == rate)  # type: ignore[misc]
    for size in (4, 8, 16):
        line(f"groups of {size}", sizes, lambda s, size=size: s.size == size)  # type: ignore[misc]
    for stretch in (2, 3, 5):
        line(f"horizon {stretch} shortest ways", sizes, lambda s, h=stretch: s.stretch == h)  # type: ignore[misc]
    return page.rows(["", *(f"`{name}`" for name in names)], rows)


def ranks() -> str:
    """Does the quick form rank as the full one does, and do the studies agree, where progress is exact?"""
    six = {(s.world.name, s.success_rate) for s in audit.quick()}
    full, held_out = saved("development"), saved("held_out")

    def order(study: CreditStudy, where: Callable[[Setting], bool]) -> Any:
        return np.array([study.mean(name, "cos@1", where).value for name in full.assigners])

    quick = order(full, lambda s: _exact(s) and (s.world.name, s.success_rate) in six)
    pairs = {
        "six settings of `--quick`, development worlds at four rates": (quick, order(full, _exact)),
        "six settings of `--quick`, held-out worlds": (quick, order(held_out, _exact)),
        "development worlds, held-out worlds": (order(full, _exact), order(held_out, _exact)),
    }
    return page.rows(["order of", "rank correlation"], [[k, f"{spearman(*pair):.2f}"] for k, pair in pairs.items()])


def margins(study: str, figure: str) -> str:
    """HTD in every cell against the best of its rivals there, and against the best that saw no other rollouts."""
    found = saved(study)
    alike = tuple(name for name in audit.RIVALS if name != "fitted-critic")
    best = {row["kind"]: row for row in found.margins("htd", figures=[figure])}
    near = {row["kind"]: row for row in found.margins("htd", alike, [figure])}
    rows = []
    for kind, row in best.items():
        same = near[kind]
        where = None if kind == "all" else (lambda s, kind=kind: _kind(s) == kind)
        rows.append(
            [
                "all twelve" if kind == "all" else kind,
                f"{row['value']:.3f}",
                f"{found.mean('exact', figure, where).value:.3f}",
                f"`{row['best']}` {row['best_value']:.3f}",
                _signed(Interval(row["difference"], row["low"], row["high"])),
                f"`{same['best']}` {same['best_value']:.3f}",
                _signed(Interval(same["difference"], same["low"], same["high"])),
            ]
        )
    head = ["anchors, progress", "`htd`", "`exact`", "best of all", "`htd` minus it", "best without other rollouts"]
    return page.rows([*head, "`htd` minus it"], rows)


def worlds(study: str) -> str:
    """Mean over the twelve cells, by world."""
    found = saved(study)
    names = ("exact", "htd", *audit.RIVALS)
    rows = []
    for world in dict.fromkeys(s.world.name for s in found.settings):
        cells = [
            f"{found.mean(name, 'mixed', lambda s, world=world: s.world.name == world).value:.2f}"  # type: ignore[misc]
            for name in names
        ]
        rows.append([world, *cells])
    return page.rows(["world", *(f"`{name}`" for name in names)], rows)


def signals() -> str:
    """Means of five levels each."""
    reports: dict[str, Any] = json.loads((common.RESULTS / "signal_fidelity.json").read_text())["figures"]["reports"]

    def each(cell: Callable[[dict[str, Any]], str]) -> list[str]:
        return [cell(report) for report in reports.values()]

    def danger(report: dict[str, Any]) -> str:
        offended = [pair[0] for policy, pair in report["danger"].items() if policy.startswith("offender")]
        return f"{report['danger']['oracle'][0]:g}, " + (f"{np.mean(offended):g}" if offended else "none")

    def farmed(report: dict[str, Any], reward: str, key: str) -> float:
        return float(report["farming"][f"outcome + {reward}"][key])

    def failing(reward: str, digits: int) -> list[str]:
        def cell(report: dict[str, Any]) -> str:
            fails, solves = farmed(report, reward, "failing"), farmed(report, reward, "solving")
            said = f"{fails:.{digits}f}"
            return (f"**{said}**" if fails > solves else said) + f" ({solves:.{digits}f})"

        return each(cell)

    paid = ("change", "gains only", "level")
    rows = [
        ["progress with success-to-go", *each(lambda r: f"{r['progress_success']['value']:.2f}")],
        ["progress with steps left", *each(lambda r: f"{r['progress_distance']['value']:.3f}")],
        ["danger: oracle, offenders", *each(danger)],
        ["anchors that led elsewhere", *each(lambda r: f"{r['collisions']:g}")],
        ["needless splits", *each(lambda r: f"{r['splits']:.2f}")],
        [
            "best loop: " + " / ".join(paid),
            *each(lambda r: " / ".join(f"{farmed(r, p, 'cycle_gain'):.2f}" for p in paid)),
        ],
        *[[f"best failing (straight): {p}", *failing(p, 2)] for p in paid],
        [
            "STARC: potential / " + " / ".join(paid),
            *each(lambda r: " / ".join(f"{farmed(r, p, 'starc'):.2f}" for p in ("potential", *paid))),
        ],
    ]
    return page.rows(["", *(name.removeprefix("agentgym/Grid-").removesuffix("-v0") for name in reports)], rows)


TABLES: dict[str, Callable[[], str]] = {
    "ranking": ranking,
    "contrasts": contrasts,
    "kinds": lambda: kinds("cos@1"),
    "kinds-mixed": lambda: kinds("mixed"),
    "stability": stability,
    "ranks": ranks,
    "cells": lambda: margins("cells", "cos@1"),
    "cells-mixed": lambda: margins("cells", "mixed"),
    "cells-alone": lambda: margins("cells", "alone"),
    "cells-2": lambda: margins("cells_2", "cos@1"),
    "cells-2-mixed": lambda: margins("cells_2", "mixed"),
    "cells-2-alone": lambda: margins("cells_2", "alone"),
    "worlds": lambda: worlds("cells"),
    "worlds-2": lambda: worlds("cells_2"),
    "signals": signals,
}
