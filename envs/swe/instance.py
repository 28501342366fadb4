"""Instance: one thing to repair, whatever source it comes from. Sources make it, the world consumes it.

As JSON (`Instance.to_json`, `from_json`), bytes are text where they are UTF-8 and ``{"base64": …}`` elsewhere; a tree
is ``{"files": {path: content}}`` or ``{"tar": path, "digest": …, "strip": n}``. A field that is wrong is named in the
error.
"""

from __future__ import annotations

import ast
import base64
import binascii
import hashlib
import json
import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeVar, get_args

from agentgym.envs.swe.tree import Files, TarFile, Tree, in_tree
from agentgym.errors import UsageError

__all__ = ["GROUPS", "SOURCES", "BadInstance", "Instance", "Region", "Runner", "Source", "Split", "Value"]

Source = Literal["smoke", "bugs", "release", "mutant", "swebench"]
Split = Literal["train", "held_out"]
Runner = Literal["pytest", "plain"]
SOURCES: tuple[Source, ...] = get_args(Source)
GROUPS = 3
"""Parts of FAIL_TO_PASS that are a milestone each."""
T = TypeVar("T")


class BadInstance(UsageError):
    """An instance that cannot be: the message names the field."""

    def __init__(self, where: str, field: str, message: str) -> None:
        super().__init__(f"instance {where[:200]!r}, field {field!r}: {message}")
        self.field = field


@dataclass(frozen=True, slots=True)
class Region:
    """Lines of the faulty tree that the repair changes.

    Attributes:
        path: file.
        first, last: 1-based lines, both included. Of a pure insertion, the line it stands before.
        function: qualified name of the innermost function around it, '' outside of any.
    """

    path: str
    first: int
    last: int
    function: str = ""


@dataclass(frozen=True, slots=True)
class Value:
    """One assertion as a value that is compared outside the sandbox, where no object can claim to equal anything.

    Attributes:
        test: the id, in `fail_to_pass` or `pass_to_pass`, that this value belongs to.
        call: a Python expression.
        expected: the value as a Python literal (``'[1, 2]'``): numbers, texts, bytes, None, and tuples, lists, sets and
            dicts of these. '' where the call must raise.
        raises: name of the exception's class that the call must raise (a base class counts).
        setup: statements that run first, imports among them.
    """

    test: str
    call: str
    expected: str = ""
    raises: str = ""
    setup: str = ""


@dataclass(frozen=True)
class Instance:
    """One thing to repair.

    Attributes:
        instance_id: unique name, stable over versions of the code.
        source: where it comes from.
        statement: what the agent is told.
        tree: the repository with the fault, without history, without the hidden tests.
        tests: hidden test files (and data files they read), relative to a folder of their own outside the tree.
        fail_to_pass: pytest ids, relative to that folder (``test_a.py::test_b[1]``), that must come to pass.
        pass_to_pass: ids that pass and must go on passing.
        gold: files after the repair; None where it deletes one.
        faulty: what the repair changes; at least one region.
        visible: files or ids of the tree that the tool ``run_tests`` runs; everything that pytest finds when empty.
        python_path: folders of the tree that imports start from (``'.'``, ``'src'``).
        options: further arguments of pytest for hidden and visible tests (``-p no:randomly``).
        conftest: the hidden tests need their own ``conftest.py``; without it pytest gets ``--noconftest``.
        seconds: time limit of one run of all tests.
        values: out-of-process checks; where each id has one, they alone tell progress, and grading needs both.
        runner: ``pytest``; or ``plain``: visible tests are functions without arguments, and values alone grade, those
            of a test within a quarter of a second of processor time.
        image: name of the sandbox image (Docker).
        seed: folder of the image that holds the rest of the tree; '' for none.
        workdir: the working folder, where the image's programs expect the repository.
        python: the interpreter that runs tests, by name or path in the image.
        split: train or held_out.
        about: whatever else is known (package, versions, licence); not interpreted.
    """

    instance_id: str
    source: Source
    statement: str
    tree: Tree
    tests: Mapping[str, bytes]
    fail_to_pass: tuple[str, ...]
    pass_to_pass: tuple[str, ...]
    gold: Mapping[str, bytes | None]
    faulty: tuple[Region, ...]
    visible: tuple[str, ...] = ()
    python_path: tuple[str, ...] = (".",)
    options: tuple[str, ...] = ()
    conftest: bool = False
    seconds: float = 60.0
    values: tuple[Value, ...] = ()
    runner: Runner = "pytest"
    image: str = "agentgym/swe"
    seed: str = ""
    workdir: str = "/work"
    python: str = "python3"
    split: Split = "train"
    about: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("tests", "gold", "about"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))
        self._check()

    def __hash__(self) -> int:
        return hash(self.instance_id)

    @property
    def place(self) -> tuple[str, str, str]:
        """Image, seed and working folder: instances of one place may use one sandbox, one after the other."""
        return self.image, self.seed, self.workdir

    @property
    def paths(self) -> list[str]:
        """Absolute folders that imports start from."""
        return [posixpath.normpath(f"{self.workdir}/{path}") for path in self.python_path]

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """FAIL_TO_PASS in `GROUPS` parts; with fewer ids than that, some part of several has the same one."""
        ids = self.fail_to_pass
        return tuple(ids[k::GROUPS] or ids[-1:] for k in range(GROUPS))

    @property
    def by_values(self) -> bool:
        """Every id has a value check: the hidden tests need not run to tell progress."""
        return {v.test for v in self.values} == {*self.fail_to_pass, *self.pass_to_pass}

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of everything."""
        text = json.dumps({**self.to_json(), "tree": self.tree.digest}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    # ------------------------------------------------------------------ JSON

    def to_json(self) -> dict[str, Any]:
        """As JSON-like values. A tar file is written by its path."""
        return {
            "instance_id": self.instance_id,
            "source": self.source,
            "statement": self.statement,
            "tree": _tree_to_json(self.tree),
            "tests": {path: _bytes_to_json(data) for path, data in self.tests.items()},
            "fail_to_pass": list(self.fail_to_pass),
            "pass_to_pass": list(self.pass_to_pass),
            "gold": {path: None if data is None else _bytes_to_json(data) for path, data in self.gold.items()},
            "faulty": [{f.name: getattr(r, f.name) for f in fields(r)} for r in self.faulty],
            "visible": list(self.visible),
            "python_path": list(self.python_path),
            "options": list(self.options),
            "conftest": self.conftest,
            "seconds": self.seconds,
            "values": [{f.name: getattr(v, f.name) for f in fields(v)} for v in self.values],
            "runner": self.runner,
            "image": self.image,
            "seed": self.seed,
            "workdir": self.workdir,
            "python": self.python,
            "split": self.split,
            "about": dict(self.about),
        }

    @classmethod
    def from_json(cls, data: object, *, folder: Path | None = None) -> Instance:
        """The inverse of `to_json`.

        Args:
            data: JSON-like values.
            folder: where relative paths of tar files start; the current folder when None.

        Raises:
            BadInstance: a field is missing, unknown or wrong; names it.
        """
        if not isinstance(data, dict):
            raise BadInstance("?", "", f"expected an object with fields, got {type(data).__name__}")
        where = str(data.get("instance_id", "?"))
        known = {f.name: f for f in fields(cls)}
        for name in data:
            if name not in known:
                raise BadInstance(where, str(name), f"is not known; the fields are {', '.join(known)}")
        read = _Reader(where, data, folder or Path())
        given: dict[str, Any] = {}
        for name, reader in _READERS.items():
            if name in data:
                given[name] = reader(read, name)
            elif name in _REQUIRED:
                raise BadInstance(where, name, "is missing")
        return cls(**given)

    # ------------------------------------------------------------------ checks

    def _check(self) -> None:
        def bad(name: str, message: str) -> BadInstance:
            return BadInstance(self.instance_id, name, message)

        if not self.instance_id or len(self.instance_id) > 200 or not self.instance_id.isprintable():
            raise bad("instance_id", "expected 1 to 200 printable characters")
        if self.source not in SOURCES:
            raise bad("source", f"expected one of {SOURCES}, got {self.source!r}")
        if self.split not in get_args(Split):
            raise bad("split", f"expected one of {get_args(Split)}, got {self.split!r}")
        if not self.workdir.startswith("/") or posixpath.normpath(self.workdir) != self.workdir or self.workdir == "/":
            raise bad("workdir", f"expected an absolute folder such as '/work', got {self.workdir!r:.200}")
        if not self.python.strip() or self.python.startswith("-"):
            raise bad("python", f"expected the name or path of an interpreter, got {self.python!r:.200}")
        if self.runner not in get_args(Runner):
            raise bad("runner", f"expected one of {get_args(Runner)}, got {self.runner!r}")
        if self.runner == "plain" and not self.by_values:
            raise bad("runner", "'plain' needs a value for every id: nothing else would grade")
        if not self.statement.strip():
            raise bad("statement", "is empty: the agent would not know what to do")
        for name in ("tests", "gold"):
            for path in getattr(self, name):
                if why := in_tree(path):
                    raise bad(name, f"path {path[:200]!r} {why}")
        if not self.tests:
            raise bad("tests", "there are no hidden test files")
        if not self.fail_to_pass:
            raise bad("fail_to_pass", "is empty: nothing would show that the repair works")
        seen: set[str] = set()
        for name in ("fail_to_pass", "pass_to_pass"):
            for test in getattr(self, name):
                path, _, rest = test.partition("::")
                if not rest or path not in self.tests:
                    raise bad(name, f"{test[:200]!r} is not an id such as 'test_a.py::test_b' of a file in `tests`")
                if test in seen:
                    raise bad(name, f"{test[:200]!r} stands twice")
                seen.add(test)
        if not self.gold:
            raise bad("gold", "is empty: there is no repair")
        if not self.faulty:
            raise bad("faulty", "is empty: expected at least one region")
        for region in self.faulty:
            if why := in_tree(region.path):
                raise bad("faulty", f"path {region.path[:200]!r} {why}")
            if not 1 <= region.first <= region.last:
                raise bad("faulty", f"expected 1 <= first <= last, got {region.first} and {region.last}")
        for path in self.python_path:
            if path != "." and (why := in_tree(path)):
                raise bad("python_path", f"{path[:200]!r} {why}")
        if isinstance(self.seconds, bool) or not 0 < self.seconds <= 3600:
            raise bad("seconds", f"expected a number in (0, 3600], got {self.seconds!r}")
        for value in self.values:
            if value.test not in seen:
                raise bad("values", f"{value.test[:200]!r} is neither in fail_to_pass nor in pass_to_pass")
            if bool(value.expected) == bool(value.raises):
                raise bad("values", f"a value of {value.test!r} needs exactly one of `expected` and `raises`")
            for text, mode in ((value.call, "eval"), (value.setup, "exec")):
                try:
                    ast.parse(text, mode=mode)
                except (SyntaxError, ValueError) as error:
                    raise bad("values", f"{text[:100]!r} is not Python: {error}") from None
            if value.expected:
                try:
                    ast.literal_eval(value.expected)
                except (SyntaxError, ValueError) as error:
                    raise bad("values", f"{value.expected[:100]!r} is not a literal: {error}") from None


# ---------------------------------------------------------------------- reading


class _Reader:
    """Takes fields of the right kind out of JSON-like values."""

    def __init__(self, where: str, data: Mapping[str, Any], folder: Path) -> None:
        self.where, self.data, self.folder = where, data, folder

    def bad(self, name: str, expected: str, got: object) -> BadInstance:
        return BadInstance(self.where, name, f"expected {expected}, got {_short(got)}")

    def text(self, name: str) -> str:
        value = self.data[name]
        if not isinstance(value, str):
            raise self.bad(name, "a text", value)
        return value

    def flag(self, name: str) -> bool:
        value = self.data[name]
        if not isinstance(value, bool):
            raise self.bad(name, "true or false", value)
        return value

    def number(self, name: str) -> float:
        value = self.data[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.bad(name, "a number", value)
        return float(value)

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.data[name]
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise self.bad(name, "a list of texts", value)
        return tuple(value)

    def text_map(self, name: str) -> dict[str, str]:
        value = self.data[name]
        if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
            raise self.bad(name, "an object of texts", value)
        return value

    def contents(self, name: str, value: object = None) -> dict[str, bytes]:
        value = self.data[name] if value is None else value
        if not isinstance(value, dict):
            raise self.bad(name, "an object of path and content", value)
        return {path: self._content(f"{name}.{path}", data) for path, data in value.items()}

    def gold(self, name: str) -> dict[str, bytes | None]:
        value = self.data[name]
        if not isinstance(value, dict):
            raise self.bad(name, "an object of path and content (null where the file goes)", value)
        return {p: None if d is None else self._content(f"{name}.{p}", d) for p, d in value.items()}

    def tree(self, name: str) -> Tree:
        value = self.data[name]
        if isinstance(value, dict) and set(value) == {"files"}:
            return Files(self.contents(name, value["files"]))
        if isinstance(value, dict) and {"tar", "digest"} <= set(value) <= {"tar", "digest", "strip"}:
            tar, digest, strip = value["tar"], value["digest"], value.get("strip", 0)
            if isinstance(tar, str) and isinstance(digest, str) and type(strip) is int and strip >= 0:
                return TarFile(self.folder / tar, digest, strip)
        raise self.bad(name, '{"files": {path: content}} or {"tar": path, "digest": SHA-256, "strip": number}', value)

    def items(self, kind: Callable[..., T]) -> Callable[[str], tuple[T, ...]]:
        def read(name: str) -> tuple[T, ...]:
            value = self.data[name]
            known = {f.name: f.type for f in fields(kind)}  # type: ignore[arg-type]
            if not isinstance(value, list):
                raise self.bad(name, "a list of objects", value)
            made = []
            for k, each in enumerate(value):
                if not isinstance(each, dict) or not set(each) <= set(known):
                    raise self.bad(f"{name}[{k}]", f"an object with the fields {', '.join(known)}", each)
                for key, part in each.items():
                    wanted = int if known[key] == "int" else str
                    if type(part) is not wanted:
                        raise self.bad(f"{name}[{k}].{key}", "a number" if wanted is int else "a text", part)
                try:
                    made.append(kind(**each))
                except TypeError as error:
                    raise self.bad(f"{name}[{k}]", str(error).partition("() ")[2], each) from None
            return tuple(made)

        return read

    def _content(self, name: str, value: object) -> bytes:
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
        if isinstance(value, dict) and set(value) == {"base64"} and isinstance(value["base64"], str):
            try:
                return base64.b64decode(value["base64"], validate=True)
            except binascii.Error as error:
                raise BadInstance(self.where, name, f"the base64 is broken: {error}") from None
        raise self.bad(name, 'a text or {"base64": text}', value)


_READERS: dict[str, Callable[[_Reader, str], Any]] = {
    "instance_id": _Reader.text,
    "source": _Reader.text,
    "statement": _Reader.text,
    "tree": _Reader.tree,
    "tests": _Reader.contents,
    "fail_to_pass": _Reader.texts,
    "pass_to_pass": _Reader.texts,
    "gold": _Reader.gold,
    "faulty": lambda reader, name: reader.items(Region)(name),
    "visible": _Reader.texts,
    "python_path": _Reader.texts,
    "options": _Reader.texts,
    "conftest": _Reader.flag,
    "seconds": _Reader.number,
    "values": lambda reader, name: reader.items(Value)(name),
    "runner": _Reader.text,
    "image": _Reader.text,
    "seed": _Reader.text,
    "workdir": _Reader.text,
    "python": _Reader.text,
    "split": _Reader.text,
    "about": _Reader.text_map,
}
_REQUIRED = tuple(_READERS)[:9]


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 100 else text[:97] + '...'}"


def _tree_to_json(tree: Tree) -> dict[str, Any]:
    if isinstance(tree, TarFile):
        return {"tar": str(tree.path), "digest": tree.digest, "strip": tree.strip}
    return {"files": {path: _bytes_to_json(data) for path, data in tree.files().items()}}


def _bytes_to_json(data: bytes) -> str | dict[str, str]:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}
