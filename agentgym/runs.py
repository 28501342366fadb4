"""Run: the folder in which one rollout, training or evaluation keeps everything that it measured.

::

    run.json            format versions, kind, time of creation, config, package versions
    shards/000001/      one `Run.append`: shard.json, steps, trajectories and, where there are tokens, tokens, segments,
                        choices, candidates (.parquet)
    blobs/ab/<sha256>   screenshots and other bytes, stored once by content
    metrics.jsonl       one line per update or evaluation
    summary.json        the result, once there is one
    checkpoints/        the trainer's own

What a crash may leave behind: a shard is written under a name that begins with a dot, flushed to the disk and renamed
as a whole folder, so every shard that can be seen is complete; what was in flight is lost and swept away by the next
writer. A metrics line that was cut off is ignored and then removed. One process writes a run at a time, any number
read.
"""

from __future__ import annotations

import datetime
import errno
import fcntl
import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import sys
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy.typing as npt

from agentgym.errors import RunError, UsageError
from agentgym.files import disk, json_like, read_json, replace, shareable, sync_folder, write_json
from agentgym.steps import FORMAT_VERSION as STEPS_VERSION
from agentgym.steps import StepTable, TrajectoryTable
from agentgym.tokens import TokenTable

__all__ = ["RUN_VERSION", "Run", "Shard", "Tag"]

RUN_VERSION = 1
"""Layout of the folder. A reader refuses any other, naming both."""

Tag = str | int | float | bool | None

_PACKAGES = ("agentgym", "gymnasium", "numpy", "pyarrow", "torch", "transformers", "minigrid")
_EXTRA = "extra:"


class _Rollouts(Protocol):
    """What the loop returns: steps and their tokens."""

    @property
    def steps(self) -> StepTable: ...
    @property
    def tokens(self) -> TokenTable: ...


@dataclass(frozen=True)
class Shard:
    """What one `Run.append` stored; columns are read (and checked against ``hashes``) when asked for."""

    path: Path
    tags: Mapping[str, Tag]
    n_trajectories: int
    n_steps: int
    n_tokens: int
    hashes: Mapping[str, str]

    @cached_property
    def ids(self) -> frozenset[int]:
        """The trajectories in it."""
        return frozenset(self._columns("trajectories")["id"].tolist())

    def steps(self) -> StepTable:
        """Its StepTable."""
        columns = self._columns("steps")
        extras = {k.removeprefix(_EXTRA): columns.pop(k) for k in list(columns) if k.startswith(_EXTRA)}
        trajectories = TrajectoryTable.from_columns(**self._columns("trajectories"))
        return StepTable.from_columns(**columns, trajectories=trajectories, extras=extras)

    def tokens(self) -> TokenTable:
        """Its TokenTable, empty when the policy spoke in none."""
        from agentgym.parquet import read_sets

        if not self.n_tokens:
            return TokenTable.empty()
        columns = self._columns("tokens") | self._columns("segments") | self._columns("choices")
        return TokenTable(
            **columns, candidate_sets=read_sets(self.path / "candidates.parquet", self.hashes["candidates"])
        )

    def _columns(self, name: str) -> dict[str, npt.NDArray[Any]]:
        from agentgym.parquet import read_columns

        with disk("read", self.path):
            return read_columns(self.path / f"{name}.parquet", self.hashes[name])

    def matches(self, where: Mapping[str, Tag]) -> bool:
        """Every tag of ``where`` is there with that value."""
        return all(k in self.tags and self.tags[k] == v for k, v in where.items())


class Run:
    """One run folder. Make it with `create`, come back to it with `open`.

    >>> run = Run.create("runs/first", "eval", {"suite": "grid"})   # doctest: +SKIP
    >>> run.append(rollouts, phase="test", update=0)                 # doctest: +SKIP
    >>> run.steps(where={"phase": "test"})                           # doctest: +SKIP

    Every method raises `RunError` when the folder cannot be read or written, is damaged, or is another program's; a
    refused call leaves the folder as it was.
    """

    def __init__(self, path: Path, head: Mapping[str, Any]) -> None:
        """Use `create` or `open`."""
        self.path = path
        self.kind: str = head["kind"]
        self.created: str = head["created"]
        self.config: dict[str, Any] = head["config"]
        self.packages: dict[str, str] = head["packages"]
        self._shards: dict[str, Shard] = {}
        self._writes = False

    # ------------------------------------------------------------------ making and finding

    @classmethod
    def create(cls, path: str | os.PathLike[str], kind: str, config: Mapping[str, Any], exist_ok: bool = False) -> Run:
        """Begin a run in a folder that is not there yet or is empty.

        Args:
            path: of the folder; missing parents are made.
            kind: "rollout", "train", "eval" or another word.
            config: JSON-like. Values under keys that name a secret are not stored, absolute paths only by their last
                part: a run folder is meant to be handed on.
            exist_ok: open a run that is there already, if its kind and config are the same.
        """
        folder, wanted = Path(path), shareable(config)
        with disk("make", folder):
            if (folder / "run.json").exists():
                if not exist_ok:
                    raise RunError(f"{folder} holds a run already; open it with Run.open, or name another folder")
                run = cls.open(folder)
                _same(run, kind, wanted)
                return run
            folder.mkdir(parents=True, exist_ok=True)
            # A creation that was killed left nothing but these.
            alien = sorted({p.name for p in folder.iterdir()} - {".lock", ".run.json"})
            if alien:
                raise RunError(f"{folder} is not empty and holds no run (it has {alien[0]!r}); name another folder")
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            head = {
                "format": {"run": RUN_VERSION, "steps": STEPS_VERSION},
                "kind": kind,
                "created": now,
                "config": wanted,
                "packages": {"python": ".".join(map(str, sys.version_info[:3])), **_versions()},
            }
            write_json(folder / "run.json", head)
        return cls(folder, head)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Run:
        """A run that is there: to read it or to go on with it."""
        folder = Path(path)
        with disk("read", folder):
            if not folder.is_dir():
                raise RunError(f"no run at {folder}: there is no such folder")
            if not (folder / "run.json").is_file():
                raise RunError(f"{folder} is not a run: it has no run.json")
            head = read_json(folder / "run.json")
        versions = head.get("format") if isinstance(head, dict) else None
        if not isinstance(versions, dict) or not {"kind", "created", "config", "packages"} <= head.keys():
            raise RunError(f"{folder} is not a run of agentgym: its run.json has no format version, kind or config")
        for part, ours in (("run", RUN_VERSION), ("steps", STEPS_VERSION)):
            if versions.get(part) != ours:
                raise RunError(
                    f"{folder} has {part} format {versions.get(part)!r}, this agentgym reads format {ours}; "
                    f"use the agentgym that wrote it ({head['packages'].get('agentgym', 'version unknown')})"
                )
        return cls(folder, head)

    # ------------------------------------------------------------------ steps and tokens

    def append(self, rollouts: StepTable | _Rollouts, tokens: TokenTable | None = None, **tags: Tag) -> None:
        """Store finished episodes; they are on the disk when this returns.

        Args:
            rollouts: what ``collect`` returned, or a StepTable.
            tokens: beside a StepTable.
            tags: what to find them by, e.g. ``phase="train", update=3``.

        Raises:
            UsageError: a trajectory is in the run already, or an extra has values that cannot be stored.
        """
        from agentgym.parquet import write_columns, write_sets

        if not isinstance(rollouts, StepTable):
            if tokens is not None:
                raise UsageError("append: rollouts bring their own tokens; give `tokens` only beside a StepTable")
            steps, tokens = rollouts.steps, rollouts.tokens
        else:
            steps, tokens = rollouts, tokens if tokens is not None else TokenTable.empty()
        for name, value in tags.items():
            if not isinstance(value, str | int | float | bool | None):
                raise UsageError(f"tag {name!r} must be a str, number, bool or None, got {type(value).__name__}")
        if not len(steps.trajectories):
            return
        known = self.finished.intersection(steps.trajectories.id.tolist())
        if known:
            raise UsageError(f"trajectory {min(known)} is in the run already; number trajectories across the run")
        self._write_lock()
        number = max((int(s.path.name) for s in self.shards), default=0) + 1
        final = self.path / "shards" / f"{number:06d}"
        part = final.with_name(f".{final.name}")
        extras = {_EXTRA + name: values for name, values in steps.extras.items()}
        tables = {"steps": {**steps.columns(), **extras}, "trajectories": steps.trajectories.columns()}
        if len(tokens):
            tables |= _token_tables(tokens)
        sizes = {"trajectories": len(steps.trajectories), "steps": len(steps), "tokens": len(tokens)}
        with disk("write", final):
            part.mkdir(parents=True)
            try:
                hashes = {name: write_columns(part / f"{name}.parquet", c) for name, c in tables.items()}
                if len(tokens):
                    hashes["candidates"] = write_sets(part / "candidates.parquet", tokens.candidate_sets)
                write_json(part / "shard.json", {"tags": json_like(tags), **sizes, "sha256": hashes})
                sync_folder(part)
                part.rename(final)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
            sync_folder(final.parent)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All complete shards now on the disk, in order."""
        folder = self.path / "shards"
        with disk("read", folder):
            names = sorted(p.name for p in folder.iterdir() if p.name.isdigit()) if folder.is_dir() else []
            for name in names:
                if name not in self._shards:
                    self._shards[name] = _shard(folder / name)
        return tuple(self._shards[name] for name in names)

    def steps(self, where: Mapping[str, Tag] | None = None) -> StepTable:
        """All stored episodes, or those of the appends whose tags have these values."""
        return StepTable.concat(s.steps() for s in self.shards if s.matches(where or {}))

    def tokens(self, where: Mapping[str, Tag] | None = None) -> TokenTable:
        """The tokens beside `steps`."""
        return TokenTable.concat(s.tokens() for s in self.shards if s.matches(where or {}))

    @property
    def finished(self) -> set[int]:
        """The trajectories already stored: what a run that goes on need not play again."""
        return set().union(*(s.ids for s in self.shards))

    def keep_shards(self, keep: Callable[[Mapping[str, Tag]], bool]) -> None:
        """Drop the appends whose tags ``keep`` refuses: those after the checkpoint from which a trainer goes on."""
        self._write_lock()
        for shard in self.shards:
            if not keep(shard.tags):
                with disk("delete", shard.path):
                    gone = shard.path.with_name(f".{shard.path.name}")
                    shard.path.rename(gone)
                    shutil.rmtree(gone)
                del self._shards[shard.path.name]

    # ------------------------------------------------------------------ metrics and summary

    def log(self, **metrics: Any) -> None:
        """Append one line to metrics.jsonl. Numbers that are not finite become null."""
        line = json.dumps(json_like(metrics), allow_nan=False) + "\n"
        self._write_lock()
        with disk("write", self._metrics_path), self._metrics_path.open("ab") as file:
            file.write(line.encode())
            file.flush()
            os.fsync(file.fileno())

    def metrics(self) -> list[dict[str, Any]]:
        """All complete lines, in order; a last line that was cut off is left out."""
        with disk("read", self._metrics_path):
            if not self._metrics_path.exists():
                return []
            lines = self._metrics_path.read_bytes().split(b"\n")[:-1]
        out = []
        for number, line in enumerate(lines, 1):
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if not isinstance(value, dict):
                raise RunError(f"{self._metrics_path}: line {number} is not a JSON object; remove or mend that line")
            out.append(value)
        return out

    def keep_metrics(self, keep: Callable[[dict[str, Any]], bool]) -> None:
        """Drop the lines that ``keep`` refuses: those after the checkpoint from which a trainer goes on."""
        self._write_lock()
        lines = [json.dumps(line) + "\n" for line in self.metrics() if keep(line)]
        with disk("write", self._metrics_path):
            replace(self._metrics_path, "".join(lines).encode())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write summary.json as a whole, replacing an earlier one."""
        self._write_lock()
        with disk("write", self.path / "summary.json"):
            write_json(self.path / "summary.json", json_like(summary))

    def summary(self) -> dict[str, Any]:
        """The summary, {} before there is one."""
        path = self.path / "summary.json"
        with disk("read", path):
            summary: dict[str, Any] = read_json(path) if path.exists() else {}
        return summary

    @property
    def checkpoints(self) -> Path:
        """The trainer's folder inside the run (made on first use)."""
        path = self.path / "checkpoints"
        with disk("make", path):
            path.mkdir(exist_ok=True)
        return path

    # ------------------------------------------------------------------ blobs

    def put_blob(self, data: bytes) -> str:
        """Store bytes once, by content; returns their SHA-256 in hex (what a row's extra holds)."""
        sha = hashlib.sha256(data).hexdigest()
        path = self._blob_path(sha)
        with disk("write", path):
            if not path.exists():
                self._write_lock()
                path.parent.mkdir(parents=True, exist_ok=True)
                replace(path, data)
        return sha

    def blob(self, sha: str) -> bytes:
        """The bytes of a hash that `put_blob` returned."""
        path = self._blob_path(sha)
        with disk("read", path):
            if not path.exists():
                raise RunError(f"{self.path} has no blob {sha}")
            data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha:
            raise RunError(f"{path} is damaged: its content does not have the hash in its name; restore or delete it")
        return data

    # ------------------------------------------------------------------ inside

    @property
    def _metrics_path(self) -> Path:
        return self.path / "metrics.jsonl"

    def _blob_path(self, sha: str) -> Path:
        if not re.fullmatch(r"[0-9a-f]{64}", sha):
            raise RunError(f"a blob is named by a SHA-256 in lower-case hex, got {sha[:80]!r}")
        return self.path / "blobs" / sha[:2] / sha

    def _write_lock(self) -> None:
        """Become the one writer and sweep away what a killed one left. A record lock: no child process inherits it."""
        if self._writes:
            return
        with disk("write", self.path):
            lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
            weakref.finalize(self, os.close, lock)
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                if error.errno in (errno.EACCES, errno.EAGAIN):
                    raise RunError(f"{self.path} is being written by another process; wait for it or stop it") from None
                raise
            self._writes = True
            for left in [*self.path.glob("shards/.*"), *self.path.glob("blobs/*/.*"), *self.path.glob(".*.json*")]:
                shutil.rmtree(left) if left.is_dir() else left.unlink()
            if self._metrics_path.exists():
                data = self._metrics_path.read_bytes()
                if not data.endswith(b"\n"):
                    os.truncate(self._metrics_path, data.rfind(b"\n") + 1)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, kind={self.kind!r}, shards={len(self.shards)})"


def _shard(path: Path) -> Shard:
    head = read_json(path / "shard.json")
    try:
        return Shard(path, head["tags"], head["trajectories"], head["steps"], head["tokens"], head["sha256"])
    except (KeyError, TypeError):
        raise RunError(f"{path / 'shard.json'} is damaged; restore it, or delete its shard folder") from None


def _token_tables(tokens: TokenTable) -> dict[str, dict[str, npt.NDArray[Any]]]:
    """The columns by length: tokens, segments, choices."""
    out: dict[str, dict[str, npt.NDArray[Any]]] = {"tokens": {}, "segments": {}, "choices": {}}
    for name, column in tokens.arrays().items():
        part = "segments" if name.startswith("segment_") else "choices" if name.startswith("choice_") else "tokens"
        out[part][name] = column
    return out


def _same(run: Run, kind: str, config: Mapping[str, Any]) -> None:
    if run.kind != kind:
        raise RunError(f"{run.path} is a run of kind {run.kind!r}, expected {kind!r}; name another folder")
    differ = sorted(k for k in {*run.config, *config} if run.config.get(k) != config.get(k))
    if differ:
        raise RunError(
            f"{run.path} was begun with another config (differs in {', '.join(differ)}); name another folder"
        )


def _versions() -> dict[str, str]:
    """Versions of the packages that decide results, where installed; read from metadata, none is imported."""
    found = {}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
