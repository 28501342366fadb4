"""Judges environments by all rules, and the command that does it by id."""

from __future__ import annotations

import json as json_module
from collections.abc import Callable, Sequence

from rich.console import Console

from agentgym.check import face, forks, hostile, records, reruns, scripts, signals
from agentgym.check.report import Broken, NotApplicable, Report, Result, Rule
from agentgym.check.subject import Env, Subject
from agentgym.errors import UsageError
from agentgym.registration import catalogue, find

__all__ = ["RULES", "check_process_env", "command"]

RULES: tuple[Rule, ...] = (
    *face.RULES,
    *records.RULES,
    *signals.RULES,
    *scripts.RULES,
    *hostile.RULES,
    *reruns.RULES,
    *forks.RULES,
)
"""All rules, in the order in which they are judged and shown."""


def check_process_env(env: str | Env | Callable[[], Env], *, seeds: int = 3, steps: int = 100) -> Report:
    """Judge an environment by every rule.

    Args:
        env: an id, a callable that makes an environment (a module-level one, or a `functools.partial` of one, can also
            be checked in another process), or an environment. An environment without a ``spec`` cannot be made again:
            rules that need two are not applicable, and it is left open.
        seeds: how many seeds every policy plays.
        steps: length of the walks of policies that have no end of their own; oracles and offenders get the horizon.

    Raises:
        agentgym.errors.UnknownName: no such id.
        UsageError: ``seeds`` or ``steps`` below 1.
    """
    if seeds < 1 or steps < 1:
        raise UsageError(f"seeds and steps must be at least 1, got {seeds} and {steps}")
    subject = Subject(env, seeds, steps)
    results: dict[str, Result] = {}
    try:
        for rule in RULES:
            broken = [id for id in rule.after if results[id].outcome == "fail"]
            results[rule.id] = (
                Result(rule.id, rule.statement, "not applicable", f"means nothing while {broken[0]} fails")
                if broken
                else _judge(rule, subject)
            )
            if rule is RULES[0] and results[rule.id].outcome == "fail":
                break  # what cannot be made cannot be judged
    finally:
        subject.close()
    return Report(subject.name, tuple(results.values()))


def _judge(rule: Rule, subject: Subject) -> Result:
    try:
        return Result(rule.id, rule.statement, "pass", rule.judge(subject))
    except NotApplicable as why:
        return Result(rule.id, rule.statement, "not applicable", str(why))
    except Broken as b:
        return Result(rule.id, rule.statement, "fail", str(b), b.seed, b.step, b.expected, b.got, b.do)
    except Exception as error:  # noqa: BLE001  (the environment is on trial: anything it raises is evidence)
        got = f"{type(error).__name__}: {str(error)[:500]}"
        return Result(rule.id, rule.statement, "fail", "an exception", expected="no exception", got=got, do="mend it")


def command(
    ids: Sequence[str], *, all: bool = False, family: str | None = None, seeds: int = 3, json: bool = False
) -> int:
    """Check environments by id and print one line per rule.

    Args:
        ids: which; or
        all: every id of the catalogue, or of one ``family``.
        family: see ``all``.
        seeds: how many seeds every policy plays.
        json: print one JSON list instead.

    Returns:
        the exit code: 0 if every rule holds of every environment, else 1.

    Raises:
        UsageError: no ids, ids together with ``all``, a family without ``all``, or an unknown name.
    """
    if bool(ids) == all or (family is not None and not all):
        raise UsageError("name environment ids, or give --all (with --family to narrow it)")
    console = Console()
    if all:
        chosen = [entry.id for entry in catalogue(family) if not entry.needs]
        for entry in catalogue(family):
            if entry.needs and not json:
                console.print(f"{entry.id}: not checked; it needs {entry.needs}", markup=False)
    else:
        chosen = [find(id).id for id in ids]
        for id in chosen:
            if needs := find(id).needs:
                raise UsageError(f"{id} needs {needs}; from Python: agentgym.check.check_process_env(make=...)")
    reports = []
    for id in chosen:
        report = check_process_env(id, seeds=seeds)
        reports.append(report)
        if not json:
            report.print(console)
    if json:
        print(json_module.dumps([report.to_json() for report in reports]))
    return int(any(report.failures for report in reports))
