"""A repair as tool calls: search and replace where the old text stands once."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from agentgym.envs.swe.actions import call
from agentgym.envs.swe.instance import Instance

__all__ = ["blocks", "calls"]


def calls(instance: Instance) -> Iterator[str]:
    """The tool calls that bring an instance's repair into its tree."""
    base = instance.tree.files()
    for path, data in instance.gold.items():
        old = base.get(path, b"").decode()
        if data is None:
            yield call("bash", command=f"git rm -q -- '{path}' 2>/dev/null || rm -- '{path}'")
        elif path not in base:
            yield call("edit", path=path, search="", replace=data.decode())
        else:
            for search, replace in blocks(old, data.decode()):
                yield call("edit", path=path, search=search, replace=replace)


def blocks(old: str, new: str) -> Iterator[tuple[str, str]]:
    """Replacements that, one after the other, make `new` of `old`; the text to replace stands once each time.

    Whole lines, with as many lines around them as it takes.
    """
    a, b = old.splitlines(keepends=True), new.splitlines(keepends=True)
    shift = 0
    now = list(a)
    codes = [c for c in difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes() if c[0] != "equal"]
    for _, i, j, p, q in codes:
        first, last = i + shift, j + shift
        before = after = 0
        while True:
            search = "".join(now[first - before : last + after])
            if search and "".join(now).count(search) == 1:
                break
            before, after = min(before + 1, first), min(after + 1, len(now) - last)
        replace = "".join([*now[first - before : first], *b[p:q], *now[last : last + after]])
        yield search, replace
        now[first:last] = b[p:q]
        shift += (q - p) - (j - i)
