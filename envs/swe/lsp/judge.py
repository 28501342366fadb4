"""Judge: from the files of a state to what counts in the reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

from agentgym.envs.swe.lsp.server import Diagnostics, ServerTrouble, Source
from agentgym.envs.swe.lsp.source import definitions, parse, python_files
from agentgym.envs.swe.tree import digest_of
from agentgym.errors import UsageError

__all__ = ["Judge", "Measure"]


@dataclass(frozen=True)
class Measure:
    """What is known of one state.

    Attributes:
        digest: of the watched files.
        count: diagnostics in files that were watched from the start; None where a server could not say.
        broken: watched files that do not parse, though they did at the start.
        gone: files, functions and classes (``path::name``) that were there at the start, and are not, or do nothing.
        trouble: why a server could not say; '' otherwise.
    """

    digest: str
    count: int | None
    broken: tuple[str, ...] = ()
    gone: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def safe(self) -> bool:
        """Everything parses, nothing is gone, and every server answered."""
        return not (self.broken or self.gone or self.trouble)


class Judge:
    """Asks servers about states of one tree.

    A file that does not parse at the start is not watched (test data of parsers often does not). One that is added is
    watched from then on.

    Args:
        sources: servers, or records of them; their counts are added up.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(sources)
        self._unwatched: frozenset[str] = frozenset()
        self._start: dict[str, frozenset[str]] | None = None
        self._known: dict[str, tuple[bytes, frozenset[str] | None]] = {}

    def start(self, files: Mapping[str, bytes]) -> Measure:
        """Begin with a tree; returns its measure. What counts as gone is told from it."""
        self._known = {}
        names = {path: self._names(path, data) for path, data in python_files(files).items()}
        self._unwatched = frozenset(path for path, each in names.items() if each is None)
        self._start = {path: each for path, each in names.items() if each is not None}
        return self.measure(files)

    def measure(self, files: Mapping[str, bytes]) -> Measure:
        """What is known of a state of the tree. Servers are told only what changed since they were last asked.

        Raises:
            UsageError: `start` was not called.
        """
        if self._start is None:
            raise UsageError("Judge.measure before Judge.start: call start with the untouched tree first")
        watched = {p: data for p, data in python_files(files).items() if p not in self._unwatched}
        broken, gone = [], []
        for path, data in watched.items():
            names = self._names(path, data)
            if names is None:
                broken.append(path)
            else:
                gone += sorted(f"{path}::{name}" for name in self._start.get(path, frozenset()) - names)
        gone += sorted(path for path in self._start if path not in watched)
        digest = digest_of(watched)
        if broken:
            return Measure(digest, None, tuple(broken), tuple(gone))
        count = 0
        for source in self._sources:
            try:
                count += _total(source.diagnostics(watched))
            except ServerTrouble as trouble:
                return Measure(digest, None, (), tuple(gone), trouble.kind)
        return Measure(digest, count, (), tuple(gone))

    def close(self) -> None:
        """End all servers."""
        for source in self._sources:
            source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _names(self, path: str, data: bytes) -> frozenset[str] | None:
        """Definitions of a file; None where it does not parse. Kept until it changes."""
        if (known := self._known.get(path)) is None or known[0] != data:
            tree = parse(data)
            known = self._known[path] = (data, None if tree is None else definitions(tree))
        return known[1]


def _total(found: Diagnostics) -> int:
    return sum(map(len, found.values()))
