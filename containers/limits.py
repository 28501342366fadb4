"""What a sandbox may use."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentgym.errors import UsageError

__all__ = ["GIB", "MIB", "Limits"]

MIB, GIB = 1 << 20, 1 << 30
_RUNNER = 64 * MIB
"""Memory left for PID 1 and the command when every file system is full."""


@dataclass(frozen=True)
class Limits:
    """Upper bounds for one sandbox. Sizes are bytes, times seconds.

    Files live in memory: what the file systems may hold counts as memory, and so do snapshots.

    Attributes:
        memory: of all processes, files and snapshots together.
        pids: processes and threads.
        cpus: processor time per time.
        disk: files in the working folder, and separately all snapshots together.
        scratch: files in /tmp, and separately in /dev/shm.
        file_size: of one file that a command writes.
        open_files: descriptors of one process.
        output: bytes kept of each output stream of a step, half from its beginning and half from its end.
        flood: bytes of output after which a step is ended.
        seconds: of a step that names no time of its own.
        transfer: bytes of one put or get.
    """

    memory: int = GIB
    pids: int = 256
    cpus: float = 1.0
    disk: int = 256 * MIB
    scratch: int = 64 * MIB
    file_size: int = 128 * MIB
    open_files: int = 1024
    output: int = 64 << 10
    flood: int = 64 * MIB
    seconds: float = 60.0
    transfer: int = 64 * MIB

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < 1 << 50:
                raise UsageError(f"limit {field.name}: expected a positive number, got {value!r}")
        least = self.disk + 2 * self.scratch + _RUNNER
        if self.memory < least:
            raise UsageError(
                f"limit memory: {self.memory} bytes do not hold the file systems, which live in memory; "
                f"allow {least} bytes, or less disk ({self.disk}) and scratch (2 x {self.scratch})"
            )
        if self.open_files < 256:
            raise UsageError("limit open_files: expected at least 256, some of which the runner needs itself")
        if self.pids < 2:
            raise UsageError("limit pids: expected at least 2 (PID 1 and a command)")

    def rlimits(self) -> dict[str, int]:
        """What each process of a command gets by setrlimit, beside what bounds the sandbox as a whole."""
        return {
            # Not 0: with a pipe in core_pattern the kernel starts the host's handler for any value but 1.
            "RLIMIT_CORE": 1,
            "RLIMIT_FSIZE": int(self.file_size),
            "RLIMIT_NOFILE": int(self.open_files),
            "RLIMIT_MEMLOCK": 64 << 10,
            "RLIMIT_MSGQUEUE": 0,
        }
