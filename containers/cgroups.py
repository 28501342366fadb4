"""Control groups for sandboxes that no engine looks after: version 2 and version 1, where this user may make them.

What cannot be limited here is not silently left open: `Group.limited` says what is, the bubblewrap back-end falls back
to limits per process, and ``agentgym doctor --sandbox`` says so.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from agentgym.containers.limits import Limits

__all__ = ["Group", "available"]

_ROOT = Path("/sys/fs/cgroup")
_PERIOD = 100_000  # microseconds


class Group:
    """The control groups of one sandbox.

    Attributes:
        limited: which of ``memory``, ``pids`` and ``cpu`` are bounded for the sandbox as a whole.
        entries: files into which a process writes its number to join.
    """

    def __init__(self, name: str, limits: Limits) -> None:
        self.limited: set[str] = set()
        self.entries: list[Path] = []
        self._folders: list[Path] = []
        for what, parent, settings in _places(limits):
            folder = parent / name
            _sweep(parent)
            try:
                folder.mkdir(parents=True, exist_ok=True)
                if folder not in self._folders:
                    self._folders.append(folder)
                for file, value in settings.items():
                    (folder / file).write_text(value)
                if not os.access(folder / "cgroup.procs", os.W_OK):
                    continue
            except OSError:
                continue  # not ours to make; `limited` says so
            self.limited.add(what)
            if folder / "cgroup.procs" not in self.entries:
                self.entries.append(folder / "cgroup.procs")

    def out_of_memory(self) -> bool:
        """The kernel has killed something in here for lack of memory."""
        for folder in self._folders:
            for file in ("memory.events", "memory.oom_control"):
                try:
                    lines = (folder / file).read_text().splitlines()
                except OSError:
                    continue
                if any(line.startswith("oom_kill ") and line != "oom_kill 0" for line in lines):
                    return True
        return False

    def remove(self) -> None:
        """Remove the groups; their processes have ended (the kernel may take a moment to notice)."""
        until = time.monotonic() + 5
        for folder in self._folders:
            while folder.exists():
                try:
                    folder.rmdir()
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > until:
                        raise
                    time.sleep(0.002)  # the kernel gives no sign to wait for
        self._folders, self.entries = [], []


def available() -> set[str]:
    """What this user can bound for a whole sandbox: found by making a group and removing it."""
    group = Group(f"agentgym-{os.getpid()}-look-{time.monotonic_ns()}", Limits())
    group.remove()
    return group.limited


def _places(limits: Limits) -> list[tuple[str, Path, dict[str, str]]]:
    """What to bound, under which folder, by which files."""
    quota = str(int(limits.cpus * _PERIOD))
    if (_ROOT / "cgroup.controllers").exists():
        parent = _ROOT / "agentgym"
        _delegate(parent)
        return [
            ("memory", parent, {"memory.max": str(limits.memory), "memory.oom.group": "0"}),
            ("pids", parent, {"pids.max": str(limits.pids)}),
            ("cpu", parent, {"cpu.max": f"{quota} {_PERIOD}"}),
        ]
    return [
        ("memory", _own("memory"), {"memory.limit_in_bytes": str(limits.memory)}),
        ("pids", _own("pids"), {"pids.max": str(limits.pids)}),
        ("cpu", _own("cpu"), {"cpu.cfs_period_us": str(_PERIOD), "cpu.cfs_quota_us": quota}),
    ]


def _sweep(parent: Path) -> None:
    """Remove the empty groups of processes that were killed before they could."""
    for folder in parent.glob("agentgym-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(OSError):
                folder.rmdir()


def _delegate(parent: Path) -> None:
    """Version 2 passes controllers on only where the parents say so."""
    # Where it fails, the group made below lacks the files, and is not counted.
    with contextlib.suppress(OSError):
        parent.mkdir(exist_ok=True)
        for folder in (_ROOT, parent):
            for controller in ("memory", "pids", "cpu"):
                (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _own(controller: str) -> Path:
    """Version 1: the folder of this process's own group of a controller, so that limits above it hold too."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, names, path = line.split(":", 2)
        if controller in names.split(","):
            for mount in (names, controller):
                folder = _ROOT / mount / path.lstrip("/")
                if folder.is_dir():
                    return folder
    return _ROOT / controller
