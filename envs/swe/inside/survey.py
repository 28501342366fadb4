"""Runs tests by pytest and reports each one: its outcome, how it failed, and which functions of the code it called.

Sent into a sandbox by those who build instances. Standard input is a Python literal: ``path`` (folders to import from),
``root`` (folder of the tests), ``files``, ``wanted`` (ids, or None for all), ``options``, ``conftest``, ``most``
(failures after which to stop; 0 for none), ``trace`` (prefix of the files whose functions are noted; '' for none),
``changed`` (files whose compiled form is old), ``key``. Answers are lines on standard output that begin with the key;
what tests print goes nowhere.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import sys
from typing import Any


def main() -> None:
    job = eval(sys.stdin.buffer.read())  # noqa: S307  (a literal from the host)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest

    wanted = None if job["wanted"] is None else set(job["wanted"])
    found: dict[str, list[str]] = {}
    words: dict[str, str] = {}
    calls: dict[str, set[tuple[str, int]]] = {}
    errors: list[str] = []
    now = [""]
    trace = job["trace"]

    def note(frame: Any, event: str, arg: object) -> None:
        code = frame.f_code
        if code.co_filename.startswith(trace):
            calls.setdefault(now[0], set()).add((code.co_filename[len(trace) :], code.co_firstlineno))

    class Watch:
        """Collects reports."""

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            if wanted is not None:
                items[:] = [item for item in items if item.nodeid in wanted]

        def pytest_collectreport(self, report: pytest.CollectReport) -> None:
            if report.failed:
                errors.append(f"{report.nodeid}: {str(report.longrepr)[-400:]}")

        def pytest_runtest_logstart(self, nodeid: str) -> None:
            now[0] = nodeid

        def pytest_runtest_logfinish(self) -> None:
            now[0] = ""

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            outcome = "xfail" if hasattr(report, "wasxfail") else report.outcome
            found.setdefault(report.nodeid, []).append(f"{report.when}={outcome}")
            if report.failed:
                crash = getattr(report.longrepr, "reprcrash", None)
                words[report.nodeid] = str(getattr(crash, "message", report.longrepr))[:400]

    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    sys.path[:0] = job["path"]
    for path in job["changed"]:
        # By size and second alone a changed file can look like the one it was compiled from.
        with contextlib.suppress(FileNotFoundError, ValueError):
            os.unlink(importlib.util.cache_from_source(path))
    os.chdir(job["root"])
    given = ["-q", "-p", "no:cacheprovider", f"--rootdir={job['root']}", "-c", os.devnull]
    given += ["--continue-on-collection-errors", "--tb=short", *([f"--maxfail={job['most']}"] if job["most"] else [])]
    given += [f"--confcutdir={job['root']}"] if job["conftest"] else ["--noconftest"]
    if trace:
        sys.settrace(note)
    code = int(pytest.main([*given, *job["options"], *job["files"]], plugins=[Watch()]))
    sys.settrace(None)
    lines: list[list[Any]] = [["test", name, " ".join(steps), words.get(name, "")] for name, steps in found.items()]
    lines += [["calls", name, sorted(each)] for name, each in calls.items()]
    lines += [["error", each] for each in errors[:20]]
    lines.append(["end", code])
    data = "".join(f"{job['key']}\t{json.dumps(line)}\n" for line in lines).encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(out, data) :]
    os._exit(0)


if __name__ == "__main__":
    main()
