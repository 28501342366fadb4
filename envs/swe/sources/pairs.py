"""Release pairs: the older release with the newer one's tests, some of which it fails.

The tree is the old source distribution as it is (its own tests in it, visible); hidden are the new release's tests;
the repair is what became of the package's files. FAIL_TO_PASS are tests that fail on the old code and pass on the new,
PASS_TO_PASS those that pass on both, as three runs of each in a sandbox agree; all others are left out.
"""

from __future__ import annotations

import dataclasses
import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from agentgym.envs.swe.grading import Grader
from agentgym.envs.swe.instance import BadInstance, Instance, Region
from agentgym.envs.swe.small import regions
from agentgym.envs.swe.sources.notes import notes
from agentgym.envs.swe.sources.sdist import Sdist, cache, fetch
from agentgym.envs.swe.sources.survey import STABLE, Survey, Surveyor, stable
from agentgym.errors import UsageError
from agentgym.files import disk, read_json, write_json

__all__ = ["PAIRS", "Pair", "build_pair", "load_pair", "make_pair", "needs_of", "releases"]

Say = Callable[[str], object]
_LIMIT = 600.0
"""Seconds of one run of all tests: the slowest pair takes 15 by itself, and the machine may be busy."""
_VERSION_LINE = re.compile(r"^\s*(__version__|__version_info__|version(_tuple)?|VERSION|RELEASE)\b.*=", re.I)


@dataclasses.dataclass(frozen=True, order=True)
class Pair:
    """Two releases.

    Attributes:
        name: of the package.
        old, new: versions.
        sha256: of the two archives; '' takes what the index says.
        needs: pure-Python packages that the tests import, as (name, version, SHA-256, folder in its archive).
    """

    name: str
    old: str
    new: str
    sha256: tuple[str, str] = ("", "")
    needs: tuple[tuple[str, str, str, str], ...] = ()

    @property
    def id(self) -> str:
        """The instance's id."""
        return f"release-{self.name}-{self.old}-{self.new}"


_SHA256 = {
    "asteval-1.0.4": "15e63bd01fce65aded51357f7e1debc6f46100d777c372af11c27c07cb740074",
    "asteval-1.0.5": "bac3c8dd6d2b789e959cfec9bb296fb8338eec066feae618c462132701fbc665",
    "cachetools-5.4.0": "b8adc2e7c07f105ced7bc56dbb6dfbe7c4a00acce20e2227b3f355be89bc6827",
    "cachetools-5.5.0": "2cc24fb4cbe39633fb7badd9db9ca6295d766d9c2995f245725a46715d050f2a",
    "click-8.1.7": "ca9853ad459e787e2192211578cc907e7594e294c7ccc834310722b41b9ca6de",
    "click-8.1.8": "ed53c9d8990d83c2a27deae68e4ee337473f6330c040a31d4225c9574d16096a",
    "mistune-3.0.2": "fc7f93ded930c92394ef2cb6f04a8aabab4117a91449e72dcc8dfa646a508be8",
    "mistune-3.1.0": "dbcac2f78292b9dc066cd03b7a3a26b62d85f8159f2ea5fd28e55df79908d667",
    "parse-1.20.1": "09002ca350ad42e76629995f71f7b518670bcf93548bdde3684fd55d2be51975",
    "parse-1.20.2": "b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce",
    "sqlparse-0.5.0": "714d0a4932c059d16189f58ef5411ec2287a4360f17cdd0edd2d09d4c5087c93",
    "sqlparse-0.5.1": "bb6b4df465655ef332548e24f08e205afc81b9ab86cb1c45657a7ff173a3a00e",
    "sqlparse-0.5.2": "9e37b35e16d1cc652a2545f0997c1deb23ea28fa1f3eefe609eee3063c3b105f",
    "tinydb-4.7.1": "8955c239a79b8a6c8f637900152e2de38690848199d71d870c33c16405433ca5",
    "tinydb-4.8.0": "6dd686a9c5a75dfa9280088fd79a419aefe19cd7f4bd85eba203540ef856d564",
    "tomlkit-0.12.4": "7ca1cfc12232806517a8515047ba66a19369e71edf2439d0f5824f91032b6cc3",
    "tomlkit-0.13.0": "08ad192699734149f5b97b45f1f18dad7eb1b6d16bc72ad0c2335772650d7b72",
    "tomlkit-0.13.2": "fff5fe59a87295b278abd31bec92c15d9bc4a06885ab12bcea52c71119392e79",
    "wcwidth-0.2.12": "f01c104efdf57971bcb756f054dd58ddec5204dd15fa31d6503ea57947d97c02",
    "wcwidth-0.2.13": "72ea0c06399eb286d978fdedb6923a9eb47e1c486ce63e9b4e64fc18303972b5",
}
_NAMES = (
    ("sqlparse", "0.5.0", "0.5.1"),
    ("sqlparse", "0.5.1", "0.5.2"),
    ("parse", "1.20.1", "1.20.2"),
    ("mistune", "3.0.2", "3.1.0"),
    ("tomlkit", "0.12.4", "0.13.0"),
    ("tomlkit", "0.13.0", "0.13.2"),
    ("tinydb", "4.7.1", "4.8.0"),
    ("cachetools", "5.4.0", "5.5.0"),
    ("asteval", "1.0.4", "1.0.5"),
    ("wcwidth", "0.2.12", "0.2.13"),
    ("click", "8.1.7", "8.1.8"),
)
_NEEDS = {
    "tomlkit": (("PyYAML", "6.0.2", "d584d9ec91ad65861cc08d42e834324ef890a082e591037abe114850ff7bbc3e", "lib/yaml"),),
}
PAIRS: tuple[Pair, ...] = tuple(
    Pair(name, old, new, (_SHA256[f"{name}-{old}"], _SHA256[f"{name}-{new}"]), _NEEDS.get(name, ()))
    for name, old, new in _NAMES
)
"""The suite ``swe-releases``: all BSD or MIT, of packages whose archives hold their tests."""


def needs_of(pair: Pair, folder: Path | None = None) -> dict[str, bytes]:
    """The files of what a pair's tests need besides pytest, to lie beside them."""
    found: dict[str, bytes] = {}
    for name, version, sha256, inside in pair.needs:
        above = inside.rpartition("/")[0]
        for path, data in fetch(name, version, sha256=sha256, folder=folder).files.items():
            if path.startswith(f"{inside}/") and path.endswith(".py"):
                found[path.removeprefix(f"{above}/")] = data
    return found


def build_pair(pair: Pair, *, backend: str = "", folder: Path | None = None, say: Say = print) -> Instance:
    """Make the instance of a pair and keep it in the cache.

    Args:
        pair: the releases.
        backend: of the sandbox; '' for the best that is here.
        folder: the cache; `cache` when None.
        say: told in a sentence what is going on.

    Raises:
        UsageError: an archive cannot be had or has no tests, no test tells the releases apart, or there is no sandbox.
    """
    folder = cache() if folder is None else folder
    archives = folder / "sdists"
    old = fetch(pair.name, pair.old, sha256=pair.sha256[0], folder=archives)
    new = fetch(pair.name, pair.new, sha256=pair.sha256[1], folder=archives)
    made = make_pair(pair, old, new, needs_of(pair, archives), backend=backend, say=say)
    path = folder / "releases" / f"{made.instance_id}.json"
    with disk("write", path):
        path.parent.mkdir(parents=True, exist_ok=True)
        data = made.to_json()
        data["tree"]["tar"] = os.path.relpath(old.path, path.parent)
        write_json(path, data)
    return made


def make_pair(
    pair: Pair,
    old: Sdist,
    new: Sdist,
    needs: Mapping[str, bytes] | None = None,
    *,
    backend: str = "",
    image: str = "agentgym/swe",
    say: Say = print,
) -> Instance:
    """The instance of two archives that are here. Arguments and errors: see `build_pair`."""
    gold = _gold(old, new)
    tests = {**new.tests, **(needs or {})}
    files = sorted(path for path in new.tests if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path))
    before, after, conftest, words, seconds = _surveys(pair, old, new, gold, tests, files, backend, image, say)
    fails = tuple(n for n, o in after.items() if o == "passed" and before.get(n, "missing") in ("failed", "missing"))
    keeps = tuple(n for n, o in after.items() if o == "passed" and before.get(n) == "passed")
    if not fails:
        raise UsageError(
            f"{pair.name} {pair.old} passes every test of {pair.new} that can be run ({len(keeps)}), so that there is "
            "nothing to repair; choose other versions"
        )
    made = Instance(
        instance_id=pair.id,
        source="release",
        statement=_statement(pair, new, fails, words),
        tree=old.tree,
        tests=tests,
        fail_to_pass=fails,
        pass_to_pass=keeps,
        gold=gold,
        faulty=_faulty(old, gold),
        visible=tuple(sorted(p for p in old.tests if re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", p))),
        python_path=(old.root,),
        conftest=conftest,
        seconds=float(min(180, max(60, round(10 * seconds)))),
        image=image,
        split="held_out",
        about={
            "package": pair.name,
            "old": pair.old,
            "new": pair.new,
            "licence": new.licence,
            "sha256_old": old.sha256,
            "sha256_new": new.sha256,
            "test_seconds": f"{seconds:.1f}",
        },
    )
    say(f"{made.instance_id}: {len(fails)} FAIL_TO_PASS, {len(keeps)} PASS_TO_PASS, {seconds:.1f} s a run; grading")
    grader = Grader(backend)
    try:
        if not grader.grade(made, gold).solved(made):
            raise UsageError(f"{made.instance_id}: the newer release does not pass its own tests when it is graded")
        if any(grader.grade(made, {}).passed[name] for name in fails):
            raise UsageError(f"{made.instance_id}: the older release passes FAIL_TO_PASS when it is graded")
    finally:
        grader.close()
    return made


def load_pair(pair: Pair, *, folder: Path | None = None) -> Instance:
    """The instance of a pair as it was built.

    Raises:
        UsageError: it was not built, or the file in the cache is damaged.
    """
    path = (cache() if folder is None else folder) / "releases" / f"{pair.id}.json"
    if not path.is_file():
        raise UsageError(
            f"{pair.id} is not built here; run `agentgym swe build-pair {pair.name} {pair.old} {pair.new}`"
        )
    try:
        return Instance.from_json(read_json(path), folder=path.parent)
    except BadInstance as error:
        raise UsageError(f"{path} is of another version or damaged ({error}); build it again") from error


def releases(*, folder: Path | None = None) -> list[Instance]:
    """The suite ``swe-releases``.

    Raises:
        UsageError: a pair was not built; says the command.
    """
    missing = [p for p in PAIRS if not ((folder or cache()) / "releases" / f"{p.id}.json").is_file()]
    if missing:
        raise UsageError(
            f"{len(missing)} of {len(PAIRS)} release pairs are not built here ({missing[0].id}, ...); "
            "run `agentgym swe build releases`, which fetches them from the package index"
        )
    return [load_pair(pair, folder=folder) for pair in PAIRS]


# ---------------------------------------------------------------------- parts


def _surveys(
    pair: Pair,
    old: Sdist,
    new: Sdist,
    gold: Mapping[str, bytes | None],
    tests: Mapping[str, bytes],
    files: Sequence[str],
    backend: str,
    image: str,
    say: Say,
) -> tuple[dict[str, str], dict[str, str], bool, dict[str, str], float]:
    """Outcomes on the old and on the new code, whether conftest.py is needed, how tests failed, seconds of a run."""
    if old.root != new.root:
        raise UsageError(f"{pair.name}: {pair.old} keeps its code in {old.root!r}, {pair.new} in {new.root!r}")
    with Surveyor(backend=backend, image=image, python_path=(new.root,), seconds=_LIMIT) as surveyor:
        # As it will be graded: the old tree with the new code, not the new release with its own metadata.
        whole = {**old.files, **gold}
        surveyor.prepare({path: data for path, data in whole.items() if data is not None}, tests)
        say(f"{pair.id}: tests of {pair.new} on its own code")
        runs = [surveyor.run(files)]
        if any(path.rpartition("/")[2] == "conftest.py" for path in tests):
            surveyor.conftest = True
            better = surveyor.run(files)
            surveyor.conftest = len(better.having("passed")) > len(runs[0].having("passed"))
            runs = [better if surveyor.conftest else runs[0]]
        runs += [surveyor.run(files) for _ in range(STABLE - 1)]
        _whole(pair, pair.new, runs)
        say(f"{pair.id}: tests of {pair.new} on the code of {pair.old}")
        surveyor.prepare(old.files, tests)
        past = [surveyor.run(files) for _ in range(STABLE)]
        _whole(pair, pair.old, past)
        words = {name: said for run in past for name, said in run.words.items()}
        return stable(past), stable(runs), surveyor.conftest, words, min(run.seconds for run in (*runs, *past))


def _whole(pair: Pair, version: str, runs: Sequence[Survey]) -> None:
    for run in runs:
        if run.cut or not run.outcomes:
            why = f"was cut short ({run.cut})" if run.cut else f"found no test ({'; '.join(run.errors)[:300]})"
            raise UsageError(f"{pair.name}: a run of the tests of {pair.new} on {version} {why}")


def _gold(old: Sdist, new: Sdist) -> dict[str, bytes | None]:
    paths = sorted({*old.code, *new.code})
    found = {path: new.code.get(path) for path in paths if old.code.get(path) != new.code.get(path)}
    if not found:
        raise UsageError(f"{old.name}: the code of {old.version} and {new.version} is the same")
    return found


def _faulty(old: Sdist, gold: Mapping[str, bytes | None]) -> tuple[Region, ...]:
    """What the repair changes, without lines that state a version."""
    found: list[Region] = []
    for path, data in gold.items():
        if path not in old.code or not path.endswith(".py"):
            continue
        before, after = (text.decode("utf-8", "replace") for text in (old.code[path], data or b""))
        kept = _without_versions(before, after)
        found += regions(path, before, kept)
    if not found:
        path = next((p for p in gold if p in old.code), next(iter(old.code)))
        found = [Region(path, 1, 1)]
    return tuple(found)


def _without_versions(before: str, after: str) -> str:
    """The text after, with changes of lines that state a version taken back."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    kept: list[str] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(a=old, b=new, autojunk=False).get_opcodes():
        stated = tag != "equal" and all(map(_VERSION_LINE.match, [*old[i:j], *new[k:m]]))
        kept += old[i:j] if stated else new[k:m]
    return "".join(kept)


def _statement(pair: Pair, new: Sdist, fails: Sequence[str], words: Mapping[str, str]) -> str:
    said = notes(new.files, pair.new)
    names = [f"- {name}" + (f" ({_first(words[name])})" if name in words else "") for name in fails[:20]]
    more = [f"- and {len(fails) - 20} more"] if len(fails) > 20 else []
    parts = [f"This is {pair.name} {pair.old}. Make it do what its next release, {pair.new}, does."]
    if said:
        parts.append(f"The release notes of {pair.new} say:\n\n{said}")
    parts.append("These tests of the next release fail now and must pass:\n\n" + "\n".join([*names, *more]))
    parts.append("What works now must go on working.")
    return "\n\n".join(parts) + "\n"


def _first(words: str) -> str:
    return " ".join(words.split("\n")[0].split())[:160]
