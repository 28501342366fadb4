"""Which hidden tests a change can reach, by the names that files mention."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import PurePosixPath

from agentgym.envs.swe.instance import Instance

__all__ = ["affected"]

_WORD = re.compile(rb"[A-Za-z_][A-Za-z0-9_]*")


def affected(instance: Instance, changed: Iterable[str]) -> tuple[str, ...]:
    """Ids of the hidden tests that some chain of mentions leads to from the changed files; all where in doubt.

    A file that mentions a module's name, in an import or anywhere, counts as using it. A change of anything but Python
    files may reach every test.

    Args:
        changed: paths relative to the tree.
    """
    ids = (*instance.fail_to_pass, *instance.pass_to_pass)
    paths = list(changed)
    if any(not path.endswith(".py") for path in paths):
        return ids
    mentions = _mentions(instance)
    dirty = {_name(path) for path in paths}
    reached: set[str] = set()
    while True:
        new = {path for path, words in mentions.items() if path not in reached and not words.isdisjoint(dirty)}
        if not new:
            break
        reached |= new
        dirty |= {_name(path) for path in new}
    return tuple(i for i in ids if f"tests/{i.partition('::')[0]}" in reached or b"conftest" in dirty)


@lru_cache(256)
def _mentions(instance: Instance) -> Mapping[str, frozenset[bytes]]:
    """Path -> the words of every Python file; hidden tests below a folder of their own."""
    files = {f"tree/{path}": data for path, data in instance.tree.files().items()}
    files |= {f"tests/{path}": data for path, data in instance.tests.items()}
    return {path: frozenset(_WORD.findall(data)) for path, data in files.items() if path.endswith(".py")}


def _name(path: str) -> bytes:
    """The name that a file is imported by: its own, or its folder's."""
    pure = PurePosixPath(path)
    return (pure.parent.name if pure.stem == "__init__" else pure.stem).encode()
