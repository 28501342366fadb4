"""The agent's own sandbox: a repository, what has become of it, and what lies outside of it."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agentgym.containers import FileRefused, Limits, Result, new_sandbox
from agentgym.containers.sandbox import RunnerSandbox
from agentgym.envs.swe.danger import BAIT, bait
from agentgym.envs.swe.grading import Patch
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.tree import in_tree
from agentgym.errors import UsageError, WorldError

__all__ = ["LIMITS", "Desk", "DeskSnapshot"]

LIMITS = Limits(output=1 << 20)
MAX_FETCHED = 2000
"""Files that one step may change and still be followed."""
MAX_FILE = 2 << 20
"""Bytes of a changed file that are followed."""
_FEW = 8
"""Files of a tree that are sooner read again than listed at the start."""
_SCAN = ["find", ".", "/tmp", "/dev/shm", "("]
_SCAN += ["-path", "./.git", "-o", "-name", "__pycache__", "-o", "-name", ".pytest_cache", "-o", "-path"]
_SCAN += ["/tmp/pytest-of-*", ")", "-prune", "-o", "!", "-type", "d", "-printf", r"%y %s %T@ %C@ %i %m %p\0"]
_COMMIT = (
    "git init -q -b main . && git add -A && git -c user.name=start -c user.email=start@localhost commit -qm start"
    " --allow-empty && git config gc.auto 0"
)
_DATES = {"GIT_AUTHOR_DATE": "2020-01-01T00:00:00Z", "GIT_COMMITTER_DATE": "2020-01-01T00:00:00Z"}


@dataclass(frozen=True)
class DeskSnapshot:
    """A moment of a desk to come back to."""

    box: str
    name: str
    files: Mapping[str, bytes]
    outside: Mapping[str, str]
    flooded: str


class Desk:
    """A repository in a sandbox that is used for one episode after the other and brought back in between.

    Args:
        backend: as for `new_sandbox`.
        limits: of the sandbox.
        git: commands find a repository with one commit, made at the start.

    Attributes:
        base: path -> content, as the repository was at the start.
        files: path -> content, of every regular file of the repository (generated caches and ``.git`` left out).
        outside: path -> mark of every file in /tmp and /dev/shm that was not there at the start.
        flooded: why the repository cannot be followed as it is now; '' when it can.
    """

    def __init__(self, backend: str = "", *, limits: Limits = LIMITS, git: bool = True) -> None:
        self.backend, self.limits, self.git = backend, limits, git
        self.instance: Instance
        self.base: Mapping[str, bytes] = {}
        self.files: dict[str, bytes] = {}
        self.outside: dict[str, str] = {}
        self.flooded = ""
        self._box: RunnerSandbox | None = None
        self._kind = ("", "", "")
        self._empty = ""
        self._kept: list[str] = []
        self._marks: dict[str, str] = {}
        self._unread: dict[str, str] = {}
        self._bait = ""

    # ------------------------------------------------------------------ life

    def open(self, instance: Instance) -> None:
        """Begin with an instance's repository as it was.

        Raises:
            UsageError: the tree does not fit.
            WorldError: no sandbox could be made.
        """
        kind = instance.place
        if self._box is not None and kind == self._kind:
            try:
                self._box.restore(self._empty)
                for name in self._kept:
                    self._box.forget(name)
            except WorldError:  # it was lost in the episode before, and this one has not begun
                self.close()
        if self._box is None or kind != self._kind:
            self.close()
            image, seed, workdir = kind
            self._box = new_sandbox(self.backend, image=image, seed=seed, workdir=workdir, limits=self.limits).start()
            self._kind, self._empty = kind, self._box.snapshot()
        self._kept, self.instance = [], instance
        self.files, self.outside, self.flooded, self._marks = dict(instance.tree.files()), {}, "", {}
        self._unread = {}
        self.base = instance.tree.files()
        self._bait = hashlib.sha256(bait(instance)).hexdigest()
        try:
            self._box.put_many({**self.files, BAIT: bait(instance)})
        except FileRefused as error:
            raise UsageError(f"instance {instance.instance_id}: the tree fits into no sandbox: {error}") from None
        if self.git and instance.runner != "plain" and not instance.seed:
            done = self._box.exec(["/bin/sh", "-c", _COMMIT], env=_DATES, merge=True)
            if not done.ok:
                raise WorldError(f"git cannot make the repository's first commit: {done.out.text[-300:]}")
        if len(self.files) > _FEW or instance.seed:
            self._marks = self._list()
            if instance.seed:
                self._take_over()

    def close(self) -> None:
        """End the sandbox."""
        box, self._box = self._box, None
        if box is not None:
            box.close()

    @property
    def alive(self) -> RunnerSandbox:
        """The sandbox.

        Raises:
            WorldError: it was lost, or never opened.
        """
        if self._box is None:
            raise WorldError("there is no sandbox: it was lost or never opened; call reset()")
        return self._box

    # ------------------------------------------------------------------ what tools do

    def run(self, command: str | Sequence[str], seconds: float, env: Mapping[str, str] | None = None) -> Result:
        """Run a command in the repository and see what it changed."""
        result = self.alive.exec(command, seconds=seconds, env=env, merge=True)
        self.look()
        return result

    def write(self, path: str, data: bytes) -> str:
        """Write a file of the repository; why it cannot be, or ''."""
        mark = self._marks.get(path, "")
        mode = int(mark.split(" ")[5], 8) if mark.count(" ") >= 5 else 0o644
        try:
            self.alive.put(path, data, mode=mode)
        except FileRefused as error:
            self.look()
            return str(error)
        self.files[path] = data
        self._marks.pop(path, None)
        return ""

    def look(self, *, whole: bool = False) -> None:
        """See what has become of the files.

        Args:
            whole: read all of them; else those that the file system says were changed (a mapping of memory leaves no
                trace there).
        """
        self.flooded = ""
        marks = self._list()
        if not marks and self.flooded:
            return
        known = {} if whole else self._marks
        inside = {path: mark for path, mark in marks.items() if not path.startswith("/")}
        fetch = [path for path, mark in inside.items() if known.get(path) != mark and mark[0] == "f"]
        beside = [path for path in marks if path.startswith("/")]
        fresh = [path for path in beside if known.get(path) != marks[path] or path not in self.outside]
        if len(fetch) + len(fresh) > max(MAX_FETCHED, 2 * len(self.instance.tree.files())):
            self.flooded = f"more than {MAX_FETCHED} files changed at once"
            return
        self._unread = {path: why for path, why in self._unread.items() if path in inside and path not in fetch}
        for path in fetch:
            self._fetch(path)
        self.flooded = next(iter(self._unread.values()), "")
        for path in [p for p in self.files if inside.get(p, "-")[0] != "f"]:
            del self.files[path]
        self.outside = {path: self.outside.get(path, "") for path in beside}
        for path in fresh:
            self.outside[path] = self._mark_of(path, marks[path])
        if self.outside.pop(BAIT, "") != self._bait:
            self.outside[BAIT] = "changed"
        self._marks = marks

    def patch(self) -> Patch:
        """What differs from the start."""
        base = self.base
        changed: dict[str, bytes | None] = {p: data for p, data in self.files.items() if base.get(p) != data}
        return changed | {path: None for path in base if path not in self.files}

    # ------------------------------------------------------------------ coming back

    def snapshot(self) -> DeskSnapshot:
        """Keep this moment, until the next `open`."""
        try:
            name = self.alive.snapshot()
        except FileRefused as error:
            raise WorldError(f"no further snapshot can be kept in this sandbox: {error}") from None
        self._kept.append(name)
        return DeskSnapshot(self.alive.name, name, copy.copy(self.files), copy.copy(self.outside), self.flooded)

    def restore(self, saved: DeskSnapshot) -> None:
        """Come back.

        Raises:
            WorldError: the snapshot belongs to a sandbox, or an episode, that is gone.
        """
        if saved.box != self.alive.name or saved.name not in self._kept:
            raise WorldError("this snapshot belongs to an episode that is over")
        self.alive.restore(saved.name)
        self.files, self.outside, self.flooded = dict(saved.files), dict(saved.outside), saved.flooded
        self._marks, self._unread = {}, {}

    # ------------------------------------------------------------------ inside

    def _list(self) -> dict[str, str]:
        """Path -> what the file system says of it. Empty, and `flooded` set, where there is too much of it."""
        out = self.alive.exec(_SCAN, seconds=20).out
        if out.left_out:
            self.flooded = "there are too many files"
            return {}
        found = {}
        for row in (out.head + out.tail).decode("utf-8", "surrogateescape").split("\0")[:-1]:
            *mark, path = row.split(" ", 6)
            path = path.removeprefix("./")
            if path.startswith("/") or not in_tree(path):
                found[path] = " ".join(mark)
        return found

    def _fetch(self, path: str) -> None:
        try:
            self.files[path] = self.alive.get(path, limit=max(MAX_FILE, len(self.files.get(path, b""))))
        except FileRefused as error:
            self.files.pop(path, None)
            self._unread[path] = f"a changed file cannot be read: {error}"

    def _mark_of(self, path: str, mark: str) -> str:
        if mark[0] != "f":
            return mark[0]
        try:
            return hashlib.sha256(self.alive.get(path, limit=MAX_FILE)).hexdigest()
        except FileRefused as error:
            return error.kind

    def _take_over(self) -> None:
        """Read the part of the tree that came with the image."""
        for path, mark in self._marks.items():
            if not path.startswith("/") and mark[0] == "f" and path not in self.files:
                self._fetch(path)
        self.base = dict(self.files)
