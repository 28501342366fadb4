"""What a language server is given of a tree, and what is asked of the source without one."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Mapping

__all__ = ["MAX_FILES", "MAX_SIZE", "definitions", "masked", "parse", "python_files"]

MAX_FILES = 2000
"""Files with Python that are watched; of a larger tree, the first ones by path."""
MAX_SIZE = 1 << 20
"""Bytes of one watched file. A longer one does not parse, as far as this reward goes."""
_HUSHING = re.compile(r"#.*?\b(noqa|nosec|fmt|yapf|isort|ruff|flake8|pylint|mypy|pyright|basedpyright|type)\b", re.I)


def python_files(files: Mapping[str, bytes]) -> dict[str, bytes]:
    """The watched part of a tree: modules and stubs. Configuration of the repository is never among them."""
    chosen = sorted(path for path in files if path.endswith((".py", ".pyi")))
    return {path: files[path] for path in chosen[:MAX_FILES]}


def parse(data: bytes) -> ast.Module | None:
    """The syntax tree; None where it does not parse, is too long, or too deeply nested."""
    if len(data) > MAX_SIZE:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "invalid escape sequence" and the like
        try:
            return ast.parse(data)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def masked(data: bytes) -> str:
    """The text with every comment that hushes a checker blanked, column for column.

    Otherwise ``# type: ignore`` would pay as much as a repair. Comments of type (``# type: int``) go the same way.
    """
    text = data.decode("utf-8-sig", "replace")
    if not _HUSHING.search(text):
        return text
    lines = text.splitlines(keepends=True)
    try:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT and _HUSHING.match(token.string):
                row, column = token.start
                line = lines[row - 1]
                lines[row - 1] = line[:column] + "#" * len(token.string) + line[column + len(token.string) :]
    except (tokenize.TokenError, SyntaxError, IndexError):
        return text  # it does not parse: the gate holds, whatever a server says
    return "".join(lines)


def definitions(tree: ast.Module) -> frozenset[str]:
    """Qualified names of the functions and classes that do something; those reduced to ``pass`` are not there."""
    found: set[str] = set()
    stack: list[tuple[ast.AST, str]] = [(tree, "")]
    while stack:
        node, prefix = stack.pop()
        for child in ast.iter_child_nodes(node):
            inside = prefix
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                name = prefix + child.name
                if isinstance(child, ast.ClassDef) or not _empty(child.body):
                    found.add(name)
                inside = name + "."
            stack.append((child, inside))
    return frozenset(found)


def _empty(body: list[ast.stmt]) -> bool:
    return all(
        isinstance(s, ast.Pass)
        or (isinstance(s, ast.Expr) and isinstance(s.value, ast.Constant))
        or (isinstance(s, ast.Raise) and s.exc is not None and "NotImplementedError" in ast.unparse(s.exc))
        for s in body
    )
