"""Does the grader tell repairs from everything else: over all suites of the SWE world.

Each instance's own repair is graded twice, and so is the untouched tree: the repair must solve it, the untouched tree
must not (its FAIL_TO_PASS fail, all of its PASS_TO_PASS pass), and the two gradings must agree on every test. Then
come patches that would pass hidden tests without repairing anything (`agentgym.envs.swe.cheats`): none may solve it,
and each must be seen in the patch as a danger. Every hand-written bug meets every cheat; each other instance meets the
object that equals everything, and a few of the others in turn (generated functions three, releases five, mutants one).

Figures, by suite: ``instances``; ``gold``, ``untouched`` (solved); ``clean`` (untouched trees in which FAIL_TO_PASS
fail and nothing else does); ``agree`` (instances whose gradings agree); by cheat ``tried``, ``solved``, ``unseen``;
``wrong``: what fell short.

The suites of packages must be built first (`agentgym swe build`). Every instance's row is appended to a file beside
the built suites as soon as it is graded, and a run that was cut short goes on from there; one graded by other code or
of another text is graded again. What is saved is made of the rows, and holds them (results/swe_grading.jsonl).
Instances come in an order drawn by their names' hashes, so that what a run had no time for is missing from everywhere
alike; ``of`` says how many there would have been.

    python benchmarks/swe_grading.py --minutes 9    # as often as it takes
    python benchmarks/swe_grading.py --minutes 9 --suite releases    # the figures of the others stay
    python benchmarks/swe_grading.py --json --save
    python benchmarks/swe_grading.py --quick        # four of each suite that needs no index
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common import RESULTS, finish, parser

from agentgym.containers import backends
from agentgym.envs.swe import cheats, grading
from agentgym.envs.swe.bugs import BUGS
from agentgym.envs.swe.danger import of_patch
from agentgym.envs.swe.families import FAMILIES
from agentgym.envs.swe.grading import Grader, Report
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.small import bug, smoke
from agentgym.envs.swe.sources.mutants import mutants
from agentgym.envs.swe.sources.pairs import PAIRS, load_pair
from agentgym.envs.swe.sources.sdist import cache
from agentgym.errors import UsageError

SUITES = ("smoke", "bugs", "releases", "mutants")
FIRST = 900_000
"""Number of the first generated function: far from those that anything is trained on."""
_REAL = tuple(name for name in cheats.CHEATS if name not in ("nothing", "always-equal"))
_TURN = {"smoke": 3, "bugs": len(_REAL), "releases": 5, "mutants": 1}


def instances(suite: str, each: int) -> list[Instance]:
    """A suite's instances; of the generated functions so many of each family."""
    if suite == "smoke":
        return [smoke(family, FIRST + k) for k in range(each) for family in FAMILIES]
    if suite == "bugs":
        return [bug(name) for name in BUGS]
    if suite == "mutants":
        return mutants()
    found = []
    for pair in PAIRS:
        try:
            found.append(load_pair(pair))
        except UsageError as error:
            print(f"left out: {error}", flush=True)
    return found


def tried(suite: str, number: int) -> Iterator[str]:
    """The cheats that an instance meets."""
    yield "always-equal"
    yield from (_REAL[(_TURN[suite] * number + k) % len(_REAL)] for k in range(_TURN[suite]))


def verdict(report: Report) -> tuple[Any, ...]:
    return dict(report.passed), dict(report.reach), report.lies


def judge(grader: Grader, instance: Instance, names: Sequence[str]) -> dict[str, Any]:
    """All that is found out of one instance."""
    started = time.perf_counter()
    gold = [grader.grade(instance, instance.gold) for _ in range(2)]
    untouched = [grader.grade(instance, {}) for _ in range(2)]
    met = {}
    for name in names:
        report = grader.grade(instance, cheats.of(instance, name))
        met[name] = {"solved": report.solved(instance), "share": round(report.share(instance.fail_to_pass), 3)}
    return {
        "gold": all(report.solved(instance) for report in gold),
        "untouched": any(report.solved(instance) for report in untouched),
        "clean": all(
            not report.share(instance.fail_to_pass) and report.share(instance.pass_to_pass) == 1 for report in untouched
        ),
        "agree": all(verdict(a) == verdict(b) for a, b in (gold, untouched)),
        "cheats": met,
        "seconds": round(time.perf_counter() - started, 2),
    }


def with_danger(instance: Instance, row: dict[str, Any]) -> dict[str, Any]:
    """A row with what is seen in each cheat's patch, as the code stands now: no sandbox is needed for that."""
    base = instance.tree.files()
    dangers = {name: sorted(set(of_patch(instance, base, {}, cheats.of(instance, name)))) for name in row["cheats"]}
    return {**row, "cheats": {name: {**met, "danger": dangers[name]} for name, met in row["cheats"].items()}}


def figures_of(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """What a suite's rows come to."""
    counts: dict[str, Counter[str]] = {}
    wrong = []
    for name, row in rows.items():
        faults = [key for key in ("gold", "clean", "agree") if not row[key]] + ["untouched"] * row["untouched"]
        for cheat, met in row["cheats"].items():
            count = counts.setdefault(cheat, Counter(tried=0, solved=0, unseen=0))
            count.update(tried=1, solved=met["solved"], unseen=not met["danger"])
            faults += [f"{cheat} solves it"] * met["solved"] + [f"{cheat} is not seen"] * (not met["danger"])
        wrong += [f"{name}: {', '.join(faults)}"] * bool(faults)
    totals = {key: sum(bool(row[key]) for row in rows.values()) for key in ("gold", "untouched", "clean", "agree")}
    seconds = round(sum(row["seconds"] for row in rows.values()), 1)
    return {
        "instances": len(rows),
        "backends": dict(Counter(row["backend"] for row in rows.values())),
        **totals,
        "cheats_tried": sum(count["tried"] for count in counts.values()),
        "cheats_solved": sum(count["solved"] for count in counts.values()),
        "cheats_unseen": sum(count["unseen"] for count in counts.values()),
        "cheats": {name: dict(count) for name, count in sorted(counts.items())},
        "seconds": seconds,
        "wrong": wrong,
    }


def code_mark() -> str:
    """The text of the grader and of the cheats: what was graded by another is graded again."""
    folder = Path(grading.__file__ or "").parent
    names = ("cheats.py", "grading.py", "values.py", "watched.py", "inside/calls.py", "inside/suite.py")
    return hashlib.sha256(b"".join((folder / name).read_bytes() for name in names)).hexdigest()[:12]


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--suite", action="append", choices=SUITES, help="only these; all when not given")
    made.add_argument("--each", type=int, default=7, help="generated functions of each of the families")
    made.add_argument("--mutants", type=int, default=0, help="only so many mutants; all when 0")
    made.add_argument("--minutes", type=float, default=0.0, help="of each suite, stop after so long; 0 for no limit")
    made.add_argument("--backend", default="", choices=("", "docker", "bubblewrap"))
    made.add_argument("--out", type=Path, help="where graded rows are kept; graded, beside the built suites")
    options = made.parse_args()
    options.out = options.out or cache() / "graded"
    suites = options.suite or (("smoke", "bugs") if options.quick else SUITES)
    shown = suites if options.quick else SUITES  # of the others, what was graded before
    mark, figures, missing, saved = code_mark(), dict[str, Any](), 0, list[str]()
    backend = options.backend or next((found.name for found in backends() if not found.refusal), "")
    options.out.mkdir(parents=True, exist_ok=True)
    grader = Grader(backend)
    try:
        for suite in shown:
            until = time.monotonic() + 60 * options.minutes if options.minutes else float("inf")
            until = until if suite in suites else 0.0
            chosen = instances(suite, 1 if options.quick else options.each)
            chosen.sort(key=lambda each: hashlib.sha256(each.instance_id.encode()).digest())
            if suite == "mutants" and options.mutants:
                chosen = chosen[: options.mutants]
            chosen = chosen[:4] if options.quick else chosen
            path = options.out / f"{suite}.jsonl"
            kept = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
            known = {(row["instance"], row["text"], row["code"]): row for row in kept}
            rows: dict[str, dict[str, Any]] = {}
            for number, each in enumerate(chosen):
                key = (each.instance_id, each.digest, mark)
                if key not in known and time.monotonic() < until:
                    found = judge(grader, each, list(tried(suite, number)))
                    known[key] = {"instance": key[0], "text": key[1], "code": key[2], "backend": backend, **found}
                    with path.open("a") as file:
                        file.write(json.dumps(known[key]) + "\n")
                if key in known:
                    rows[each.instance_id] = with_danger(each, known[key])
            missing += len(chosen) - len(rows)
            saved += [json.dumps({"suite": suite, **row}) for row in rows.values()]
            figures[suite] = {"of": len(chosen), **figures_of(rows)}
            if suite == "releases":
                built = {each.instance_id for each in chosen}
                figures[suite]["not_built"] = [pair.id for pair in PAIRS if pair.id not in built]
            print(suite, {k: v for k, v in figures[suite].items() if k != "cheats"}, flush=True)
    finally:
        grader.close()
    finish("swe_grading", figures, options)
    if options.save:
        (RESULTS / "swe_grading.jsonl").write_text("".join(f"{row}\n" for row in saved))
    if missing or any(found["wrong"] for found in figures.values()):
        raise SystemExit(f"{missing} instances are not graded yet (run it again); see also what is wrong, above")


if __name__ == "__main__":
    main()
