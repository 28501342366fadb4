"""Grading: what a patch makes of the hidden tests, found out where the agent has never been.

Two kinds of sandbox, both apart from the agent's: a warm one that is brought back before every check (progress after an
edit), and a fresh one for each submission. Into them go the repository as the task source made it, the agent's changed
files, and the hidden tests in a folder of their own. What would change how tests are run (``conftest.py``, settings of
pytest, ``sitecustomize``, ``.pth`` files, modules named like pytest's or the standard library's) does not go in.

A test passes when pytest says so and all its values agree (`agentgym.envs.swe.values`); one that is not heard of fails.
Among the hidden tests stands one that must fail: where it does not, nothing that was said is believed.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sys
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from agentgym.containers import FileRefused, Limits, Pool, new_sandbox
from agentgym.containers.sandbox import RunnerSandbox
from agentgym.envs.swe.affected import affected
from agentgym.envs.swe.inside import source
from agentgym.envs.swe.instance import Instance, Value
from agentgym.envs.swe.values import agrees
from agentgym.envs.swe.watched import watched
from agentgym.errors import UsageError, WorldError

__all__ = ["LIMITS", "Grader", "Patch", "Report", "carried", "controls"]

Patch = Mapping[str, bytes | None]
"""Changed files: path -> content; None where the file is gone."""
LIMITS = Limits(output=4 << 20)
_TESTS = "/tmp/grading/tests"
_EACH = 5.0
"""Seconds for the values of one test."""
_EACH_CPU = {"plain": 0.25, "pytest": 0.0}
"""The same in processor time, by runner; 0 for no limit. One function needs less than a thousandth of this, and a loop
that does not end is over soon, however busy the machine."""
_KEPT = 4096
_RUNNERS = frozenset({"pytest", "_pytest", "pluggy", "iniconfig", "py", "sitecustomize", "usercustomize"})
_SETTINGS = frozenset({"conftest.py", "pytest.ini", ".pytest.ini", "tox.ini", "setup.cfg", "pytest.toml"})


def controls(path: str, known: Collection[str] = ()) -> bool:
    """Whether a file decides how tests are run rather than what the code does.

    Args:
        path: relative to the tree.
        known: paths of the tree as it was: a module that stood there before shadows nothing new.
    """
    pure = PurePosixPath(path)
    if pure.name in _SETTINGS or pure.suffix == ".pth" or pure.stem in ("sitecustomize", "usercustomize"):
        return True
    names = {pure.parts[0], *(pure.parts[1:2] if pure.parts[0] in ("src", "lib") else ())}
    top = {
        name.removesuffix(".py").partition(".")[0]
        for name in names
        if name.endswith((".py", ".so")) or len(pure.parts) > 1
    }
    return path not in known and bool(top & (_RUNNERS | sys.stdlib_module_names))


def carried(instance: Instance, patch: Patch, base: Mapping[str, bytes] | None = None) -> dict[str, bytes | None]:
    """The part of a patch that is graded; `base` is the whole tree where part of it came with an image."""
    known = instance.tree.files() if base is None else base
    return {path: data for path, data in patch.items() if not controls(path, known) or path in instance.gold}


@dataclass(frozen=True)
class Report:
    """What a patch makes of the hidden tests.

    Attributes:
        passed: id -> whether it passes; every id that was asked for.
        reach: id -> how far a failing test got: 0 nothing can be imported, 0.5 the code under test raises, 1 it gives a
            wrong value. Of passing ones 1.
        lies: what showed that the code under test deceives, in sentences.
        seconds: of the runs in the sandbox.
    """

    passed: Mapping[str, bool] = field(default_factory=dict)
    reach: Mapping[str, float] = field(default_factory=dict)
    lies: tuple[str, ...] = ()
    seconds: float = 0.0

    def share(self, ids: Collection[str]) -> float:
        """The part of these ids that passes."""
        return sum(self.passed.get(i, False) for i in ids) / len(ids) if ids else 1.0

    def solved(self, instance: Instance) -> bool:
        """All FAIL_TO_PASS and PASS_TO_PASS pass, and nobody lied."""
        ids = (*instance.fail_to_pass, *instance.pass_to_pass)
        return not self.lies and all(self.passed.get(i, False) for i in ids)


class Grader:
    """Grades patches; keeps a warm sandbox and, once somebody submits, a fresh one in reserve.

    Args:
        backend: as for `new_sandbox`.
        limits: of the grading sandboxes.

    Attributes:
        seconds: that tests have run for checks so far.

    Raises:
        UsageError: no back-end.
    """

    def __init__(self, backend: str = "", *, limits: Limits = LIMITS) -> None:
        self.backend, self.limits = backend, limits
        self._warm: dict[tuple[str, str, str], _Warm] = {}
        self._fresh: dict[tuple[str, str, str], Pool[RunnerSandbox]] = {}
        self.seconds = 0.0
        self._known: OrderedDict[tuple[str, str], Report] = OrderedDict()

    def check(self, instance: Instance, patch: Patch, base: Mapping[str, bytes] | None = None) -> Report:
        """What the patch makes of the hidden tests, in the warm sandbox. Remembered.

        Where every id has values, they alone are asked. Else pytest runs the tests that the patch can reach (see
        `affected`); the others are as the instance says they are at the start.

        Args:
            base: the whole tree, where part of it came with an image.

        Raises:
            WorldError: the sandbox is lost meanwhile, or none can be made; the next call makes another one.
        """
        key = (instance.instance_id, _digest(patch))
        if key in self._known:
            self._known.move_to_end(key)
            return self._known[key]
        warm = self._warm.setdefault(instance.place, _Warm())
        if warm.box is not None and not warm.box.answers():
            warm.close()  # lost since the last check, with its engine say: no fault of this episode
        try:
            if warm.box is None:
                warm.box = self._box(instance).start()
            report = self._in(warm.ready(instance), instance, carried(instance, patch, base))
        except WorldError:
            warm.close()
            raise
        self.seconds += report.seconds
        self._known[key] = report
        if len(self._known) > _KEPT:
            self._known.popitem(last=False)
        return report

    @staticmethod
    def _in(box: RunnerSandbox, instance: Instance, patch: Patch) -> Report:
        wanted = (*instance.fail_to_pass, *instance.pass_to_pass)
        if why := _fill(box, {}, patch):
            return _nothing(wanted, why)
        if instance.by_values:
            return _values(box, instance, wanted)
        reached = affected(instance, patch) if patch else wanted
        if not reached:
            found = Report()
        else:
            found = _join(_values(box, instance, reached), _pytest(box, instance, reached))
        start = {i: i not in instance.fail_to_pass for i in wanted}
        return replace(found, passed={**start, **found.passed}, reach={**dict.fromkeys(wanted, 1.0), **found.reach})

    def grade(self, instance: Instance, patch: Patch, base: Mapping[str, bytes] | None = None) -> Report:
        """The verdict on a submission, in a sandbox that nobody has used; it is ended afterwards.

        Raises:
            WorldError: the sandbox is lost.
        """
        key = instance.place
        if key not in self._fresh:
            self._fresh[key] = Pool(lambda: self._box(instance), size=1)
        wanted = (*instance.fail_to_pass, *instance.pass_to_pass)
        with self._fresh[key].take() as box:
            if why := _fill(box, instance.tree.files(), carried(instance, patch, base)):
                return _nothing(wanted, why)
            start = box.snapshot()
            report = _values(box, instance, wanted)
            if instance.runner == "plain":
                return report
            box.restore(start)
            return _join(report, _pytest(box, instance, wanted))

    def close(self) -> None:
        """End all sandboxes."""
        for warm in self._warm.values():
            warm.close()
        for pool in self._fresh.values():
            pool.close()
        self._warm.clear()
        self._fresh.clear()

    def _box(self, instance: Instance) -> RunnerSandbox:
        image, seed, workdir = instance.place
        return new_sandbox(self.backend, image=image, seed=seed, workdir=workdir, limits=self.limits)


class _Warm:
    """A grading sandbox that holds one instance's tree, and comes back to it before every check."""

    def __init__(self) -> None:
        self.box: RunnerSandbox | None = None
        self._empty = self._tree = self._holds = ""

    def ready(self, instance: Instance) -> RunnerSandbox:
        box = self.box
        assert box is not None
        self._empty = self._empty or box.snapshot()
        if self._holds != instance.instance_id:
            self._holds = ""
            box.restore(self._empty)
            if self._tree:
                box.forget(self._tree)
                self._tree = ""
            if why := _fill(box, instance.tree.files(), {}):
                raise UsageError(f"instance {instance.instance_id}: its tree does not fit into a sandbox: {why}")
            self._tree, self._holds = box.snapshot(), instance.instance_id
        else:
            box.restore(self._tree)
        return box

    def close(self) -> None:
        if self.box is not None:
            self.box.close()
        self.box = None
        self._empty = self._tree = self._holds = ""


# ---------------------------------------------------------------------- in the sandbox


def _fill(box: RunnerSandbox, tree: Mapping[str, bytes], patch: Patch) -> str:
    """Put a tree and a patch into the working folder; why it cannot be done, or ''."""
    gone = [path for path, data in patch.items() if data is None]
    whole = {path: data for path, data in tree.items() if patch.get(path, data) is not None}
    whole |= {path: data for path, data in patch.items() if data is not None}
    try:
        if kept := [path for path in gone if path not in tree]:
            box.exec(["/bin/rm", "-f", "--", *kept])
        if whole:
            box.put_many(whole)
    except FileRefused as error:
        return str(error)
    return ""


def _values(box: RunnerSandbox, instance: Instance, ids: tuple[str, ...]) -> Report:
    by_test: dict[str, list[Value]] = {}
    for value in instance.values:
        by_test.setdefault(value.test, []).append(value)
    tests = [i for i in ids if i in by_test]
    if not tests:
        return Report()
    job = {
        "path": instance.paths,
        "seconds": instance.seconds,
        "each": _EACH,
        "cpu": _EACH_CPU[instance.runner],
        "groups": [[(v.setup, v.call) for v in by_test[i]] for i in tests],
    }
    site = ["-S"] if instance.runner == "plain" else []
    words = [instance.python, "-I", "-B", *site, "-c", source("calls")]
    result = box.exec(words, stdin=repr(job).encode("utf-8", "surrogatepass"), seconds=instance.seconds + 5)
    lines = result.out.text.split("\n") if not result.out.left_out else []
    passed, reach = {}, {}
    for k, test in enumerate(tests):
        said = lines[k].split("\t")[:-1] if k < len(lines) else []
        good = [agrees(value, word) for value, word in zip(by_test[test], said, strict=False)]
        passed[test] = len(said) == len(by_test[test]) and all(good)
        first = next(
            (word for word, fine in zip(said, good, strict=False) if not fine), "" if not passed[test] else "="
        )
        reach[test] = {"=": 1.0, "!": 0.5}.get(first[:1], 0.0)
    return Report(passed, reach, (), result.seconds)


def _pytest(box: RunnerSandbox, instance: Instance, ids: tuple[str, ...]) -> Report:
    key, canary, look = secrets.token_hex(8), f"test_{secrets.token_hex(3)}.py", f"_{secrets.token_hex(6)}"
    must_fail = [f"{canary}::test_{name}" for name in ("equal", "true", "raises")]
    try:
        tests = {p: watched(data, look) if p.endswith(".py") else data for p, data in instance.tests.items()}
        box.put_many({f"{_TESTS}/{path}": data for path, data in tests.items()} | {f"{_TESTS}/{canary}": _CANARY})
    except FileRefused as error:
        return _nothing(ids, str(error))
    files = list(dict.fromkeys(i.partition("::")[0] for i in ids))
    job = {
        "path": instance.paths,
        "tree": f"{instance.workdir}/",
        "root": _TESTS,
        "files": [*files[: len(files) // 2], canary, *files[len(files) // 2 :]],
        "wanted": [*ids, *must_fail],
        "options": list(instance.options),
        "conftest": instance.conftest,
        "key": key,
        "look": look,
    }
    words = [instance.python, "-I", "-B", "-c", source("suite")]
    result = box.exec(words, stdin=repr(job).encode("utf-8", "surrogatepass"), seconds=instance.seconds)
    if "No module named 'pytest'" in result.err.text:
        raise UsageError(
            f"{instance.python} in the sandbox has no pytest: apt-get install python3-pytest (bubblewrap shows the "
            "sandbox this machine's), or use an image that has it (agentgym images build swe)"
        )
    return _read(result.out.text, key, ids, must_fail, result.seconds)


_CANARY = b"""def test_equal():
    assert [1, 2] == [1, 3]


def test_true():
    assert not "text"


def test_raises():
    raise ValueError(1)
"""


def _read(text: str, key: str, ids: tuple[str, ...], must_fail: list[str], seconds: float) -> Report:
    steps: dict[str, str] = {}
    reach: dict[str, float] = {}
    ended = False
    for line in text.split("\n"):
        mark, _, rest = line.partition("\t")
        parts = rest.split("\t")
        if mark != key or len(parts) != 3:
            continue
        if parts[0] == "end":
            ended = parts[1] == "1"  # tests failed: the canary did
            continue
        name = json.loads(parts[0])
        steps[name] = parts[1]
        reach[name] = {"wrong": 1.0, "raised": 0.5}.get(parts[2], 0.0)
    lies = []
    if steps and not all(steps.get(name) == "setup=passed call=failed teardown=passed" for name in must_fail):
        lies.append("a test that must fail did not: the code under test changes how tests are judged")
    elif steps and not ended:
        lies.append("pytest's exit code does not fit what it reported")
    passed = {i: not lies and steps.get(i) == "setup=passed call=passed teardown=passed" for i in ids}
    return Report(passed, {i: 1.0 if passed[i] else reach.get(i, 0.0) for i in ids}, tuple(lies), seconds)


def _join(values: Report, tests: Report) -> Report:
    """Both must be content."""
    lies = [*values.lies, *tests.lies]
    if any(tests.passed[i] and not fine for i, fine in values.passed.items() if i in tests.passed):
        lies.append("a test passes whose values are wrong: an object claims to equal what it does not")
    passed = {i: fine and values.passed.get(i, True) for i, fine in tests.passed.items()}
    reach = {i: min(far, values.reach.get(i, 1.0)) for i, far in tests.reach.items()}
    return Report(passed, reach, tuple(dict.fromkeys(lies)), values.seconds + tests.seconds)


def _nothing(ids: Iterable[str], why: str) -> Report:
    ids = tuple(ids)
    return Report(dict.fromkeys(ids, False), dict.fromkeys(ids, 0.0), (f"it cannot be graded: {why}",))


def _digest(patch: Patch) -> str:
    whole = hashlib.sha256()
    for path, data in sorted(patch.items()):
        whole.update(f"{path}\0{-1 if data is None else len(data)}\0".encode("utf-8", "surrogatepass"))
        whole.update(data or b"")
    return whole.hexdigest()
