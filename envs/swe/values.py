"""Assertions of plain tests as values that are compared outside the sandbox."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from agentgym.envs.swe.inside.calls import canonical
from agentgym.envs.swe.instance import Value

__all__ = ["agrees", "values_of"]


def values_of(path: str, source: str) -> Mapping[str, tuple[Value, ...]]:
    """Id -> values, for the test functions of a file that are nothing but statements and assertions in a row.

    Tests with arguments, branches, loops or anything of pytest but ``raises`` are left out: they need pytest.

    Args:
        path: the file's path as in the ids.
        source: its text.

    Raises:
        SyntaxError: the source does not parse.
    """
    module = ast.parse(source)
    tests = [n for n in module.body if isinstance(n, ast.FunctionDef) and n.name.startswith("test")]
    head = [n for n in module.body if n not in tests and not _is_import_of_pytest(n)]
    found: dict[str, tuple[Value, ...]] = {}
    for test in tests:
        name = f"{path}::{test.name}"
        try:
            if not test.decorator_list and not ast.unparse(test.args):
                found[name] = tuple(_values(name, head, test))
        except _NotPlain:
            continue
    return {name: values for name, values in found.items() if values}


def agrees(value: Value, word: str) -> bool:
    """Whether what a sandbox answered (see ``inside/calls.py``) is what the value expects."""
    if value.raises:
        return word[:1] == "!" and value.raises in word[1:].split(",")
    return word == "=" + canonical(ast.literal_eval(value.expected))


class _NotPlain(Exception):
    """The test cannot be written as values."""


def _values(name: str, head: list[ast.stmt], test: ast.FunctionDef) -> Iterator[Value]:
    before: list[ast.stmt] = []
    for node in test.body:
        setup = "\n".join(map(ast.unparse, [*head, *before]))
        if isinstance(node, ast.Assert):
            call, expected = _comparison(node.test)
            yield Value(name, _plain(call), expected, setup=setup)
            before.append(ast.Expr(node.test))  # what it does to the objects at hand
        elif isinstance(node, ast.With):
            error, body = _raises(node)
            yield Value(name, _plain(body), raises=error, setup=setup)
            before.append(ast.parse(f"try: {ast.unparse(body)}\nexcept {error}: pass").body[0])
        elif isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign | ast.FunctionDef | ast.ClassDef):
            _plain(node)
            before.append(node)
        elif isinstance(node, ast.Import | ast.ImportFrom | ast.Delete):
            before.append(node)
        else:
            raise _NotPlain


def _comparison(test: ast.expr) -> tuple[ast.expr, str]:
    """The expression whose value is asked for, and the literal that it must be."""
    if isinstance(test, ast.Compare) and len(test.ops) == 1 and isinstance(test.ops[0], ast.Eq | ast.Is):
        left, right = test.left, test.comparators[0]
        for call, literal in ((left, right), (right, left)):
            if (text := _literal(literal)) is not None:
                return call, text
    return ast.parse(f"bool({ast.unparse(test)})", mode="eval").body, "True"


def _literal(node: ast.expr) -> str | None:
    text = ast.unparse(node)
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError):
        return None
    return text


def _raises(node: ast.With) -> tuple[str, ast.expr]:
    (item,) = node.items if len(node.items) == 1 else (None,)
    call = item.context_expr if item is not None and item.optional_vars is None else None
    if not (isinstance(call, ast.Call) and ast.unparse(call.func) in ("pytest.raises", "raises")):
        raise _NotPlain
    (body,) = node.body if len(node.body) == 1 else (None,)
    extra = [k for k in call.keywords if k.arg != "match"]  # what it says is left to pytest
    if len(call.args) != 1 or extra or not isinstance(call.args[0], ast.Name) or not isinstance(body, ast.Expr):
        raise _NotPlain
    return call.args[0].id, body.value


def _plain(node: ast.AST) -> str:
    if any(isinstance(n, ast.Name) and n.id == "pytest" for n in ast.walk(node)):
        raise _NotPlain
    return ast.unparse(node)


def _is_import_of_pytest(node: ast.stmt) -> bool:
    return (isinstance(node, ast.Import) and any(a.name == "pytest" for a in node.names)) or (
        isinstance(node, ast.ImportFrom) and node.module == "pytest"
    )
