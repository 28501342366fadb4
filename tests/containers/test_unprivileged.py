"""Bubblewrap for an ordinary user: what can be held there is held, and what cannot be bounded is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.containers.conftest import ask_for

# What an ordinary user may not do on the host either has no control to show.
WITHOUT_CONTROL = {
    *("file-handle", "sys-namespaces", "sys-mount", "sys-chroot", "sys-bpf", "sys-perf", "sys-clock", "sys-hostname"),
    *("net-raw", "sys-userfaultfd", "sys-userns"),
}
UNBOUNDED = {"use-memory-many", "use-inodes", "use-sparse"}


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_ordinary_user_is_as_safe_and_hears_what_is_not_bounded(need: Callable[[object, str, str], None]) -> None:
    ask_for(need, "bubblewrap")
    need(os.getuid() == 0, "root", "run the tests as root to try another user")
    script = Path(__file__).with_name("unprivileged.py")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=800)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["map"].split() == ["1000", "0", "1", "1000"]
    by_status: dict[str, set[str]] = {}
    for finding in told["found"]:
        by_status.setdefault(finding["status"], set()).add(finding["id"])
    assert by_status.get("BROKEN", set()) == set()
    assert by_status.get("unproven", set()) <= WITHOUT_CONTROL
    assert by_status.get("cannot", set()) <= UNBOUNDED
    if "memory" in told["here"]["unbounded"]:
        assert "memory is limited for each process" in " ".join(told["here"]["cannot_limit"])
    else:
        assert "cannot" not in by_status
