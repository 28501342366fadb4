"""Runs hidden tests by pytest and reports each one, with how far the code under test got.

Sent into a grading sandbox. Standard input is a Python literal: ``path`` (folders to import from), ``root`` (folder of
the tests), ``files``, ``wanted`` (ids, or None for all), ``options``, ``conftest``, ``key``, ``look`` (the name by
which tests hand over what they assert about, see ``watched.py``). Answers are lines on standard output that begin with
the key; what tests print goes nowhere.
"""

from __future__ import annotations

import builtins
import json
import os
import sys
from collections.abc import Callable

_DEEP, _MANY = 4, 2000


def looker(nothing: tuple[object, ...]) -> Callable[[object], object]:
    """A function that gives back what it is given, and fails if that, or a part of it, equals what nothing equals."""

    def equals_all(value: object) -> bool:
        try:
            return all(value == other for other in nothing)
        except Exception:  # noqa: BLE001  (whatever it raises, it does not claim to be equal)
            return False

    def look(value: object) -> object:
        rest, seen = [(value, 0)], 0
        while rest and seen < _MANY:
            part, deep = rest.pop()
            seen += 1
            kind = type(part)
            if kind in (tuple, list, set, frozenset, dict) and deep < _DEEP:
                rest += [(each, deep + 1) for each in part]  # type: ignore[attr-defined]
                rest += [(each, deep + 1) for each in part.values()] if kind is dict else []  # type: ignore[attr-defined]
            elif equals_all(part) and part is not getattr(sys.modules.get("unittest.mock"), "ANY", nothing):
                raise AssertionError("an object claims to equal what nothing equals")
        return value

    return look


def main() -> None:
    job = eval(sys.stdin.buffer.read())  # noqa: S307  (a literal from the host)
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    import pytest

    setattr(builtins, job["look"], looker((job["look"], object(), int(job["key"], 16), [job["key"]])))

    wanted = None if job["wanted"] is None else set(job["wanted"])
    found: dict[str, list[str]] = {}
    reach: dict[str, str] = {}

    class Watch:
        """Collects reports."""

        @pytest.hookimpl(trylast=True)
        def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
            if wanted is not None:
                items[:] = [item for item in items if item.nodeid in wanted]

        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            outcome = "xfail" if hasattr(report, "wasxfail") else report.outcome
            found.setdefault(report.nodeid, []).append(f"{report.when}={outcome}")

        def pytest_exception_interact(self, node: pytest.Item, call: pytest.CallInfo[None]) -> None:
            inside = call.excinfo is not None and os.fspath(call.excinfo.traceback[-1].path).startswith(job["tree"])
            reach[node.nodeid] = "raised" if inside or call.when != "call" else "wrong"

    out = os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (1, 2):
        os.dup2(null, fd)
    sys.path[:0] = job["path"]
    os.chdir(job["root"])
    words = ["-q", "-p", "no:cacheprovider", f"--rootdir={job['root']}", "-c", os.devnull]
    words += [
        "--continue-on-collection-errors",
        *([f"--confcutdir={job['root']}"] if job["conftest"] else ["--noconftest"]),
    ]
    code = int(pytest.main([*words, *job["options"], *job["files"]], plugins=[Watch()]))
    lines = [f"{json.dumps(name)}\t{' '.join(steps)}\t{reach.get(name, '')}" for name, steps in found.items()]
    lines.append(f"end\t{code}\t")
    data = "".join(f"{job['key']}\t{line}\n" for line in lines).encode("utf-8", "backslashreplace")
    while data:
        data = data[os.write(out, data) :]
    os._exit(0)


if __name__ == "__main__":
    main()
