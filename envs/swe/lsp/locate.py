"""Where in a file an edit's search text, or a symbol, stands; and how sure one can be that this place is meant.

After the relocation of Lanser-CLI, in our form: an exact match scores 1; elsewhere windows of lines score by what their
tokens share with the text. The confidence is the best score over the sum of all that could be meant.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from agentgym.envs.swe.lsp.source import MAX_SIZE, parse

__all__ = ["Place", "confidence", "locate"]

_TOKEN = re.compile(r"\w+|[^\w\s]")
_LEAST = 0.5
"""Score from which a window of lines counts as a candidate."""
_MAX_LINES, _MAX_WINDOW = 20_000, 100


@dataclass(frozen=True, slots=True)
class Place:
    """A candidate: 1-based lines, both included, and a score in (0, 1]."""

    first: int
    last: int
    score: float


def locate(source: bytes, *, text: str = "", symbol: str = "") -> tuple[Place, ...]:
    """Candidates, the best first, then in order of the file.

    Args:
        source: the file.
        text: what an edit would replace.
        symbol: or a qualified name, such as ``Parser.parse``; its last parts do (``parse``).
    """
    if symbol:
        return _symbols(source, symbol)
    if not text.strip() or len(source) > MAX_SIZE or len(text) > MAX_SIZE:
        return ()
    whole = source.decode("utf-8", "replace")
    found = list[Place]()
    start = whole.find(text)
    while start >= 0 and len(found) < 1000:
        first = whole.count("\n", 0, start) + 1
        found.append(Place(first, first + text.rstrip("\n").count("\n"), 1.0))
        start = whole.find(text, start + 1)
    return tuple(found) or _similar(whole, text)


def confidence(places: tuple[Place, ...]) -> float:
    """How sure the first candidate is meant, in [0, 1]: 1 for one exact match, 1/n for n of them, 0 for none."""
    if not places:
        return 0.0
    return places[0].score * places[0].score / sum(place.score for place in places)


def _similar(whole: str, text: str) -> tuple[Place, ...]:
    lines = whole.splitlines()[:_MAX_LINES]
    wanted = text.strip("\n").splitlines()[:_MAX_WINDOW]
    goal = set(_TOKEN.findall("\n".join(wanted)))
    if not goal or not lines:
        return ()
    tokens = [set(_TOKEN.findall(line)) for line in lines]
    scored = []
    for k in range(max(1, len(lines) - len(wanted) + 1)):
        window = set[str]().union(*tokens[k : k + len(wanted)])
        score = len(goal & window) / len(goal | window)
        if score >= _LEAST:
            scored.append(Place(k + 1, min(k + len(wanted), len(lines)), score))
    best: list[Place] = []
    for place in sorted(scored, key=lambda p: (-p.score, p.first)):
        if all(place.last < kept.first or place.first > kept.last for kept in best):
            best.append(place)  # of windows that overlap, the best one
        if len(best) == 100:
            break
    return tuple(best)


def _symbols(source: bytes, symbol: str) -> tuple[Place, ...]:
    tree = parse(source)
    wanted = symbol.split(".")
    found = []
    stack: list[tuple[ast.AST, list[str]]] = [(tree, [])] if tree is not None else []
    while stack:
        node, prefix = stack.pop()
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inside = [*prefix, child.name]
                if inside[-len(wanted) :] == wanted:
                    found.append(Place(child.lineno, child.end_lineno or child.lineno, 1.0))
            stack.append((child, inside))
    return tuple(sorted(found, key=lambda p: p.first))
