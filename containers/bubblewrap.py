"""Sandboxes by bubblewrap: no daemon, no image needed; as root and as an ordinary user."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

from agentgym.containers.cgroups import Group
from agentgym.containers.limits import Limits
from agentgym.containers.sandbox import BOOT, RunnerSandbox, Session, boot_data
from agentgym.containers.wire import Pipes, Wire
from agentgym.errors import UsageError, WorldError

__all__ = ["Bubblewrap", "cannot_limit", "refusal"]

FIX = "apt-get install bubblewrap; the kernel must allow unprivileged user namespaces"
_UID = 1000
_FOREIGN = 0x60000000
"""As root, sandboxes run under user numbers from here on, which nobody has: root's own would open root's files."""
_SYSTEM = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_ETC = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "python3", "ssl/certs", "terminfo")
_FILES = {
    "/etc/passwd": b"root:x:0:0:root:/:/bin/sh\nagent:x:1000:1000:agent:/tmp:/bin/sh\n",
    "/etc/group": b"root:x:0:\nagent:x:1000:\n",
    "/etc/hosts": b"127.0.0.1 localhost sandbox\n::1 localhost\n",
}
# Joins the control groups while it may, then becomes the rest of its words.
_JOIN = 'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ >"$1" || exit 125; shift; n=$((n-1)); done; exec "$@"'


class Bubblewrap(RunnerSandbox):
    """One sandbox by bubblewrap.

    Args:
        session: limits, folders, options.
        root: a folder that holds a whole system (an exported image), mounted read-only; None: this machine's ``/usr``,
            read-only, and next to nothing of its ``/etc``.

    Raises:
        UsageError: bubblewrap is not installed or may not run, or `root` is no system.
    """

    backend = "bubblewrap"

    def __init__(self, session: Session | None = None, root: Path | str | None = None) -> None:
        super().__init__(session or Session())
        self.root = None if root is None else Path(root).resolve()
        if self.root is not None:
            needed = [self.session.workdir.lstrip("/"), "tmp", "dev", "proc"]
            lacking = [name for name in needed if not (self.root / name).is_dir()]
            if lacking:
                raise UsageError(f"{self.root} cannot be a sandbox's root: it has no folders {', '.join(lacking)}")
        self._process: subprocess.Popen[bytes] | None = None
        self._pid1: int | None = None
        self._group: Group | None = None
        self._errors: int | None = None

    def _rlimits(self) -> dict[str, int]:
        limits = super()._rlimits() | {"RLIMIT_NPROC": self.limits.pids}
        if self._group is not None and "memory" not in self._group.limited:
            limits["RLIMIT_AS"] = self.limits.memory
        return limits

    def _launch(self) -> Wire:
        if why := refusal():
            raise UsageError(why)
        self._group = Group(self.name, self.limits)
        contents = {path: _memory(data) for path, data in _FILES.items()} if self.root is None else {}
        info, info_write = os.pipe()
        self._errors = _memory(b"")
        inside, to_runner = os.pipe()
        from_runner, outside = os.pipe()
        try:
            self._process = subprocess.Popen(
                self._command(info_write, contents),
                stdin=inside,
                stdout=outside,
                stderr=self._errors,
                pass_fds=(info_write, *contents.values()),
                env={"PATH": os.environ.get("PATH", os.defpath)},
                cwd="/",
            )
        except BaseException:
            os.close(to_runner)
            os.close(from_runner)
            os.close(info)
            raise
        finally:
            for fd in (info_write, inside, outside, *contents.values()):
                os.close(fd)
        wire = Wire(Pipes(from_runner, to_runner))
        try:
            with os.fdopen(info, "rb") as file:
                text = file.read()
            if not text:
                raise WorldError("bubblewrap did not make its namespaces")
            self._pid1 = os.pidfd_open(json.loads(text)["child-pid"])
            wire.raw(boot_data(), 60)
            wire.send(*self._hello())
        except OSError as error:
            wire.close()
            raise WorldError(f"bubblewrap ended at once: {error}") from error
        except BaseException:
            wire.close()
            raise
        return wire

    def _command(self, info: int, contents: dict[str, int]) -> list[str]:
        limits, words = self.limits, list[str]()
        if self._group and self._group.entries:
            files = [str(path) for path in self._group.entries]
            words += ["/bin/sh", "-c", _JOIN, "sh", str(len(files)), *files]
        if os.getuid() == 0:
            foreign = str(_FOREIGN + random.SystemRandom().randrange(1 << 24))
            words += ["setpriv", "--reuid", foreign, "--regid", foreign, "--clear-groups", "--inh-caps=-all"]
        words += ["bwrap", "--info-fd", str(info), *isolation()]
        words += _root(self.root, contents)
        words += ["--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"]
        for path, size in ((self.session.workdir, limits.disk), ("/tmp", limits.scratch), ("/dev/shm", limits.scratch)):
            words += ["--size", str(size), "--tmpfs", path]
        if self.root is None:
            words += ["--remount-ro", "/"]
        words += ["--setenv", "PATH", "/usr/local/bin:/usr/bin:/bin", "--chdir", self.session.workdir]
        return [*words, "--", "python3", "-I", "-S", "-c", BOOT]

    def _why(self) -> str:
        said = ""
        if self._errors is not None:
            size = os.fstat(self._errors).st_size
            said = os.pread(self._errors, 2000, max(0, size - 2000)).decode("utf-8", "replace")
        if self._group is not None and self._group.out_of_memory():
            said += " out of memory"
        return " ".join(said.split())

    def _end(self) -> None:
        if self._pid1 is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pid1, signal.SIGKILL)
            os.close(self._pid1)
            self._pid1 = None
        if self._process is not None:
            try:
                self._process.wait(10)  # it ends with its child
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        if self._errors is not None:
            os.close(self._errors)
            self._errors = None
        if self._group is not None:
            self._group.remove()
            self._group = None


def isolation() -> list[str]:
    """The namespaces and privileges of every sandbox."""
    words = ["--unshare-user", "--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts"]
    words += ["--unshare-cgroup-try", "--disable-userns", "--as-pid-1", "--new-session", "--cap-drop", "ALL"]
    return [*words, "--hostname", "sandbox", "--uid", str(_UID), "--gid", str(_UID), "--clearenv"]


def _root(root: Path | None, contents: dict[str, int]) -> list[str]:
    if root is not None:
        return ["--ro-bind", str(root), "/"]
    words = ["--ro-bind", "/usr", "/usr"]
    for name in _SYSTEM:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    for name in _ETC:
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for path_there, fd in contents.items():
        words += ["--perms", "0444", "--file", str(fd), path_there]
    return words


def _memory(data: bytes) -> int:
    fd = os.memfd_create("agentgym")
    os.write(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


_answers: dict[str, str] = {}


def refusal() -> str:
    """Why bubblewrap cannot be used here, with the fix; '' when it can. Tried once, with all that a sandbox uses."""
    if "" not in _answers:
        _answers[""] = _try()
    return _answers[""]


def _try() -> str:
    if not shutil.which("bwrap"):
        return f"bubblewrap is not installed; {FIX}"
    if os.getuid() == 0 and not shutil.which("setpriv"):
        return "setpriv, which takes root's privileges from a sandbox, is not installed; apt-get install util-linux"
    words: list[str] = []
    options: dict[str, Any] = {"user": _FOREIGN, "group": _FOREIGN, "extra_groups": []} if os.getuid() == 0 else {}
    words += ["bwrap", *isolation(), "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "--", "/bin/true"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=30, **options)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"bubblewrap does not run: {error}; {FIX}"
    if done.returncode:
        return f"bubblewrap does not run: {' '.join(done.stderr.split())}; {FIX} (and be of version 0.8 or later)"
    return ""


def cannot_limit(group: set[str]) -> list[str]:
    """What bubblewrap cannot bound where control groups bound only these, one sentence each."""
    limits, said = Limits(), []
    if "memory" not in group:
        said.append(
            "memory is limited for each process, not for the sandbox: no control group can be made here; "
            f"{limits.pids} processes may use {limits.pids} times the limit"
        )
        said.append("the number of files is not limited, only their size: bubblewrap cannot set it")
    if "cpu" not in group:
        said.append("processor time is not limited: no control group can be made here")
    if "pids" not in group:
        said.append("processes are counted by the kernel's limit per user namespace (exact from Linux 5.14 on)")
    return said
