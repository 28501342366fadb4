"""Run the real command: in this process where only words matter, in another where the exit does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from agentgym.cli import main

DOORKEY = "agentgym/Grid-DoorKey-5x5-v0"


@dataclass(frozen=True)
class Said:
    """What a command left: exit code and both streams."""

    code: int
    out: str
    err: str


Call = Callable[..., Said]


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Call:
    """`agentgym WORDS…` in this process and an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        capsys.readouterr()
        try:
            code = main(words)
        except SystemExit as leave:  # --help leaves from inside the parser
            code = int(leave.code or 0)
        found = capsys.readouterr()
        return Said(code, found.out, found.err)

    return run


@pytest.fixture
def process(tmp_path: Path) -> Call:
    """`python -m agentgym WORDS…` in a process of its own and an empty folder."""

    def run(*words: str, input: str = "") -> Said:
        done = subprocess.run(
            [sys.executable, "-m", "agentgym", *words], cwd=tmp_path, capture_output=True, text=True, input=input
        )
        return Said(done.returncode, done.stdout, done.stderr)

    return run
