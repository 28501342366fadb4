"""Servers for the tests: the real program, in a process of its own, on a free port."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["ROOT", "serving"]

ROOT = Path(__file__).parents[2]


@contextmanager
def serving(*words: str, port: bool = True) -> Iterator[str]:
    """``agentgym serve WORDS``; gives its address and ends it by SIGTERM, which must be an ordinary end."""
    command = [sys.executable, "-m", "agentgym", "serve", *words, *(["--port", "0"] if port else [])]
    program = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    try:
        line = program.stdout.readline()
        assert line.startswith("serving at "), f"the server said {line!r}"
        yield line.split()[-1]
    finally:
        program.terminate()
        code = program.wait(30)
        program.stdout.close()
    assert code == 0
