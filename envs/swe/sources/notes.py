"""Release notes: what a package says of one of its versions."""

from __future__ import annotations

import re
from collections.abc import Mapping

__all__ = ["notes"]

_FILES = re.compile(r"(^|/)(change(s|log)|history|news|releases?|whatsnew)(\.(md|rst|txt))?$", re.I)
_ALSO = re.compile(r"^(readme(\.(md|rst|txt))?|docs?/(intro|index|changelog|changes|history)\.(md|rst|txt))$", re.I)
_HEADING = re.compile(r"^\W{0,6}(?:release|version|v)?[\s\[]*v?(\d+(?:\.\d+)+\w*)\b(.*)$", re.I)
_RULE = re.compile(r"^\s*([-=~^*#])\1{2,}\s*$")
MOST_LINES, MOST_CHARACTERS = 60, 4000


def notes(files: Mapping[str, bytes], version: str) -> str:
    """The section on a version in a change log, or in a README that keeps one; '' where there is none.

    Args:
        files: path -> content.
        version: for example ``0.5.1``.
    """
    logs = sorted(filter(_FILES.search, files), key=lambda p: (p.count("/"), p))
    for path in [*logs, *sorted(filter(_ALSO.match, files))]:
        if found := _section(files[path].decode("utf-8", "replace"), version):
            return found
    return ""


def _section(text: str, version: str) -> str:
    lines = text.splitlines()
    heads = [(k, m[1]) for k, line in enumerate(lines) if (m := _HEADING.match(line)) and _is_head(lines, k, m)]
    for n, (k, found) in enumerate(heads):
        if found == version:
            # A list of versions keeps its notes on the line itself: "- 1.20.2 Fix ...".
            begin = k if lines[k].lstrip().startswith(("-", "*")) or _words(lines[k]) > 4 else k + 1
            rest = [h for h, other in heads[n + 1 :] if other != version]
            end = rest[0] if rest else len(lines)
            return _tidy(lines[begin:end])
    return ""


def _is_head(lines: list[str], k: int, match: re.Match[str]) -> bool:
    line = lines[k]
    under = k + 1 < len(lines) and _RULE.match(lines[k + 1]) is not None
    listed = re.match(r"^\s*([-*+]|\d+\.\d)\s*\S*\d", line) is not None
    return under or line.startswith(("#", "[", "v", "V", "R")) or listed


def _words(line: str) -> int:
    return len(line.split())


def _tidy(lines: list[str]) -> str:
    kept = [line.rstrip() for line in lines if not _RULE.match(line)]
    while kept and not kept[0].strip():
        kept.pop(0)
    text = "\n".join(kept[:MOST_LINES]).strip()
    text = re.sub(r"\n{3,}", "\n\n", text)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS].rsplit("\n", 1)[0] + "\n[...]"
