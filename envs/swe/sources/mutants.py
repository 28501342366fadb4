"""Mutants: one release of a package with one planted fault that 1 to 10 of its own tests notice.

A recipe is a small table: the package, its version and the hash of its archive, the tests that pass reliably, and rows
that say which token becomes what and which tests fail of it. The package itself is fetched at set-up. The tree that an
agent sees lacks the test files that notice the fault; hidden are all tests of the package.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from agentgym.envs.swe.faults import Fault, faults
from agentgym.envs.swe.instance import Instance, Region, Split
from agentgym.envs.swe.lsp.source import parse
from agentgym.envs.swe.sources.sdist import Sdist, cache, fetch
from agentgym.envs.swe.sources.survey import STABLE, Job, Survey, Surveyor, stable
from agentgym.envs.swe.tree import Files
from agentgym.errors import UsageError
from agentgym.files import disk, read_json, replace, write_json

__all__ = ["PACKAGES", "Mutant", "Recipe", "build_mutants", "make_recipe", "mutants", "recipes"]

PACKAGES: tuple[str, ...] = ("parse", "sqlparse")
"""The suite ``swe-mutants``: packages whose recipes come with this one."""
MOST_FAILING = 10
"""Tests that a mutant may fail: one that more notice is found by reading any of them."""
_FORMAT = 1
_BATCH = 12
"""Faults tried by one command in the sandbox."""
_PER_FUNCTION = 6
"""Mutants kept of one function, so that a few long functions do not make up the suite."""
_HELD_OUT = 4
"""One function in so many is held out, with all its mutants."""

Tick = Callable[[int, int, str], object]


@dataclasses.dataclass(frozen=True)
class Mutant:
    """One fault that is noticed.

    Attributes:
        path: the file.
        fault: what is planted.
        fails: ids of the tests that fail of it.
        words: how the first of them fails.
    """

    path: str
    fault: Fault
    fails: tuple[str, ...]
    words: str

    @property
    def split(self) -> Split:
        """By the hash of the function, so that none stands in both."""
        digest = hashlib.sha256(f"{self.path}\0{self.fault.function}".encode()).digest()
        return "held_out" if digest[0] % _HELD_OUT == 0 else "train"


@dataclasses.dataclass(frozen=True)
class Recipe:
    """All that is known of a package's mutants.

    Attributes:
        package, version, sha256: of the source distribution.
        conftest: its tests need their ``conftest.py``.
        seconds: of one run of all tests.
        tests: ids that passed in each of three runs on the package as it is.
        mutants: in the order they were found.
    """

    package: str
    version: str
    sha256: str
    conftest: bool
    seconds: float
    tests: tuple[str, ...]
    mutants: tuple[Mutant, ...]

    def to_json(self) -> dict[str, Any]:
        """As JSON-like values; failing tests by their place in `tests`."""
        place = {name: k for k, name in enumerate(self.tests)}
        rows = [
            [m.path, *dataclasses.astuple(m.fault), [place[name] for name in m.fails], m.words] for m in self.mutants
        ]
        head = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name not in ("tests", "mutants")}
        return {"format": _FORMAT, **head, "tests": list(self.tests), "mutants": rows}

    @classmethod
    def from_json(cls, data: Any) -> Recipe:
        """The inverse of `to_json`.

        Raises:
            UsageError: it is none.
        """
        try:
            if data["format"] != _FORMAT:
                raise UsageError(f"this recipe of mutants has format {data['format']!r}, expected {_FORMAT}")
            tests = tuple(map(str, data["tests"]))
            made = []
            for path, line, column, old, new, kind, function, fails, words in data["mutants"]:
                fault = Fault(int(line), int(column), str(old), str(new), str(kind), str(function))
                made.append(Mutant(str(path), fault, tuple(tests[int(k)] for k in fails), str(words)))
            head = (str(data["package"]), str(data["version"]), str(data["sha256"]))
            return cls(*head, bool(data["conftest"]), float(data["seconds"]), tests, tuple(made))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            if isinstance(error, UsageError):
                raise
            raise UsageError(f"this is no recipe of mutants: {error!r}") from None

    def save(self, path: Path) -> None:
        """Write a file, a row a line."""
        import json

        data = self.to_json()
        rows = ",\n".join("  " + json.dumps(row) for row in data.pop("mutants"))
        head = json.dumps(data, indent=1)[:-2]
        with disk("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, f'{head},\n "mutants": [\n{rows}\n ]\n}}\n'.encode())

    def instances(self, sdist: Sdist | None = None) -> Iterator[Instance]:
        """One for each mutant.

        Args:
            sdist: the package; fetched when None.

        Raises:
            UsageError: the package cannot be had, or is not the one the recipe was made for.
        """
        package = fetch(self.package, self.version, sha256=self.sha256) if sdist is None else sdist
        for number, mutant in enumerate(self.mutants):
            yield _instance(self, package, mutant, number)


def recipes(names: Sequence[str] = PACKAGES) -> list[Recipe]:
    """The recipes that come with this package."""
    import json

    folder = resources.files("agentgym.envs.swe.sources") / "recipes"
    return [Recipe.from_json(json.loads((folder / f"{name}.json").read_text())) for name in names]


def mutants(split: Literal["all", "train", "held_out"] = "all", names: Sequence[str] = PACKAGES) -> list[Instance]:
    """The suite ``swe-mutants``.

    Raises:
        UsageError: no such split, or a package cannot be fetched.
    """
    if split not in ("all", "train", "held_out"):
        raise UsageError(f"split: expected 'all', 'train' or 'held_out', got {split!r}")
    return [each for recipe in recipes(names) for each in recipe.instances() if split in ("all", each.split)]


def build_mutants(
    name: str,
    version: str = "",
    *,
    count: int = 100,
    seed: int = 0,
    backend: str = "",
    folder: Path | None = None,
    tick: Tick = lambda done, total, words: None,
) -> Recipe:
    """Look for mutants of a package and keep the recipe in the cache. A search that was cut short goes on where it was.

    Args:
        name, version: of the package; the newest version when ''.
        count: mutants to find.
        seed: order in which faults are tried.
        backend: of the sandbox.
        folder: the cache; `cache` when None.
        tick: told (found, wanted, a few words).

    Raises:
        UsageError: the package cannot be had, has no tests that pass, or there is no sandbox.
    """
    folder = cache() if folder is None else folder
    package = fetch(name, version, folder=folder / "sdists")
    path = folder / "mutants" / f"{package.name}-{package.version}.json"
    kept = path.with_suffix(f".{seed}.part")
    made = make_recipe(package, count=count, seed=seed, backend=backend, tick=tick, kept=kept)
    made.save(path)
    return made


def load_recipe(path: Path) -> Recipe:
    """Read what `Recipe.save` wrote."""
    return Recipe.from_json(read_json(path))


def make_recipe(
    package: Sdist,
    *,
    count: int,
    seed: int = 0,
    backend: str = "",
    image: str = "agentgym/swe",
    tick: Tick = lambda done, total, words: None,
    kept: Path | None = None,
) -> Recipe:
    """The recipe of an archive that is here.

    Args:
        package: the archive.
        count, seed, backend, tick: see `build_mutants`.
        image: of the sandbox.
        kept: file in which the search is kept as it goes on, and from which it does; None for none.
    """
    tests = package.tests
    files = sorted(path for path in tests if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path))
    with Surveyor(backend=backend, image=image, python_path=(package.root,)) as surveyor:
        surveyor.conftest = any(path.rpartition("/")[2] == "conftest.py" for path in tests)
        surveyor.prepare(package.files, tests, warm=files)
        search = _Search.load(kept, package) if kept is not None and kept.is_file() else None
        if search is None:
            tick(0, count, f"tests of {package.name} {package.version} as it is")
            search = _Search.begin(package, surveyor, files)
        hunt = _Hunt(package, surveyor, files, search)
        rest = itertools.islice(enumerate(_candidates(package, seed)), search.tried, None)
        while len(search.mutants) < count and (batch := list(itertools.islice(rest, _BATCH))):
            had = Counter((m.path, m.fault.function) for m in search.mutants)
            for mutant in hunt.judge([(p, f) for _, (p, f) in batch if had[p, f.function] < _PER_FUNCTION]):
                search.mutants.append(mutant)
            search.tried = batch[-1][0] + 1
            if kept is not None:
                search.save(kept)
            tick(min(len(search.mutants), count), count, f"{package.name}: {search.tried} faults")
        del search.mutants[count:]
    if not search.mutants:
        raise UsageError(f"{package.name} {package.version}: its tests notice no fault in a way that makes a task")
    return search.recipe(surveyor.conftest)


@dataclasses.dataclass
class _Search:
    """What a search knows so far.

    Attributes:
        package: it is about.
        seconds: of a run of all tests.
        tests: ids that pass reliably.
        callers: (path, first line) of a function -> ids of tests that call it.
        mutants: found so far.
        tried: candidates looked at.
    """

    package: Sdist
    seconds: float
    tests: tuple[str, ...]
    callers: dict[tuple[str, int], tuple[str, ...]]
    mutants: list[Mutant] = dataclasses.field(default_factory=list)
    tried: int = 0

    @classmethod
    def begin(cls, package: Sdist, surveyor: Surveyor, files: Sequence[str]) -> _Search:
        runs = [surveyor.run(files) for _ in range(STABLE)]
        passing = tuple(name for name, outcome in stable(runs).items() if outcome == "passed")
        if not passing:
            why = "; ".join(runs[0].errors)[:300] or runs[0].cut or "none was found"
            raise UsageError(f"{package.name} {package.version}: no test of its own passes: {why}")
        calls = surveyor.run(files, trace=True, seconds=600).calls
        callers: dict[tuple[str, int], list[str]] = defaultdict(list)
        for name in passing:
            for function in calls.get(name, ()):
                callers[function].append(name)
        seconds = round(min(run.seconds for run in runs), 2)
        return cls(package, seconds, passing, {key: tuple(names) for key, names in callers.items()})

    def recipe(self, conftest: bool) -> Recipe:
        head = (self.package.name, self.package.version, self.package.sha256)
        return Recipe(*head, conftest, self.seconds, self.tests, tuple(self.mutants))

    def save(self, path: Path) -> None:
        place = {name: k for k, name in enumerate(self.tests)}
        callers = [[*key, [place[name] for name in names]] for key, names in self.callers.items()]
        data = {"recipe": self.recipe(False).to_json(), "callers": callers, "tried": self.tried}
        with disk("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_json(path, data)

    @classmethod
    def load(cls, path: Path, package: Sdist) -> _Search | None:
        """The search that was saved; None where it was about another archive."""
        data = read_json(path)
        recipe = Recipe.from_json(data["recipe"])
        if recipe.sha256 != package.sha256:
            return None
        callers = {(p, line): tuple(recipe.tests[k] for k in names) for p, line, names in data["callers"]}
        return cls(package, recipe.seconds, recipe.tests, callers, list(recipe.mutants), int(data["tried"]))


class _Hunt:
    """Judges faults. Only the tests that call the faulty function are run; what they notice is confirmed by a run of
    all, because a result that is kept spares later tests the call."""

    def __init__(self, package: Sdist, surveyor: Surveyor, files: Sequence[str], search: _Search) -> None:
        self._package, self._surveyor, self._files, self._search = package, surveyor, files, search
        self._limit = max(20.0, 5 * search.seconds)

    def judge(self, faults: Sequence[tuple[str, Fault]]) -> Iterator[Mutant]:
        """Those of these faults of which 1 to 10 tests fail, the same ones in three runs."""
        jobs: list[Job] = []
        asked: list[tuple[str, Fault]] = []
        for path, fault in faults:
            text = self._package.code[path].decode()
            changes = {path: fault.apply(text).encode()}
            first = _first_line(text, fault.line)
            wanted = self._search.callers.get((path, first), ()) if first else self._search.tests
            if wanted and parse(changes[path]) is not None:
                files = tuple(f for f in self._files if any(name.startswith(f"{f}::") for name in wanted))
                jobs.append(Job(files, wanted, changes, MOST_FAILING + 1, STABLE - 1, seconds=self._limit))
                asked.append((path, fault))
        seen: list[tuple[Mutant, Job]] = []
        for (path, fault), job, runs in zip(asked, jobs, self._surveyor.many(jobs) if jobs else [], strict=True):
            found = [self._fails(run, job.wanted or ()) for run in runs]
            fails = found[0] if len(set(found)) == 1 and len(found) == STABLE else None
            if fails is not None and 1 <= len(fails) <= MOST_FAILING:
                words = " ".join(runs[-1].words.get(fails[0], "").split())[:300]
                whole = Job(tuple(self._files), self._search.tests, job.changes, MOST_FAILING + 1, seconds=self._limit)
                seen.append((Mutant(path, fault, fails, words), whole))
        every = self._surveyor.many([whole for _, whole in seen]) if seen else []
        for (mutant, _), runs in zip(seen, every, strict=True):
            if runs and set(self._fails(runs[0], self._search.tests) or ()) == set(mutant.fails):
                yield mutant

    def _fails(self, run: Survey, wanted: Sequence[str]) -> tuple[str, ...] | None:
        """Those that fail or were not heard of; None where the run was cut short or found nothing to run."""
        if run.cut or not run.outcomes:
            return None
        return tuple(name for name in wanted if run.outcomes.get(name) != "passed")


# ---------------------------------------------------------------------- parts


def _candidates(package: Sdist, seed: int) -> Iterator[tuple[str, Fault]]:
    """All faults: one of each function in turn, in an order drawn by the seed."""
    groups: dict[tuple[str, str], list[tuple[str, Fault]]] = defaultdict(list)
    for path, data in package.code.items():
        if path.endswith(".py"):
            try:
                text = data.decode()
                for fault in faults(text, parsing=False):
                    groups[path, fault.function].append((path, fault))
            except (SyntaxError, UnicodeDecodeError):
                continue  # a file for another Python: nothing to plant in
    for group in groups.values():
        group.sort(key=lambda each: _drawn(seed, *each))
        # Mistaken names are most of all faults: every kind has its turn.
        turns: dict[str, itertools.count[int]] = defaultdict(itertools.count)
        turn = [(next(turns[each[1].kind]), k) for k, each in enumerate(group)]
        group[:] = [group[k] for _, k in sorted(turn)]
    order = sorted(groups, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
    for k in range(max(map(len, groups.values()), default=0)):
        yield from (groups[key][k] for key in order if k < len(groups[key]))


def _drawn(seed: int, path: str, fault: Fault) -> bytes:
    return hashlib.sha256(f"{seed}\0{path}\0{fault}".encode()).digest()


def _first_line(text: str, line: int) -> int:
    """Where the innermost function that holds a line begins, decorators included; 0 outside of any."""
    best = 0
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
            if first <= line <= (node.end_lineno or first):
                best = max(best, first)
    return best


def _instance(recipe: Recipe, package: Sdist, mutant: Mutant, number: int) -> Instance:
    right = package.code[mutant.path]
    wrong = mutant.fault.apply(right.decode()).encode()
    noticing = {name.partition("::")[0] for name in mutant.fails}
    tree = {path: data for path, data in package.files.items() if path not in noticing}
    fails = set(mutant.fails)
    line = mutant.fault.line
    return Instance(
        instance_id=f"mutant-{recipe.package}-{recipe.version}-{number}",
        source="mutant",
        statement=_statement(recipe, package, mutant),
        tree=Files({**tree, mutant.path: wrong}),
        tests=package.tests,
        fail_to_pass=mutant.fails,
        pass_to_pass=tuple(name for name in recipe.tests if name not in fails),
        gold={mutant.path: right},
        faulty=(Region(mutant.path, line, line, mutant.fault.function),),
        visible=tuple(sorted({name.partition("::")[0] for name in recipe.tests} - noticing)),
        python_path=(package.root,),
        conftest=recipe.conftest,
        seconds=float(min(180, max(60, round(10 * recipe.seconds)))),
        split=mutant.split,
        about={
            "package": recipe.package,
            "version": recipe.version,
            "licence": package.licence,
            "sha256": recipe.sha256,
            "fault": mutant.fault.kind,
        },
    )


def _statement(recipe: Recipe, package: Sdist, mutant: Mutant) -> str:
    name = mutant.fails[0]
    more = len(mutant.fails) - 1
    parts = [
        f"This is {recipe.package} {recipe.version}, into which a slip was made: something that worked fails now. "
        f"A test that used to pass, {name}, is an example"
        + (f" (and {more} more)." if more else ".")
        + " It is not in this repository."
    ]
    if mutant.words:
        parts.append(f"It says:\n\n    {mutant.words}")
    if text := _test_text(package.tests, name):
        parts.append(f"It reads:\n\n{text}")
    parts.append("Find the slip and mend it. What works now must go on working.")
    return "\n\n".join(parts) + "\n"


def _test_text(tests: Mapping[str, bytes], name: str) -> str:
    """The source of a test, indented; at most 40 lines."""
    path, *inner = re.sub(r"\[.*", "", name, flags=re.S).split("::")
    text = tests[path].decode("utf-8", "replace")
    nodes: Sequence[ast.stmt] = ast.parse(text).body
    found: ast.stmt | None = None
    for part in inner:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        found = next((n for n in nodes if isinstance(n, kinds) and n.name == part), None)
        if found is None:
            return ""
        nodes = found.body if isinstance(found, kinds) else []
    if found is None:
        return ""
    lines = text.splitlines()[found.lineno - 1 : found.end_lineno]
    margin = len(lines[0]) - len(lines[0].lstrip())
    return "\n".join("    " + line[margin:] for line in lines[:40])
