"""Runs the plain test functions of some files, and says so in pytest's words; the agent's own ``run_tests``.

Sent into the agent's sandbox. Arguments are files, or ``file::test``. For files whose tests are functions without
arguments: pytest itself takes twenty times as long to start.
"""

from __future__ import annotations

import os
import sys


def failure(error: BaseException, path: str) -> str:
    """The line of the test that failed, and why."""
    place, trace = "", error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.startswith(os.getcwd()):
            with open(name, encoding="utf-8", errors="replace") as file:  # linecache takes 10 ms to load
                line = [*file, *[""] * trace.tb_lineno][trace.tb_lineno - 1].strip()
            place += f"    {os.path.relpath(name)}:{trace.tb_lineno}: {line}\n"
        trace = trace.tb_next
    return f"{place}    {type(error).__name__}{f': {error}' if str(error) else ''}"


def main() -> None:
    sys.path[:0] = sys.argv[1].split(":")
    passed = failed = 0
    for word in sys.argv[2:]:
        path, _, only = word.partition("::")
        names: dict[str, object] = {"__name__": os.path.basename(path)[:-3]}
        try:
            with open(path, "rb") as file:
                exec(compile(file.read(), os.path.abspath(path), "exec"), names)  # noqa: S102  (this is the sandbox)
        except BaseException as error:  # noqa: BLE001  (a test file may raise anything)
            print(f"{path} ERROR\n{failure(error, path)}")
            failed += 1
            continue
        for name, test in list(names.items()):
            if not name.startswith("test_") or not callable(test) or only not in ("", name):
                continue
            try:
                test()
            except BaseException as error:  # noqa: BLE001
                print(f"{path}::{name} FAILED\n{failure(error, path)}")
                failed += 1
            else:
                print(f"{path}::{name} PASSED")
                passed += 1
    print(f"{failed} failed, {passed} passed")
    sys.stdout.flush()
    os._exit(1 if failed else 0)


if __name__ == "__main__":
    main()
