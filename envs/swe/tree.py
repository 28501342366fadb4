"""The files of a repository, as a task source holds them: in memory or in a tar file, read when first needed."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Protocol, runtime_checkable

from agentgym.errors import UsageError

__all__ = ["MAX_BYTES", "MAX_FILES", "Files", "TarFile", "Tree", "digest_of", "in_tree"]

MAX_FILES, MAX_BYTES = 50_000, 512 << 20
"""What a tree may hold: far more than a sandbox takes, so that a hostile archive ends in an error and not in swap."""


@runtime_checkable
class Tree(Protocol):
    """The files of a repository before the agent comes. Equal digests mean equal files."""

    def files(self) -> Mapping[str, bytes]:
        """Path relative to the root -> content, sorted by path. Not to be changed."""

    @property
    def digest(self) -> str:
        """SHA-256, in hexadecimal digits, of what `files` gives (see `digest_of`)."""


@dataclass(frozen=True, repr=False)
class Files:
    """A tree in memory.

    Args:
        content: path -> bytes.

    Raises:
        UsageError: a path that does not stay inside the tree.
    """

    content: Mapping[str, bytes]

    def __post_init__(self) -> None:
        for path in self.content:
            if why := in_tree(path):
                raise UsageError(f"tree: path {path[:200]!r} {why}")
        object.__setattr__(self, "content", MappingProxyType(dict(sorted(self.content.items()))))

    def files(self) -> Mapping[str, bytes]:
        return self.content

    @functools.cached_property
    def digest(self) -> str:
        return digest_of(self.content)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __repr__(self) -> str:
        return f"<Files: {len(self.content)} of {sum(map(len, self.content.values()))} bytes>"


@dataclass(frozen=True)
class TarFile:
    """A tree in a tar file, compressed or not; opened when its files are first asked for.

    Regular files are taken; links, devices and git's own folder are left out.

    Args:
        path: the archive.
        digest: what `digest_of` must give for its files.
        strip: leading parts of every path that are dropped (1 for an sdist's top folder).
    """

    path: Path
    digest: str
    strip: int = 0

    @classmethod
    def of(cls, path: Path, *, strip: int = 0) -> TarFile:
        """The archive as it is now."""
        return cls(path, digest_of(_unpack(path, strip)), strip)

    def files(self) -> Mapping[str, bytes]:
        return self._files

    @functools.cached_property
    def _files(self) -> Mapping[str, bytes]:
        found = _unpack(self.path, self.strip)
        if (digest := digest_of(found)) != self.digest:
            raise UsageError(
                f"tree: {self.path} holds other files than the instance was made for "
                f"(SHA-256 {digest}, expected {self.digest}); build the instance again"
            )
        return found


def in_tree(path: str) -> str:
    """Why a path cannot name a file of a tree; '' when it can."""
    if not path or len(path) > 1000 or "\0" in path or "\\" in path or not path.isprintable():
        return "is empty, too long or holds characters that no file of a repository needs"
    pure = PurePosixPath(path)
    if pure.is_absolute() or ".." in pure.parts or str(pure) != path:
        return "does not stay inside the tree, or is not in its plain form (such as 'src/a.py')"
    if ".git" in pure.parts:
        return "belongs to git: a tree has no history"
    return ""


def digest_of(files: Mapping[str, bytes]) -> str:
    """SHA-256 over paths and contents, in order of the paths."""
    whole = hashlib.sha256()
    for path, data in sorted(files.items()):
        whole.update(f"{path}\0{len(data)}\0".encode())
        whole.update(data)
    return whole.hexdigest()


def _unpack(path: Path, strip: int) -> Mapping[str, bytes]:
    found: dict[str, bytes] = {}
    size = 0
    try:
        with tarfile.open(fileobj=io.BytesIO(path.read_bytes())) as archive:
            for member in archive:
                name = "/".join(PurePosixPath(member.name).parts[strip:])
                if not member.isreg() or in_tree(name):
                    continue
                size += member.size
                if size > MAX_BYTES or len(found) >= MAX_FILES:
                    raise UsageError(f"tree: {path} holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
                source = archive.extractfile(member)
                found[name] = source.read() if source is not None else b""
    except OSError as error:
        raise UsageError(f"tree: {path} cannot be read: {error.strerror or error}") from error
    except (tarfile.TarError, EOFError) as error:
        raise UsageError(f"tree: {path} is no tar file, or a broken one: {error}") from error
    return MappingProxyType(dict(sorted(found.items())))
