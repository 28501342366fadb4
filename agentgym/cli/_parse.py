"""Words of the command line to a typed options object, and every misuse to one `UsageError`."""

from __future__ import annotations

import contextlib
import inspect
import io
import json
import re
import types
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import tyro
from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec, PrimitiveTypeInfo

from agentgym.errors import UsageError

__all__ = ["Flag", "parse", "parse_kwargs"]

T = TypeVar("T")

Flag = tyro.conf.FlagCreatePairsOff[bool]
"""An option without a value, off unless given."""


def parse(options: type[T], command: str, words: Sequence[str], default: T | None = None) -> T:
    """Fill an options dataclass; ``--help`` prints and leaves.

    Args:
        options: the dataclass.
        command: name for the usage line.
        words: the words after the command.
        default: values of the options that are not given; the class's own when None.

    Raises:
        UsageError: an unknown, missing or malformed option, said in one line.
    """
    given: dict[str, Any] = {} if default is None else {"default": default}
    said = io.StringIO()
    try:
        with _registry(), contextlib.redirect_stderr(said):
            filled: T = tyro.cli(
                options, prog=f"agentgym {command}", args=list(words), description=inspect.getdoc(options), **given
            )
            return filled
    except SystemExit as leave:
        if leave.code:
            raise UsageError(f"{_one_line(said.getvalue())}; see `agentgym {command} --help`") from None
        raise


def parse_kwargs(words: Sequence[str]) -> dict[str, Any]:
    """``view=memory size=5`` or one JSON object, as keyword arguments.

    A value is read as JSON where it is JSON (``5``, ``true``, ``"5"``), and is text otherwise.

    Raises:
        ValueError: a word is neither.
    """
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        try:
            value = json.loads(words[0])
        except ValueError as error:
            raise ValueError(f"expected KEY=VALUE words or one JSON object, got {words[0]!r} ({error})") from None
        return dict(value)
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or not key.isidentifier():
            raise ValueError(f"expected KEY=VALUE words or one JSON object, got {word!r}")
        try:
            given[key] = json.loads(text)
        except ValueError:
            given[key] = text
    return given


def _registry() -> ConstructorRegistry:
    """What we read otherwise than tyro: keyword arguments, and options that may be left out."""
    registry = ConstructorRegistry()

    @registry.primitive_rule
    def keyword_arguments(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[dict[str, Any]] | None:
        if info.type_origin is not dict:
            return None
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar="KEY=VALUE...",
            instance_from_str=parse_kwargs,
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda value: [f"{k}={_as_word(v)}" for k, v in value.items()],
        )

    @registry.primitive_rule
    def maybe(info: PrimitiveTypeInfo) -> PrimitiveConstructorSpec[Any] | None:
        """``T | None`` for a plain T: shown as T, with ``none`` for None."""
        kinds = set(typing.get_args(info.type)) - {types.NoneType}
        if info.type_origin not in (typing.Union, types.UnionType) or len(kinds) != 1:
            return None
        (kind,) = kinds
        if kind not in (str, int, float, Path):
            return None
        return PrimitiveConstructorSpec(
            nargs=1,
            metavar={str: "TEXT", int: "INT", float: "FLOAT", Path: "PATH"}[kind],
            instance_from_str=lambda words: None if words[0] == "none" else kind(words[0]),
            is_instance=lambda value: value is None or isinstance(value, kind),
            str_from_instance=lambda value: ["none" if value is None else str(value)],
        )

    return registry


def _as_word(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _one_line(box: str) -> str:
    """The gist of the box that tyro draws: its first section, the usage of the option, and what was perhaps meant.

    Where stdout is not UTF-8 the box has no frame, and its title is a section of its own.
    """
    inside = [line.strip("│ \t") for line in box.splitlines() if line[:1] == "│"]
    sections = _split(inside) if inside else _split(box.splitlines())[1:]
    if not sections:
        return " ".join(box.split())
    message = sections[0]
    for section in sections[1:]:
        if found := re.match(r"Perhaps you meant: (--[\w.-]+)", section):
            message += f"; perhaps you meant {found[1]}"
        elif found := re.match(r"Argument helptext: (--\S+ .+?) [A-Z\"]", section):
            message += f"; expected {found[1]}"
    return message


def _split(lines: Sequence[str]) -> list[str]:
    """The text between ruled lines, each part on one line."""
    parts: list[list[str]] = [[]]
    for line in lines:
        if line.strip() and set(line.strip()) <= {"─", "-"}:
            parts.append([])
        else:
            parts[-1] += line.split()
    return [" ".join(part) for part in parts if part]
