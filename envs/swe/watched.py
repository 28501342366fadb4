"""Hidden tests in which every value that is asserted about is looked at first: does it claim to equal everything?

An object whose ``==`` is always true passes any assertion that runs in its process. Where a test has no values that
leave the sandbox (`agentgym.envs.swe.values`), its operands are handed to a function that asks them whether they equal
things which nothing equals; the lines of the test stay as they are.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

__all__ = ["watched"]

_ASSERTS = frozenset(
    (
        *("assertEqual", "assertEquals", "assertNotEqual", "assertTrue", "assertFalse", "assertIn", "assertListEqual"),
        *("assertTupleEqual", "assertDictEqual", "assertSetEqual", "assertSequenceEqual", "assertMultiLineEqual"),
    )
)


def watched(source: bytes, name: str) -> bytes:
    """A test file in which the operands of assertions go through a function.

    Args:
        source: of the file, in UTF-8; what does not parse comes back as it is.
        name: of the function; it gives back what it is given.
    """
    try:
        tree = ast.parse(source)
        source.decode()
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return source
    lines = source.splitlines(keepends=True)
    marks: list[tuple[int, int, int, bytes]] = []
    for k, node in enumerate(_operands(tree)):
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        # From the outside in: of two that begin at one place the outer begins first and ends last.
        marks.append((node.lineno, node.col_offset, k, f"{name}(".encode()))
        marks.append((node.end_lineno, node.end_col_offset, -k, b")"))
    for line, column, _, text in sorted(marks, reverse=True):
        row = lines[line - 1]
        lines[line - 1] = row[:column] + text + row[column:]
    return b"".join(lines)


def _operands(tree: ast.Module) -> Iterator[ast.expr]:
    """What assertions are about; none inside another."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            yield from _parts(node.test)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _ASSERTS:
            yield from (arg for arg in node.args if not isinstance(arg, ast.Starred | ast.Constant))


def _parts(test: ast.expr) -> Iterator[ast.expr]:
    if isinstance(test, ast.BoolOp):
        for value in test.values:
            yield from _parts(value)
    elif isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        yield from _parts(test.operand)
    elif isinstance(test, ast.Compare):
        yield from (part for part in (test.left, *test.comparators) if not isinstance(part, ast.Constant))
    elif not isinstance(test, ast.NamedExpr | ast.Constant):
        yield test
