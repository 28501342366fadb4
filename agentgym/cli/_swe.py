"""``agentgym swe``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from agentgym.cli._output import at_least, bars, print_json, progress, require, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import AgentGymError, UsageError

if TYPE_CHECKING:
    from agentgym.envs.swe.instance import Instance
    from agentgym.envs.swe.sources.swebench import Places

_WORDS = {"build-pair": 3, "build-mutants": 1, "load": 1}
_USAGE = {
    "build-pair": "agentgym swe build-pair NAME OLD NEW",
    "build-mutants": "agentgym swe build-mutants NAME",
    "load": "agentgym swe load FILE",
}


@dataclass(frozen=True)
class Command:
    """Make things to repair out of packages on the index, and read SWE-bench's.

    list: what is built here.

    build: makes the suites: releases (eleven pairs of them) and mutants; fetches packages from the index that pip is
    set up for, runs their tests in sandboxes and keeps the result in ~/.cache/agentgym/swe (or swe in AGENTGYM_CACHE).

    build-pair: the older of two releases with the newer one's tests.

    build-mutants: one release with planted faults that 1 to 10 of its own tests notice.

    load: reads instances in SWE-bench's form (.json, .jsonl, .parquet) and writes them in ours.

    check: grades repairs (all must pass) and untouched trees (none may) of a suite or of a file that load wrote.

    Example:
      agentgym swe build-pair sqlparse 0.5.0 0.5.1
      agentgym swe build-mutants parse --version 1.20.2 --count 50
      agentgym swe load verified.jsonl --mirrors ~/mirrors --out verified.ours.jsonl
      agentgym swe check releases
    """

    what: tyro.conf.Positional[Literal["list", "build", "build-pair", "build-mutants", "load", "check"]] = "list"
    """What to do."""
    words: tyro.conf.Positional[tuple[str, ...]] = ()
    """build, check: releases, mutants, or both; build-pair: NAME OLD NEW; build-mutants: NAME; load, check: FILE."""
    version: str = ""
    """build-mutants: of the package; the newest when not given."""
    count: int = 100
    """build-mutants: how many to find."""
    seed: int = 0
    """build-mutants: the order in which faults are tried."""
    out: Path | None = None
    """load: file to write (JSON lines)."""
    mirrors: Path | None = None
    """load: folder of git repositories (OWNER/NAME or OWNER__NAME)."""
    sdists: Flag = False
    """load: take the source distribution of an instance's version where there is no mirror."""
    image: str = ""
    """load: prebuilt image, with {instance_id}, {repo} and {version} filled in."""
    image_seed: str = "/agentgym-seed"
    """load: the image's folder with the tree; where `agentgym images pull --workdir` puts it when not given."""
    image_workdir: str = "/testbed"
    """load: where the image's programs expect the tree."""
    image_python: str = "python3"
    """load: the image's interpreter that runs the tests, by name or path."""
    limit: int = 0
    """load, check: only the first so many; all when 0."""
    backend: Literal["", "docker", "bubblewrap"] = ""
    """Kind of sandbox; the best that is here when not given."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        at_least(1, count=self.count)
        at_least(0, limit=self.limit)
        if self.what in _WORDS and len(self.words) != _WORDS[self.what]:
            raise UsageError(f"expected `{_USAGE[self.what]}`, got {len(self.words)} words after {self.what}")
        if self.what != "load" and (self.out or self.mirrors or self.sdists or self.image):
            raise UsageError("--out, --mirrors, --sdists and --image belong to `agentgym swe load`")
        require("docker", "swe")
        work: dict[str, Callable[[], int]] = {
            "list": self._list,
            "build": self._build,
            "build-pair": self._pair,
            "build-mutants": self._mutants,
            "load": self._load,
            "check": self._check,
        }
        return work[self.what]()

    def _list(self) -> int:
        from agentgym.envs.swe.sources.mutants import recipes
        from agentgym.envs.swe.sources.pairs import PAIRS
        from agentgym.envs.swe.sources.sdist import cache

        folder = cache()
        rows: list[dict[str, Any]] = [
            {"suite": "releases", "what": p.id, "here": (folder / "releases" / f"{p.id}.json").is_file()} for p in PAIRS
        ]
        for recipe in recipes():
            archive = folder / "sdists" / f"{recipe.package}-{recipe.version}.tar.gz"
            what = f"{len(recipe.mutants)} of {recipe.package} {recipe.version}"
            rows.append({"suite": "mutants", "what": what, "here": archive.is_file()})
        known = {row["what"] for row in rows}
        for kind in ("releases", "mutants"):
            own = sorted(p.stem for p in (folder / kind).glob("*.json") if p.stem not in known)
            rows += [{"suite": "", "what": f"{kind}: {name}", "here": True} for name in own]
        if self.json:
            print_json(rows)
        else:
            table(("suite", "what", "here"), [tuple(row.values()) for row in rows])
        return 0

    def _build(self) -> int:
        from agentgym.envs.swe.sources.mutants import recipes
        from agentgym.envs.swe.sources.pairs import PAIRS, build_pair

        made: list[dict[str, Any]] = []
        failed: list[dict[str, str]] = []
        suites = self._suites()
        if "releases" in suites:
            for pair in PAIRS:
                try:
                    made.append(_summary(build_pair(pair, backend=self.backend, say=_say)))
                except AgentGymError as error:  # one package that is not to be had leaves the others
                    failed.append({"what": pair.id, "why": str(error)})
                    _say(f"{pair.id}: not built: {error}")
        if "mutants" in suites:
            for recipe in recipes():
                try:
                    count = sum(1 for _ in recipe.instances())
                    made.append({"what": f"mutants of {recipe.package} {recipe.version}", "instances": count})
                    _say(f"mutants of {recipe.package} {recipe.version}: {count}")
                except AgentGymError as error:
                    failed.append({"what": f"mutants of {recipe.package}", "why": str(error)})
                    _say(f"mutants of {recipe.package}: not built: {error}")
        if self.json:
            print_json({"made": made, "failed": failed})
        else:
            print(f"made {len(made)}, failed {len(failed)}")
        return 1 if failed else 0

    def _pair(self) -> int:
        from agentgym.envs.swe.sources.pairs import Pair, build_pair

        name, old, new = self.words
        made = build_pair(Pair(name, old, new), backend=self.backend, say=_say)
        self._print(_summary(made))
        return 0

    def _mutants(self) -> int:
        from agentgym.envs.swe.sources.mutants import build_mutants

        with bars() as bar:
            recipe = build_mutants(
                self.words[0],
                self.version,
                count=self.count,
                seed=self.seed,
                backend=self.backend,
                tick=lambda done, total, words: bar("looking for mutants", done, total, words),
            )
        splits = [m.split for m in recipe.mutants]
        found = {
            "what": f"mutants of {recipe.package} {recipe.version}",
            "instances": len(recipe.mutants),
            "train": splits.count("train"),
            "held_out": splits.count("held_out"),
            "tests": len(recipe.tests),
        }
        self._print(found)
        return 0 if len(recipe.mutants) >= self.count else 1

    def _load(self) -> int:
        import json

        from agentgym.envs.swe.sources.swebench import Places, instance_of, read_rows
        from agentgym.files import disk, replace

        if self.out is None:
            raise UsageError("say where to write: agentgym swe load FILE --out OURS.jsonl")
        inside = (self.image_seed, self.image_workdir, self.image_python)
        places: Places = Places(self.mirrors, self.sdists, self.image, *inside, self.backend)
        rows = read_rows(Path(self.words[0]))
        rows = rows[: self.limit or None]
        lines, faults = [], []
        with progress("reading instances") as tick:
            for k, row in enumerate(rows, 1):
                try:
                    lines.append(json.dumps(instance_of(row, places).to_json()) + "\n")
                except UsageError as error:
                    faults.append(str(error))
                tick(k, len(rows))
        if lines:
            with disk("write", self.out):
                self.out.parent.mkdir(parents=True, exist_ok=True)
                replace(self.out, "".join(lines).encode())
        for fault in faults:
            print(f"agentgym: {fault}", file=sys.stderr)
        if rows and not lines:
            raise UsageError(
                f"none of the {len(rows)} instances of {self.words[0]} can be used; the first: {faults[0]}"
            )
        self._print({"what": str(self.out), "instances": len(lines), "malformed": len(faults)})
        return 1 if faults else 0

    def _check(self) -> int:
        from agentgym.envs.swe.grading import Grader

        instances = self._instances()[: self.limit or None]
        rows = []
        grader = Grader(self.backend)
        try:
            with progress("grading") as tick:
                for k, each in enumerate(instances, 1):
                    gold = grader.grade(each, each.gold).solved(each)
                    untouched = grader.grade(each, {})
                    fails = not any(untouched.passed[name] for name in each.fail_to_pass)
                    keeps = all(untouched.passed[name] for name in each.pass_to_pass)
                    rows.append(
                        {"instance": each.instance_id, "gold": gold, "untouched_fails": fails, "rest_passes": keeps}
                    )
                    tick(k, len(instances))
        finally:
            grader.close()
        bad = [row for row in rows if not all(row.values())]
        if self.json:
            print_json({"checked": len(rows), "wrong": bad})
        else:
            print(f"{len(rows)} instances, {len(bad)} wrong")
            if bad:
                table(tuple(bad[0]), [tuple(row.values()) for row in bad])
        return 1 if bad else 0

    def _instances(self) -> list[Instance]:
        import json

        from agentgym.envs.swe.instance import Instance
        from agentgym.envs.swe.sources.mutants import mutants
        from agentgym.envs.swe.sources.pairs import releases

        found: list[Instance] = []
        for word in self.words or ("releases", "mutants"):
            if word == "releases":
                found += releases()
            elif word == "mutants":
                found += mutants()
            else:
                path = Path(word)
                if not path.is_file():
                    raise UsageError(
                        f"expected releases, mutants, or a file that `agentgym swe load` wrote, got {word!r}"
                    )
                try:
                    rows = [json.loads(line) for line in path.read_text().splitlines()]
                except ValueError as error:
                    raise UsageError(f"{path} is no file of JSON lines: {error}") from None
                found += [Instance.from_json(row, folder=path.parent) for row in rows]
        return found

    def _suites(self) -> set[str]:
        for word in self.words:
            if word not in ("releases", "mutants"):
                raise UsageError(f"expected `agentgym swe build`, with releases or mutants after it, got {word!r}")
        return set(self.words) or {"releases", "mutants"}

    def _print(self, found: dict[str, Any]) -> None:
        if self.json:
            print_json(found)
        else:
            print(", ".join(f"{key} {value}" for key, value in found.items()))


def _summary(made: Instance) -> dict[str, Any]:
    return {"what": made.instance_id, "fail_to_pass": len(made.fail_to_pass), "pass_to_pass": len(made.pass_to_pass)}


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "swe", words).run()
