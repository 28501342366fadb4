"""Faults: the small changes of a Python source that could each have been a slip of the hand.

Every fault changes one token (an operator, a number, a name, a word) on one line; the source still parses. They make
the one-function families and the mutants of whole packages.
"""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["Fault", "faults", "function_at", "spans"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One change.

    Attributes:
        line: 1-based.
        column: 0-based, in characters.
        old, new: the token before and after.
        kind: comparison, arithmetic, number, logic, name.
        function: qualified name of the innermost function around it, '' outside of any.
    """

    line: int
    column: int
    old: str
    new: str
    kind: str
    function: str

    def apply(self, source: str) -> str:
        """The source with the change made.

        Raises:
            ValueError: ``old`` does not stand there: this is not the source that the fault was found in.
        """
        lines = source.splitlines(keepends=True)
        text = lines[self.line - 1] if self.line <= len(lines) else ""
        end = self.column + len(self.old)
        if text[self.column : end] != self.old:
            raise ValueError(f"expected {self.old!r} at line {self.line}, column {self.column}, got {text!r}")
        lines[self.line - 1] = text[: self.column] + self.new + text[end:]
        return "".join(lines)


_SWAPS: dict[str, tuple[str, tuple[str, ...]]] = {
    "<": ("comparison", ("<=", ">")),
    "<=": ("comparison", ("<", ">=")),
    ">": ("comparison", (">=", "<")),
    ">=": ("comparison", (">", "<=")),
    "==": ("comparison", ("!=",)),
    "!=": ("comparison", ("==",)),
    "+": ("arithmetic", ("-",)),
    "-": ("arithmetic", ("+",)),
    "*": ("arithmetic", ("+",)),
    "//": ("arithmetic", ("%",)),
    "%": ("arithmetic", ("//",)),
    "+=": ("arithmetic", ("-=",)),
    "-=": ("arithmetic", ("+=",)),
    "and": ("logic", ("or",)),
    "or": ("logic", ("and",)),
    "True": ("logic", ("False",)),
    "False": ("logic", ("True",)),
    "min": ("name", ("max",)),
    "max": ("name", ("min",)),
    "append": ("name", ("extend",)),
}


def faults(source: str, *, names: bool = True, parsing: bool = True) -> tuple[Fault, ...]:
    """All faults of a source, in the order of the text.

    Args:
        source: a module that parses.
        names: also mistake one variable of a function for another of the same function.
        parsing: leave out faults after which the source does not parse; that costs a parse each.

    Raises:
        SyntaxError: the source does not parse.
    """
    tree = ast.parse(source)
    scopes = _Scopes(tree)
    read = {(n.lineno, n.col_offset) for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    found = []
    for token, unary in _code_tokens(source):
        line, column = token.start
        function = scopes.at(line)
        others = function.names if names and function and token.start in read else ()
        for kind, new in _changes(token, unary, others):
            found.append(Fault(line, column, token.string, new, kind, function.name if function else ""))
    return tuple(f for f in found if not parsing or _parses(f.apply(source)))


def _changes(token: tokenize.TokenInfo, unary: bool, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    text = token.string
    if text in _SWAPS and not unary:
        kind, options = _SWAPS[text]
        yield from ((kind, new) for new in options)
    elif token.type == tokenize.NUMBER and text.isdigit():
        yield from (("number", str(n)) for n in (int(text) + 1, int(text) - 1) if n >= 0)
    elif token.type == tokenize.NAME and text in names:
        yield from (("name", other) for other in names if other != text)


def _code_tokens(source: str) -> Iterator[tuple[tokenize.TokenInfo, bool]]:
    """Tokens that may be changed, and whether each stands where an operator has no left operand."""
    before: tokenize.TokenInfo | None = None
    in_definition = False
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in (tokenize.COMMENT, tokenize.NL, tokenize.INDENT, tokenize.DEDENT):
            continue
        if token.string in ("def", "class", "import", "from", "global", "nonlocal", "@"):
            in_definition = True  # names and annotations of these lines are no code to slip in
        elif token.type == tokenize.NEWLINE:
            in_definition = False
        operand = before is not None and (
            before.type in (tokenize.NAME, tokenize.NUMBER, tokenize.STRING) or before.string in (")", "]", "}")
        )
        keyword = before is not None and before.string in ("return", "in", "and", "or", "not", "if", "else", "yield")
        if not in_definition and not (before is not None and before.string == "." and token.string not in _SWAPS):
            yield token, not operand or keyword
        before = token


@dataclass(frozen=True, slots=True)
class _Function:
    name: str
    first: int
    last: int
    names: tuple[str, ...]


class _Scopes:
    """Which function a line belongs to, and the variables it could confuse."""

    def __init__(self, tree: ast.Module) -> None:
        self._functions: list[_Function] = []
        self._visit(tree, "")

    def at(self, line: int) -> _Function | None:
        inside = [f for f in self._functions if f.first <= line <= f.last]
        return max(inside, key=lambda f: f.first, default=None)

    def _visit(self, node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = f"{prefix}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    first, last = child.body[0].lineno, child.end_lineno or child.lineno
                    self._functions.append(_Function(name, first, last, _variables(child)))
                self._visit(child, name + ".")
            else:
                self._visit(child, prefix)


def _variables(function: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, ...]:
    names = [a.arg for a in function.args.args]
    names += [n.id for n in ast.walk(function) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)]
    return tuple(dict.fromkeys(n for n in names if n not in ("self", "cls", "_")))


def _parses(source: str) -> bool:
    try:
        ast.parse(source)
    except SyntaxError:
        return False
    return True


def function_at(source: str, line: int) -> str:
    """Qualified name of the innermost function whose body holds a line; '' outside of any, or where nothing parses."""
    try:
        found = _Scopes(ast.parse(source)).at(line)
    except SyntaxError:
        return ""
    return found.name if found else ""


def spans(source: str) -> dict[str, tuple[int, int]]:
    """Qualified name of each function -> its first and last line, the head included; empty where nothing parses."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError):
        return {}
    return {name: (node.lineno, node.end_lineno or node.lineno) for name, node in _functions(tree, "")}


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            name = f"{prefix}{child.name}"
            if not isinstance(child, ast.ClassDef):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)
