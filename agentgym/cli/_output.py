"""What commands print: tables for people, JSON for machines; and environments made with advice on what went wrong."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import gymnasium

from agentgym.errors import MissingExtra, UsageError
from agentgym.files import json_like
from agentgym.registration import find

if TYPE_CHECKING:
    from rich.table import Table

__all__ = [
    "Tick",
    "at_least",
    "bars",
    "from_here",
    "known",
    "make",
    "print_json",
    "progress",
    "require",
    "show",
    "sweep",
    "table",
]


class Tick(Protocol):
    """Reports progress: how many are done, of how many."""

    def __call__(self, done: int, total: int) -> None: ...


def print_json(value: Any) -> None:
    """One line of strict JSON on stdout; numbers that are not finite become null."""
    print(json.dumps(json_like(value), allow_nan=False))


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table on stdout. Numbers are right-aligned by being given as numbers; text is folded, never cut off."""
    from rich.table import Table
    from rich.text import Text

    shown = [[_cell(value) for value in row] for row in rows]
    numeric = [all(_is_number(row[k]) for row in shown) and bool(shown) for k in range(len(columns))]
    drawn = Table(title=title or None, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for name, right in zip(columns, numeric, strict=True):
        drawn.add_column(name, justify="right" if right else "left", overflow="fold", header_style="bold")
    for row in shown:
        drawn.add_row(*map(Text, row))
    show(drawn)


def show(drawn: Table) -> None:
    """Print a table on stdout."""
    from rich.console import Console

    if sys.stdout.isatty():
        Console().print(drawn)
        return
    # A pipe has no width: 80 columns would fold what the next program wants whole.
    console = Console(width=200)
    with console.capture() as captured:
        console.print(drawn)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}" if value == value else ""
    return "" if value is None else str(value)


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).replace("-", "", 1).isdigit() or not text


@contextmanager
def progress(what: str) -> Iterator[Tick]:
    """A progress bar on stderr while the block runs; nothing when stderr is not a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextmanager
def bars() -> Iterator[Callable[[str, int, int, str], None]]:
    """One bar on stderr for every phase of a long work; a line for each finished phase when stderr is no terminal.

    Yields:
        a function of (phase, done, total, a few words).
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:

        def line(phase: str, done: int, total: int, words: str) -> None:
            if done == total:
                console.print(f"{phase}: {words}", soft_wrap=True)

        yield line
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, TextColumn("{task.fields[words]}"), console=console) as drawn:
        tasks: dict[str, TaskID] = {}

        def bar(phase: str, done: int, total: int, words: str) -> None:
            if phase not in tasks:
                tasks[phase] = drawn.add_task(phase, total=total or None, words="")
            drawn.update(tasks[phase], completed=done, total=total or None, words=words)

        yield bar


def require(package: str, extra: str) -> None:
    """Refuse with the command that installs it, before any work, if a package is not here.

    Raises:
        MissingExtra: it is not.
    """
    if importlib.util.find_spec(package) is None:
        raise MissingExtra(package, extra)


def at_least(low: int, **given: int) -> None:
    """Refuse options (by field name) that are too small.

    Raises:
        UsageError: one is below ``low``.
    """
    for name, value in given.items():
        if value < low:
            raise UsageError(f"--{name.replace('_', '-')} must be at least {low}, got {value}")


def sweep(out: Path) -> None:
    """Take away a run that was refused before it held anything, so that the corrected command finds the folder free."""
    if {p.name for p in out.glob("*")} == {"run.json"}:
        (out / "run.json").unlink()
        with contextlib.suppress(OSError):  # in a container it is a mount, which stays
            out.rmdir()


def known(id: str) -> str:
    """The id without its module. ``module:id`` imports the module first, also from this folder, as Gymnasium does.

    Raises:
        UnknownName: nothing registered the id; says the nearest ones.
        UsageError: there is no such module.
    """
    module, _, name = id.rpartition(":")
    if module:
        from_here()
        if importlib.util.find_spec(module.split(".")[0]) is None:
            raise UsageError(f"{id!r} names the module {module!r}, which is neither installed nor in this folder")
        importlib.import_module(module)
    if name not in gymnasium.registry:
        find(name)
    return name


def from_here() -> None:
    """Let modules in the current folder be imported, as ``python -m`` does."""
    if not {"", os.getcwd()} & set(sys.path):
        sys.path.insert(0, os.getcwd())


def make(id: str, kwargs: Mapping[str, Any], **more: Any) -> gymnasium.Env[Any, Any]:
    """`gymnasium.make`, with unknown ids and arguments answered in one line.

    Raises:
        UsageError: the id is unknown, or the environment takes no such argument or no such value.
        MissingExtra: the environment's family is not installed.
    """
    name = known(id)
    try:
        return gymnasium.make(name, disable_env_checker=True, **{**kwargs, **more})
    except TypeError as error:  # an argument's name, or its type
        given = " ".join(f"{k}={v!r}" for k, v in kwargs.items())
        why = str(error).split(" was raised")[0]
        raise UsageError(f"{id} does not take {given} ({why}); see `agentgym envs --describe {id}`") from error
