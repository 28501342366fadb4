"""Runs tests by pytest and reports each one: its outcome, how it failed, and which functions of the code it called.

Sent into a sandbox by those who build instances. Standard input is a Python literal: ``path`` (folders to import from),
``root`` (folder of the tests), ``options``, ``conftest``, ``key``, and ``jobs``, each with ``files``, ``wanted`` (ids,
or None for all), ``most`` (failures after which to stop; 0 for none), ``trace`` (prefix of the files whose functions
are noted; '' for none), ``changes`` (path -> content, taken back after the job), ``again`` (how often to run it again
when some test, but fewer than ``most``, did not pass) and ``seconds``. Every run has a process of its own, forked when
pytest is loaded and nothing of the tree is. Answers are lines on standard output: the key, a tab, and JSON that begins
with the number of the job and of the run; what tests print goes nowhere.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import sys
from typing import Any

_MANY, _LOST = 250, 251


def main() -> None:
    job = eval(sys.stdin.buffer.read())  # noqa: S307  (a literal from the host)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest  # what every run loads, loaded once

    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    os.chdir(job["root"])
    for number, each in enumerate(job["jobs"]):
        before = {path: _swap(path, data) for path, data in each["changes"].items()}
        for run in range(1 + each["again"]):
            if (child := os.fork()) == 0:
                code = _LOST
                try:
                    signal.alarm(each["seconds"])
                    code = _run(pytest, job, each, [number, run], out)
                finally:
                    os._exit(code)
            status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            _say(job["key"], [[number, run, "left", status]], out)
            if not 1 <= status < each["most"]:
                break
        for path, data in before.items():
            _swap(path, data)


def _swap(path: str, data: bytes) -> bytes:
    """Write a file; returns what it held. By size and second alone it could look like what it was compiled from."""
    with open(path, "rb") as file:
        before = file.read()
    with open(path, "wb") as file:
        file.write(data)
    with contextlib.suppress(FileNotFoundError, ValueError):
        os.unlink(importlib.util.cache_from_source(path))
    return before


def _say(key: str, lines: list[list[Any]], out: int) -> None:
    data = "".join(f"{key}\t{json.dumps(line)}\n" for line in lines).encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(out, data) :]


def _run(pytest: Any, job: dict[str, Any], each: dict[str, Any], mark: list[int], out: int) -> int:
    """One run; returns how many of the wanted tests did not pass."""
    wanted = None if each["wanted"] is None else set(each["wanted"])
    trace = each["trace"]
    found: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    calls: dict[str, set[tuple[str, int]]] = {}
    errors: list[str] = []
    now = [""]

    def note(frame: Any, event: str, arg: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(trace):
            calls.setdefault(now[0], set()).add((code.co_filename[len(trace) :], code.co_firstlineno))

    class Watch:
        """Collects reports."""

        @pytest.hookimpl(trylast=True)  # type: ignore[untyped-decorator]
        def pytest_collection_modifyitems(self, items: list[Any]) -> None:
            if wanted is not None:
                items[:] = [item for item in items if item.nodeid in wanted]

        def pytest_collectreport(self, report: Any) -> None:
            if report.failed:
                errors.append(f"{report.nodeid}: {str(report.longrepr)[-400:]}")

        def pytest_runtest_logstart(self, nodeid: str) -> None:
            now[0] = nodeid
            if trace:
                sys.settrace(note)  # again: a test that exhausts the stack ends tracing for all that follow

        def pytest_runtest_logfinish(self) -> None:
            now[0] = ""

        def pytest_runtest_logreport(self, report: Any) -> None:
            outcome = "xfail" if hasattr(report, "wasxfail") else report.outcome
            found.setdefault(report.nodeid, []).append(f"{report.when}={outcome}")
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                words[report.nodeid] = str(getattr(crash, "message", report.longrepr))[:400]

    sys.path[:0] = job["path"]
    given = ["-q", "-p", "no:cacheprovider", f"--rootdir={job['root']}", "-c", os.devnull]
    given += ["--continue-on-collection-errors", "--tb=short"]
    given += [f"--maxfail={each['most']}"] if each["most"] else []
    given += [f"--confcutdir={job['root']}"] if job["conftest"] else ["--noconftest"]
    code = int(pytest.main([*given, *job["options"], *each["files"]], plugins=[Watch()]))
    sys.settrace(None)
    lines = [[*mark, "test", name, " ".join(steps), words.get(name, "")] for name, steps in found.items()]
    lines += [[*mark, "calls", name, sorted(some)] for name, some in calls.items()]
    lines += [[*mark, "error", some] for some in errors[:20]]
    _say(job["key"], [*lines, [*mark, "end", code]], out)
    good = [name for name, steps in found.items() if steps == ["setup=passed", "call=passed", "teardown=passed"]]
    return min(_MANY, len((wanted or set(found)) - set(good)))


if __name__ == "__main__":
    main()
