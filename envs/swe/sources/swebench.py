"""Instances in SWE-bench's form, from JSON, JSON lines or Parquet.

Read are ``instance_id``, ``repo``, ``base_commit``, ``patch``, ``test_patch``, ``problem_statement``, ``FAIL_TO_PASS``
and ``PASS_TO_PASS`` (lists, or JSON texts of lists), and ``version``; SWE-Gym's are the same. Of R2E-Gym, ``repo_name``
and ``docker_image`` stand for ``repo`` and the image. Other fields (``environment_setup_commit``, …) are left alone.

The tree at ``base_commit`` comes from a local git mirror, from the source distribution of that version, or from a
prebuilt image (`agentgym images pull IMAGE --workdir /testbed`). The tests named by the instance, with the test folders
they lie in and the test patch applied, become the hidden tests; the repair is the patch. Ids must be pytest's: what
other runners print (Django's ``test_x (module.Class)``) names no test that could be asked for.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from agentgym.containers import new_sandbox
from agentgym.envs.swe.grading import LIMITS
from agentgym.envs.swe.instance import BadInstance, Instance, Region
from agentgym.envs.swe.small import regions
from agentgym.envs.swe.sources.patch import BadPatch, apply, parse
from agentgym.envs.swe.sources.sdist import cache, fetch
from agentgym.envs.swe.tree import Files, TarFile, Tree, in_tree
from agentgym.errors import MissingExtra, UsageError
from agentgym.files import disk, replace

__all__ = ["Places", "instance_of", "load", "read_rows"]

MAX_ROWS = 100_000
_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_REPO = re.compile(r"[\w.-]+/[\w.-]+")
_TEST_FOLDERS = ("tests", "test", "testing")


@dataclass(frozen=True)
class Places:
    """Where trees come from.

    Attributes:
        mirrors: a folder of git repositories: ``OWNER/NAME``, ``OWNER__NAME`` or ``NAME``, with or without ``.git``.
        sdists: take the source distribution of the instance's ``version`` where there is no mirror.
        image: name of a prebuilt image, with ``{instance_id}``, ``{repo}`` and ``{version}`` filled in.
        seed: folder of the image that holds the tree.
        workdir: where the image's programs expect the tree.
        python: the image's interpreter that runs the tests.
        backend: of the sandbox that reads a prebuilt image.
    """

    mirrors: Path | None = None
    sdists: bool = False
    image: str = ""
    seed: str = "/agentgym-seed"
    workdir: str = "/testbed"
    python: str = "python3"
    backend: str = ""


def load(path: Path, places: Places) -> Iterator[Instance]:
    """The instances of a file, one by one.

    Raises:
        UsageError: the file cannot be read.
        BadInstance: an instance is malformed or its tree cannot be had; names the field.
    """
    for row in read_rows(path):
        yield instance_of(row, places)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a ``.json`` (a list, or one object), ``.jsonl`` or ``.parquet`` file.

    Raises:
        UsageError: it is none of these, or damaged.
    """
    if not path.is_file():
        raise UsageError(f"{path} is not there; expected a .json, .jsonl or .parquet file of instances")
    if path.suffix == ".parquet":
        try:
            from pyarrow import parquet
        except ImportError as error:
            raise MissingExtra("pyarrow", "train") from error
        try:
            rows = parquet.read_table(path).to_pylist()
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} is no Parquet file, or a damaged one: {error}") from None
        return [dict(row) for row in rows[:MAX_ROWS]]
    found: list[dict[str, Any]] = []
    try:
        text = path.read_text(encoding="utf-8")
        values = [json.loads(line) for line in text.splitlines() if line.strip()] if path.suffix == ".jsonl" else None
        values = json.loads(text) if values is None else values
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path} cannot be read as {path.suffix or 'JSON'}: {error}") from None
    for row in values if isinstance(values, list) else [values]:
        if not isinstance(row, dict):
            raise UsageError(f"{path}: expected objects with fields, got {type(row).__name__}")
        found.append(row)
    return found[:MAX_ROWS]


def instance_of(row: Mapping[str, Any], places: Places) -> Instance:
    """One instance.

    Raises:
        BadInstance: names the field.
    """
    fields = _Fields(row)
    repo = fields.text("repo", "repo_name")
    if not _REPO.fullmatch(repo) and not re.fullmatch(r"[\w.-]+", repo):
        raise fields.bad("repo", f"expected OWNER/NAME, got {repo[:100]!r}")
    commit = fields.text("base_commit", default="")
    if commit and not _COMMIT.fullmatch(commit):
        raise fields.bad("base_commit", f"expected a commit's hexadecimal digits, got {commit[:100]!r}")
    ids = {name: fields.ids(name) for name in ("FAIL_TO_PASS", "PASS_TO_PASS")}
    diffs = {name: fields.diff(name) for name in ("patch", "test_patch")}
    test_files = sorted({test.partition("::")[0] for each in ids.values() for test in each})
    touched = {name: {p for f in parse(diff) for p in (f.old, f.new) if p} for name, diff in diffs.items()}
    tree, base, image, seed = _tree(
        fields, places, repo, commit, [*touched["patch"], *touched["test_patch"], *test_files]
    )
    gold = fields.applied("patch", diffs["patch"], base)
    patched = fields.applied("test_patch", diffs["test_patch"], base)
    tests = _tests({**base, **patched}, {*test_files, *touched["test_patch"]})
    for name, each in ids.items():
        for test in each:
            if test.partition("::")[0] not in tests:
                raise fields.bad(name, f"{test[:200]!r} is in no file of the tree or of the test patch")
    return Instance(
        instance_id=fields.where,
        source="swebench",
        statement=fields.text("problem_statement"),
        tree=tree,
        tests=tests,
        fail_to_pass=ids["FAIL_TO_PASS"],
        pass_to_pass=ids["PASS_TO_PASS"],
        gold=gold,
        faulty=_faulty(base, gold),
        visible=(),
        python_path=_python_path(base),
        conftest=any(path.rpartition("/")[2] == "conftest.py" for path in tests),
        seconds=600.0,
        image=image,
        seed=seed,
        workdir=places.workdir if seed else "/work",
        python=places.python if seed else "python3",
        split="held_out",
        about={"repo": repo, "base_commit": commit, "version": fields.text("version", default="")},
    )


class _Fields:
    """Takes fields of the right kind out of a row."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.row, self.where = row, "?"
        self.where = self.text("instance_id", default="") or self._made_id()

    def bad(self, name: str, message: str) -> BadInstance:
        return BadInstance(self.where, name, message)

    def text(self, name: str, *others: str, default: str | None = None) -> str:
        value = next((self.row[n] for n in (name, *others) if self.row.get(n) is not None), default)
        if value is None:
            raise self.bad(name, "is missing")
        if not isinstance(value, str):
            raise self.bad(name, f"expected a text, got {type(value).__name__}")
        return value

    def diff(self, name: str) -> str:
        value = self.text(name)
        try:
            parse(value)
        except BadPatch as error:
            raise self.bad(name, str(error)) from None
        return value

    def applied(self, name: str, diff: str, base: Mapping[str, bytes]) -> dict[str, bytes | None]:
        try:
            return apply(diff, base)
        except BadPatch as error:
            raise self.bad(name, f"{error}; is this the tree at base_commit?") from None

    def ids(self, name: str) -> tuple[str, ...]:
        value = self.row.get(name)
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                raise self.bad(name, "expected a list of test ids, or the JSON text of one") from None
        if value is None:
            raise self.bad(name, "is missing")
        if not isinstance(value, list | tuple) or not all(isinstance(each, str) for each in value):
            raise self.bad(name, f"expected a list of test ids, got {type(value).__name__}")
        for test in value:
            path, mark, _ = test.partition("::")
            if not mark or not path.endswith(".py") or in_tree(path):
                raise self.bad(name, f"{test[:200]!r} is not an id of pytest's, such as 'tests/test_a.py::test_b'")
        return tuple(dict.fromkeys(value))

    def _made_id(self) -> str:
        """R2E-Gym has no ids: repository and commit make one."""
        parts = [self.row.get(n) for n in ("repo_name", "repo", "commit_hash", "base_commit")]
        made = "-".join(str(p) for p in parts if isinstance(p, str) and p)
        if not made:
            raise BadInstance("?", "instance_id", "is missing")
        return made[:200]


# ---------------------------------------------------------------------- trees


def _tree(
    fields: _Fields, places: Places, repo: str, commit: str, paths: Sequence[str]
) -> tuple[Tree, Mapping[str, bytes], str, str]:
    """The tree, its files (those that matter, of an image), the sandbox image, and the folder in it."""
    image = places.image or fields.text("docker_image", default="")
    mirror = _mirror(places.mirrors, repo) if places.mirrors is not None else None
    if mirror is not None:
        if not commit:
            raise fields.bad("base_commit", "is missing")
        tree: Tree = _archive(fields, mirror, repo, commit)
        return tree, tree.files(), "agentgym/swe", ""
    if image:
        version = fields.text("version", default="")
        name = image.replace("{instance_id}", fields.where).replace("{repo}", repo).replace("{version}", version)
        return Files({}), _of_image(fields, places, name, paths), name, places.seed
    if places.sdists:
        version = fields.text("version")
        try:
            sdist = fetch(repo.rpartition("/")[2], version)
        except UsageError as error:
            raise fields.bad("version", str(error)) from error
        return sdist.tree, sdist.files, "agentgym/swe", ""
    looked = f"no mirror of it in {places.mirrors}" if places.mirrors else "no folder of mirrors was named"
    raise fields.bad("repo", f"the tree of {repo[:100]} cannot be had: {looked}, no image, and sdists are not allowed")


def _mirror(folder: Path, repo: str) -> Path | None:
    owner, _, name = repo.rpartition("/")
    for path in (f"{owner}/{name}", f"{owner}__{name}", name):
        for ending in ("", ".git"):
            if (found := folder / f"{path}{ending}").is_dir():
                return found
    return None


def _archive(fields: _Fields, mirror: Path, repo: str, commit: str) -> TarFile:
    """The tree at a commit, kept in the cache as a tar file. git reads objects; nothing of the repository runs."""
    path = cache() / "trees" / f"{repo.replace('/', '__')}-{commit}.tar"
    if not path.is_file():
        words = ["git", "-c", "safe.directory=*", "-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null"]
        words += ["-C", str(mirror), "archive", "--format=tar", commit]
        try:
            done = subprocess.run(words, capture_output=True, timeout=300)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise fields.bad("base_commit", f"git cannot read the mirror {mirror}: {error}") from None
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").strip()[:200]
            raise fields.bad("base_commit", f"the mirror {mirror} has no commit {commit}: {said}")
        with disk("write", path):
            path.parent.mkdir(parents=True, exist_ok=True)
            replace(path, done.stdout)
    return TarFile.of(path)


def _of_image(fields: _Fields, places: Places, image: str, paths: Sequence[str]) -> dict[str, bytes]:
    """The files of an image that the patches and tests name, and the test folders around them."""
    folders = sorted({folder for path in paths if (folder := _test_folder(path))})
    found: dict[str, bytes] = {}
    try:
        options: dict[str, Any] = {"seed": places.seed, "workdir": places.workdir, "limits": LIMITS}
        with new_sandbox(places.backend or "docker", image=image, **options) as box:
            said = box.exec(["/usr/bin/find", ".", "-type", "f", "-not", "-path", "./.git/*"], seconds=120)
            here = {line.removeprefix("./") for line in said.out.text.splitlines()}
            if said.out.left_out or not here:
                raise fields.bad("docker_image", f"{image} holds no tree in {places.seed}, or one with too many files")
            top = {p for p in here if "/" not in p or (p.startswith(("src/", "lib/")) and p.count("/") < 3)}
            wanted = here & set(paths) | {p for p in here if p.startswith(tuple(f"{f}/" for f in folders) or ("\0",))}
            found = {path: box.get(path) for path in sorted(wanted) if not in_tree(path)}
            return dict.fromkeys(sorted(t for t in top if not in_tree(t)), b"") | found
    except UsageError as error:
        if isinstance(error, BadInstance):
            raise
        raise fields.bad("docker_image", f"{image} cannot be read: {error}") from error


# ---------------------------------------------------------------------- parts


def _test_folder(path: str) -> str:
    """The outermost folder of tests that a path lies in; '' for none."""
    parts = PurePosixPath(path).parts[:-1]
    for k, part in enumerate(parts):
        if part in _TEST_FOLDERS:
            return "/".join(parts[: k + 1])
    return ""


def _tests(files: Mapping[str, bytes | None], named: Iterable[str]) -> dict[str, bytes]:
    """The named files and all that lies in their folders of tests, or beside them."""
    named = set(named)
    folders = {_test_folder(path) for path in named} - {""}
    beside = {path.rpartition("/")[0] for path in named if not _test_folder(path)}
    found = {}
    for path, data in files.items():
        folder, _, name = path.rpartition("/")
        near = folder in beside and (name == "conftest.py" or (name == "__init__.py" and folder != ""))
        if data is not None and (path in named or near or path.startswith(tuple(f"{f}/" for f in folders) or ("\0",))):
            found[path] = data
    return found


def _python_path(files: Mapping[str, bytes]) -> tuple[str, ...]:
    known = [f for f in ("src", "lib") if any(p.startswith(f"{f}/") and p.endswith(".py") for p in files)]
    return (*known, ".")


def _faulty(base: Mapping[str, bytes], gold: Mapping[str, bytes | None]) -> tuple[Region, ...]:
    found: list[Region] = []
    for path, data in gold.items():
        if path in base:
            found += regions(path, base[path].decode("utf-8", "replace"), (data or b"").decode("utf-8", "replace"))
    # A patch that only adds files changes no line that is there: its first file stands for it.
    return tuple(found) or (Region(next(iter(gold)), 1, 1),)
