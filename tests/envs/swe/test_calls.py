"""The script that evaluates calls in a sandbox: who goes on for too long is lost alone, by the clock or by its work."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import Any

from agentgym.envs.swe.inside import source

ENDLESS = "while True:\n    pass"
WORKS = "import time\nend = time.process_time() + 0.1\nwhile time.process_time() < end:\n    pass"
WAITS = "import select\nselect.select([], [], [], 0.5)"


def answered(*setups: str, **limits: float) -> list[str]:
    """The lines that come for one call after each of these setups."""
    groups = [[(setup, "1")] for setup in setups]
    job: dict[str, Any] = {"path": [], "seconds": 60.0, "each": 30.0, "cpu": 0.0, "groups": groups, **limits}
    words = [sys.executable, "-I", "-B", "-S", "-c", source("calls")]
    return subprocess.run(words, input=repr(job), capture_output=True, text=True, check=True).stdout.split("\n")[:-1]


def test_an_endless_test_alone_is_lost_by_its_processor_time() -> None:
    began = time.monotonic()
    assert answered("", ENDLESS, "", cpu=0.2) == ["=1\t", "", "=1\t"]
    assert time.monotonic() - began < 15


def test_an_endless_test_alone_is_lost_by_the_clock() -> None:
    assert answered("", ENDLESS, "", each=2.0) == ["=1\t", "", "=1\t"]


def test_processor_time_is_counted_for_each_test_and_waiting_costs_none() -> None:
    assert answered(WORKS, WORKS, WORKS, WORKS, cpu=0.3) == ["=1\t"] * 4
    assert answered(WAITS, cpu=0.3) == ["=1\t"]


def test_who_stops_the_timer_is_held_to_the_clock() -> None:
    stops = f"import signal\nsignal.setitimer(signal.ITIMER_PROF, 0)\n{ENDLESS}"
    assert answered(stops, "", cpu=0.2, each=2.0) == ["", "=1\t"]
