"""The programs in examples/ run."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.house.checkout import ROOT


@pytest.mark.parametrize(("name", "said"), [("compare_credit.py", "gigpo"), ("lamps.py", "")])
def test_the_example_runs(name: str, said: str) -> None:
    command = [sys.executable, str(ROOT / "examples" / name), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert said in done.stdout
