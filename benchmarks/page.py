"""Tables in pages of docs/, made from what is saved in benchmarks/results/.

A table stands between ``<!-- table: NAME -->`` and ``<!-- end of table -->``; `written` puts it there, and tests
compare the pages with the files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

__all__ = ["Tables", "named", "rows", "written"]

Tables = Mapping[str, Callable[[], str]]

_MARKED = re.compile(r"(<!-- table: (?P<name>[\w-]+) -->\n).*?(<!-- end of table -->)", re.S)


def written(page: str, tables: Tables) -> str:
    """The page with its marked tables as saved.

    Raises:
        KeyError: a mark names no table.
    """
    return _MARKED.sub(lambda m: f"{m[1]}\n{tables[m['name']]()}\n\n{m[3]}", page)


def named(page: str) -> list[str]:
    """The tables that a page shows."""
    return [m["name"] for m in _MARKED.finditer(page)]


def rows(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *lines))
