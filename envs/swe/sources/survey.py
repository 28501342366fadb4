"""Surveys: what a suite of tests says of a tree, found out in a sandbox, three times where it must be sure."""

from __future__ import annotations

import json
import math
import posixpath
import secrets
import signal
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from agentgym.containers import FileRefused, new_sandbox
from agentgym.envs.swe.grading import LIMITS
from agentgym.envs.swe.inside import source
from agentgym.envs.swe.show import without_addresses
from agentgym.errors import UsageError

__all__ = ["STABLE", "Job", "Survey", "Surveyor", "stable"]

STABLE = 3
"""Runs that must agree on a test."""
_TESTS = "/tmp/survey/tests"
_PASSED = "setup=passed call=passed teardown=passed"


@dataclass(frozen=True)
class Survey:
    """One run.

    Attributes:
        outcomes: id -> ``passed``, ``failed`` or ``other`` (skipped, expected to fail), in the order they ran.
        words: id -> how it failed, in short; without places in memory.
        calls: id -> the functions it called, as (path, first line); '' for what importing called.
        errors: files that could not be collected, with the reason.
        cut: why the run did not end: '', ``time``, ``output`` or ``ended`` (the tests ended the process).
        seconds: it took.
    """

    outcomes: Mapping[str, str] = field(default_factory=dict)
    words: Mapping[str, str] = field(default_factory=dict)
    calls: Mapping[str, frozenset[tuple[str, int]]] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    cut: str = ""
    seconds: float = 0.0

    def having(self, outcome: str) -> frozenset[str]:
        """Ids of this outcome."""
        return frozenset(name for name, each in self.outcomes.items() if each == outcome)


@dataclass(frozen=True)
class Job:
    """One thing to run.

    Attributes:
        files: files of tests, relative to their folder.
        wanted: ids to run; all when None.
        changes: files of the tree that are otherwise in this job.
        most: failures after which to stop; 0 for none.
        again: how often to run it again when some tests, but fewer than ``most``, did not pass.
        trace: note which functions each test calls.
        seconds: limit of a run.
    """

    files: tuple[str, ...]
    wanted: tuple[str, ...] | None = None
    changes: Mapping[str, bytes] = field(default_factory=dict)
    most: int = 0
    again: int = 0
    trace: bool = False
    seconds: float = 120.0


class Surveyor:
    """Runs tests on trees in one sandbox, brought back to what it was before each run.

    Args:
        backend, image: as for `new_sandbox`.
        python_path: folders of the tree that imports start from.
        conftest: let pytest read the tests' ``conftest.py``.
        options: further arguments of pytest.
        seconds: limit of a run.
    """

    def __init__(
        self,
        *,
        backend: str = "",
        image: str = "agentgym/swe",
        python_path: Sequence[str] = (".",),
        conftest: bool = False,
        options: Sequence[str] = (),
        seconds: float = 120.0,
    ) -> None:
        self._box = new_sandbox(backend, image=image, limits=LIMITS)
        self._tree = f"{self._box.session.workdir}/"
        self._python_path, self._options = tuple(python_path), tuple(options)
        self.conftest, self.seconds = conftest, seconds
        self._start = ""

    def __enter__(self) -> Self:
        self._box.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._box.close()

    def prepare(
        self, tree: Mapping[str, bytes], tests: Mapping[str, bytes], *, warm: Sequence[str] | None = None
    ) -> None:
        """Take another tree and other tests for the runs to come.

        Args:
            tree, tests: path -> content.
            warm: run these files of tests once, and keep what that leaves.

        Raises:
            UsageError: they do not fit into a sandbox.
        """
        self._box.exec(["/bin/sh", "-c", f"rm -rf {self._tree}* {self._tree}.[!.]* {_TESTS}; mkdir -p {_TESTS}"])
        if self._start:
            self._box.forget(self._start)
        try:
            self._box.put_many(tree)
            self._box.put_many({f"{_TESTS}/{path}": data for path, data in tests.items()})
            self._start = self._box.snapshot()
            if warm:
                # What compiling leaves is kept for the runs to come: half of what a short run costs.
                self._run([Job(tuple(warm), seconds=self.seconds)])
                self._box.forget(self._start)
                self._start = self._box.snapshot()
        except FileRefused as error:
            raise UsageError(f"the tree and its tests do not fit into a sandbox: {error}") from error

    def run(self, files: Iterable[str], *, trace: bool = False, seconds: float | None = None) -> Survey:
        """One run.

        Args:
            files: files of tests, relative to their folder.
            trace: note which functions each test calls.
            seconds: limit; the surveyor's own when None.
        """
        self._box.restore(self._start)
        ((survey,),) = self._run([Job(tuple(files), trace=trace, seconds=seconds or self.seconds)])
        return survey

    def many(self, jobs: Sequence[Job]) -> list[list[Survey]]:
        """Runs of each job, one after another; one that was not reached for want of time has none."""
        self._box.restore(self._start)
        return self._run(jobs)

    def _run(self, jobs: Sequence[Job]) -> list[list[Survey]]:
        key = secrets.token_hex(8)
        asked = [
            {
                "files": list(job.files),
                "wanted": None if job.wanted is None else list(job.wanted),
                "most": job.most,
                "trace": self._tree if job.trace else "",
                "changes": {f"{self._tree}{path}": data for path, data in job.changes.items()},
                "again": job.again,
                "seconds": max(1, math.ceil(job.seconds)),
            }
            for job in jobs
        ]
        given = {
            "path": [posixpath.normpath(f"{self._tree}{path}") for path in self._python_path],
            "root": _TESTS,
            "options": list(self._options),
            "conftest": self.conftest,
            "key": key,
            "jobs": asked,
        }
        words = ["python3", "-I", "-c", source("survey")]
        whole = sum(job.seconds * (1 + job.again) for job in jobs) + 30
        stdin = repr(given).encode("utf-8", "surrogatepass")
        result = self._box.exec(words, stdin=stdin, seconds=whole, env={"PYTHONDONTWRITEBYTECODE": ""})
        cut = result.cut or ("output" if result.out.left_out else "")
        found = _read(result.out.text, key, len(jobs), cut, result.seconds)
        if len(jobs) == 1 and not found[0]:
            return [[Survey(cut=cut or "ended", seconds=result.seconds)]]
        return found


def stable(surveys: Sequence[Survey]) -> dict[str, str]:
    """Id -> outcome, of the tests on which all runs agree; missing in one counts as ``missing`` there."""
    names = dict.fromkeys(name for survey in surveys for name in survey.outcomes)
    found = {}
    for name in names:
        said = {survey.outcomes.get(name, "missing") for survey in surveys}
        if len(said) == 1:
            found[name] = said.pop()
    return found


def _read(text: str, key: str, jobs: int, cut: str, seconds: float) -> list[list[Survey]]:
    entries: list[dict[int, list[list[Any]]]] = [{} for _ in range(jobs)]
    for line in text.split("\n"):
        mark, _, rest = line.partition("\t")
        if mark == key and len(entry := _entry(rest)) > 2 and type(entry[0]) is int and 0 <= entry[0] < jobs:
            entries[entry[0]].setdefault(entry[1], []).append(entry[2:])
    return [[_survey(runs[k], cut, seconds) for k in sorted(runs)] for runs in entries]


def _survey(entries: Sequence[Sequence[Any]], cut: str, seconds: float) -> Survey:
    outcomes: dict[str, str] = {}
    words: dict[str, str] = {}
    calls: dict[str, frozenset[tuple[str, int]]] = {}
    errors: list[str] = []
    ended = False
    for kind, *values in entries:
        if kind == "test":
            name, steps, said = values
            outcomes[name] = "passed" if steps == _PASSED else "failed" if "failed" in steps else "other"
            if said:
                words[name] = without_addresses(said)
        elif kind == "calls":
            calls[values[0]] = frozenset((path, first) for path, first in values[1])
        elif kind == "error":
            errors.append(values[0])
        elif kind == "end":
            ended = True
        elif kind == "left" and values[0] < 0:
            cut = cut or ("time" if -values[0] == signal.SIGALRM else "ended")
    return Survey(outcomes, words, calls, tuple(errors), cut or ("" if ended else "ended"), seconds)


def _entry(text: str) -> list[Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return []
    return value if isinstance(value, list) else []
