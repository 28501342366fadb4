"""Unified diffs, applied by the book: every line of context must be there.

Paths, modes, renames and new or removed files are taken as git writes them. A hunk whose lines have moved is applied
where its text stands once; anything else is refused, with the file and the hunk named.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentgym.envs.swe.tree import in_tree
from agentgym.errors import UsageError

__all__ = ["BadPatch", "FilePatch", "apply", "parse"]

MAX_PATCH = 8 << 20
_HUNK = re.compile(rb"^@@ -(\d+)(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")


class BadPatch(UsageError):
    """A diff that cannot be read or does not fit."""


@dataclass(frozen=True)
class Hunk:
    """Lines that go and come, with their ends; ``first`` is the 1-based old line (0 of an empty file)."""

    first: int
    old: tuple[bytes, ...]
    new: tuple[bytes, ...]


@dataclass
class FilePatch:
    """What becomes of one file.

    Attributes:
        old: its path before; None of a new file.
        new: its path after; None of one that goes.
        hunks: in order.
    """

    old: str | None
    new: str | None
    hunks: list[Hunk] = field(default_factory=list)


def parse(diff: str | bytes) -> list[FilePatch]:
    """The files of a diff.

    Raises:
        BadPatch: it is none; says the line.
    """
    data = diff.encode("utf-8", "surrogatepass") if isinstance(diff, str) else diff
    if len(data) > MAX_PATCH:
        raise BadPatch(f"the diff has {len(data)} bytes; at most {MAX_PATCH} are read")
    lines = data.split(b"\n")
    if lines and not lines[-1]:
        lines.pop()
    found: list[FilePatch] = []
    k = 0
    while k < len(lines):
        line = lines[k]
        if line.startswith(b"diff --git "):
            found.append(_git_head(line, k))
        elif line.startswith((b"GIT binary patch", b"Binary files ")):
            raise BadPatch(f"line {k + 1}: changes a binary file, which no text can state")
        elif line.startswith(b"rename from "):
            _last(found, k).old = _path(line[12:], k, "")
        elif line.startswith(b"rename to "):
            _last(found, k).new = _path(line[10:], k, "")
        elif line.startswith(b"new file mode"):
            _last(found, k).old = None
        elif line.startswith(b"deleted file mode"):
            _last(found, k).new = None
        elif line.startswith(b"--- ") and k + 1 < len(lines) and lines[k + 1].startswith(b"+++ "):
            old, new = _path(line[4:], k, "a/"), _path(lines[k + 1][4:], k + 1, "b/")
            named = (found[-1].old, found[-1].new) if found and not found[-1].hunks else None
            if named not in ((old, new), (old or new, new or old)):
                found.append(FilePatch(old, new))
            found[-1].old, found[-1].new = old, new
            k += 1
        elif line.startswith(b"@@ "):
            hunk, k = _hunk(lines, k)
            _last(found, k).hunks.append(hunk)
            continue
        k += 1
    if not found:
        raise BadPatch("expected a unified diff ('diff --git a/… b/…' or '--- a/…' and '+++ b/…'), found no file in it")
    return found


def apply(diff: str | bytes, files: Mapping[str, bytes]) -> dict[str, bytes | None]:
    """The files that a diff changes, as they are afterwards; None where one goes.

    Args:
        diff: the diff.
        files: those it changes, at least, as they are.

    Raises:
        BadPatch: it cannot be read or does not fit; says where.
    """
    changed: dict[str, bytes | None] = {}
    for each in parse(diff):
        before = b""
        if each.old is not None:
            known = changed.get(each.old, files.get(each.old))
            if known is None:
                raise BadPatch(f"{each.old}: is to be changed, but is not there")
            before = known
        elif each.new is not None and changed.get(each.new, files.get(each.new)) is not None:
            raise BadPatch(f"{each.new}: is to be made, but is there already")
        after = _applied(before, each)
        if each.old is not None and each.old != each.new:
            changed[each.old] = None
        if each.new is not None:
            changed[each.new] = after
        elif after:
            raise BadPatch(f"{each.old}: is to go, but something of it would stay")
    return changed


def _applied(before: bytes, patch: FilePatch) -> bytes:
    lines = _split(before)
    made: list[bytes] = []
    done = 0
    for number, hunk in enumerate(patch.hunks, 1):
        where = f"{patch.old or patch.new}, hunk {number}"
        at = max(hunk.first - 1, 0) if hunk.old else hunk.first
        if list(hunk.old) != lines[at : at + len(hunk.old)] or at < done:
            at = _moved(lines, hunk, done, where)
        made += lines[done:at] + list(hunk.new)
        done = at + len(hunk.old)
    return b"".join([*made, *lines[done:]])


def _moved(lines: list[bytes], hunk: Hunk, done: int, where: str) -> int:
    """Where the hunk's old lines stand, if once."""
    wanted = list(hunk.old)
    places = [k for k in range(done, len(lines) - len(wanted) + 1) if lines[k : k + len(wanted)] == wanted]
    if len(places) != 1 or not wanted:
        said = "are not there" if not places else f"stand {len(places)} times"
        raise BadPatch(f"{where}: does not fit: its lines {said} (expected at line {hunk.first})")
    return places[0]


def _hunk(lines: list[bytes], k: int) -> tuple[Hunk, int]:
    match = _HUNK.match(lines[k])
    if match is None:
        raise BadPatch(f"line {k + 1}: expected a hunk's head such as '@@ -1,2 +1,3 @@', got {lines[k][:60]!r}")
    first, olds = int(match[1]), int(match[2] or 1)
    news = int(match[4] or 1)
    old: list[bytes] = []
    new: list[bytes] = []
    head, k = k, k + 1
    last = b" "
    while (len(old) < olds or len(new) < news or (k < len(lines) and lines[k].startswith(b"\\"))) and k < len(lines):
        mark, text = lines[k][:1] or b" ", lines[k][1:] + b"\n"
        if mark == b"\\":
            for side, marks in ((old, b" -"), (new, b" +")):
                if last in marks and side:
                    side[-1] = side[-1].removesuffix(b"\n")
        elif mark in b" -+":
            if mark in b" -":
                old.append(text)
            if mark in b" +":
                new.append(text)
            last = mark
        else:
            break
        k += 1
    if len(old) != olds or len(new) != news:
        raise BadPatch(
            f"line {head + 1}: the hunk states {olds} old and {news} new lines, and has {len(old)} and {len(new)}"
        )
    return Hunk(first, tuple(old), tuple(new)), k


def _git_head(line: bytes, k: int) -> FilePatch:
    words = line[len(b"diff --git ") :].decode("utf-8", "surrogateescape")
    # "a/X b/X": the two are alike but for a rename, whose own lines follow.
    half = (len(words) - 1) // 2
    old, new = words[:half], words[half + 1 :]
    if old[2:] != new[2:]:
        old, _, new = words.partition(" b/")
        new = f"b/{new}"
    sides = [side.encode("utf-8", "surrogateescape") for side in (old, new)]
    return FilePatch(_path(sides[0], k, "a/"), _path(sides[1], k, "b/"))


def _last(found: list[FilePatch], k: int) -> FilePatch:
    if not found:
        raise BadPatch(f"line {k + 1}: stands before any file was named")
    return found[-1]


def _path(text: bytes, k: int, prefix: str) -> str | None:
    name = text.decode("utf-8", "replace").split("\t")[0].rstrip("\r")
    if name == "/dev/null":
        return None
    if name.startswith('"'):
        raise BadPatch(f"line {k + 1}: a quoted path, {name[:100]}, is not read")
    name = name.removeprefix(prefix)
    if why := in_tree(name):
        raise BadPatch(f"line {k + 1}: path {name[:200]!r} {why}")
    return name


def _split(data: bytes) -> list[bytes]:
    """Lines with their ends, at ``\\n`` alone."""
    lines = [line + b"\n" for line in data.split(b"\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
