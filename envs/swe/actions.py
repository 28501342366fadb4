"""Actions as text: a JSON tool call, or one fenced block with the tool's name; parsed by a whitelist, never executed.

A text that begins with ``{`` is one call: ``{"name": "read", "arguments": {"path": "a.py"}}`` (also ``{"tool": …}`` and
OpenAI's ``{"function": {"name": …, "arguments": "…"}}``). Otherwise the text holds exactly one fenced block, with
whatever thoughts around it::

    ```bash
    python -m pytest -q
    ```

    ```edit src/a.py
    <<<<<<< SEARCH
    return 1
    =======
    return 2
    >>>>>>> REPLACE
    ```

or is one line for the tools that need no more: ``read a.py 10 40``, ``find def parse``, ``run_tests``, ``submit``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from agentgym.envs.swe.tree import in_tree

__all__ = ["MAX_ACTION", "TOOLS", "Action", "BadAction", "call", "describe", "parse", "relative"]

MAX_ACTION = 100_000
"""Longest action that is read, in characters; a longer one is not grounded."""


class BadAction(Exception):
    """Why a text is no action, in a sentence for the agent."""


@dataclass(frozen=True)
class Action:
    """One parsed action: a tool of `TOOLS` and all its arguments, checked for type and form."""

    tool: str
    args: Mapping[str, Any] = field(default_factory=dict)


# ------------------------------------------------------------------ kinds of arguments


def _text(value: Any, home: str = "") -> str:
    if not isinstance(value, str) or "\0" in value or any(0xD800 <= ord(c) <= 0xDFFF for c in value):
        raise BadAction(f"expected a text without NUL and half surrogate pairs, got {_short(value)}")
    return value


def _some(value: Any, home: str = "") -> str:
    if not _text(value).strip():
        raise BadAction("expected a text that is not empty")
    return str(value)


def _path(value: Any, home: str) -> str:
    path = relative(_text(value), home)
    if why := in_tree(path):
        raise BadAction(f"the path {_short(value)} {why}; paths are relative to the repository, or begin with {home}/")
    return path


def _folder(value: Any, home: str) -> str:
    return "." if relative(_text(value), home) in ("", ".") else _path(str(value).strip().rstrip("/"), home)


def _line(value: Any, home: str = "") -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 9:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**8:
        raise BadAction(f"a line is a whole number, not {_short(value)}")
    return value


_REQUIRED = object()
TOOLS: dict[str, dict[str, tuple[Callable[[Any, str], Any], Any]]] = {
    "bash": {"command": (_some, _REQUIRED)},
    "read": {"path": (_path, _REQUIRED), "first": (_line, 1), "last": (_line, 0)},
    "edit": {"path": (_path, _REQUIRED), "search": (_text, _REQUIRED), "replace": (_text, _REQUIRED)},
    "find": {"text": (_some, _REQUIRED), "path": (_folder, ".")},
    "run_tests": {"tests": (_text, "")},
    "submit": {},
}
"""Tool -> argument -> (kind, default); a kind reads a value, given the folder that the repository lies in."""
_WORDS = {
    "bash": "run a command in the repository's folder (no network; nothing it starts lives on)",
    "read": "show the lines first to last of a file, all where they are left out",
    "edit": "replace `search`, which must stand once in the file, by `replace`; an empty `search` makes a new file",
    "find": "show the lines that hold a text, in all files or below a path",
    "run_tests": "run the repository's tests, or the files or ids that are named",
    "submit": "hand in the repository as it is; ends the task",
}


def describe() -> str:
    """The tools, one a line, for a prompt."""
    lines = []
    for tool, args in TOOLS.items():
        named = ", ".join(
            name if default is _REQUIRED else f"{name}={default!r}" for name, (_, default) in args.items()
        )
        lines.append(f"{tool}({named}): {_WORDS[tool]}")
    return "\n".join(lines)


def call(tool: str, **args: Any) -> str:
    """The JSON tool call, as a text that `parse` reads."""
    return json.dumps({"name": tool, "arguments": args}, ensure_ascii=False)


def relative(path: str, home: str) -> str:
    """A path as the repository has it: without the folder that the repository lies in, where it begins with that."""
    path = path.strip()
    if path.rstrip("/") == home:
        return ""
    return path.removeprefix(f"{home}/").removeprefix("./")


def parse(text: str, home: str = "/work") -> Action:
    """Read an action.

    Args:
        text: what the agent wrote.
        home: the folder that the repository lies in, as the agent sees it (`Instance.workdir`): files may be named by
            absolute paths that begin with it.

    Raises:
        BadAction: it is none; says why.
    """
    if len(text) > MAX_ACTION:
        raise BadAction(f"an action has at most {MAX_ACTION} characters, this one has {len(text)}")
    stripped = text.strip()
    if not stripped:
        raise BadAction(f"the action is empty; the tools are {', '.join(TOOLS)}")
    if stripped.startswith("{"):
        return _from_json(stripped, home)
    if "```" in stripped:
        return _from_block(stripped, home)
    return _from_line(stripped, home)


# ------------------------------------------------------------------ the forms


def _action(tool: object, given: Mapping[str, Any], home: str) -> Action:
    if not isinstance(tool, str) or tool not in TOOLS:
        raise BadAction(f"there is no tool {_short(tool)}; the tools are {', '.join(TOOLS)}")
    known = TOOLS[tool]
    for name in given:
        if name not in known:
            raise BadAction(f"{tool} takes {', '.join(known) or 'no arguments'}; it has no argument {_short(name)}")
    args = {}
    for name, (kind, default) in known.items():
        if name not in given and default is _REQUIRED:
            raise BadAction(f"{tool} needs the argument {name!r}")
        args[name] = kind(given[name], home) if name in given else default
    return Action(tool, args)


def _from_json(text: str, home: str) -> Action:
    try:
        data = json.loads(text)
        inner = data.get("function", data)
        tool = inner.get("name", inner.get("tool")) if isinstance(inner, dict) else None
        args = inner.get("arguments", inner.get("args", {})) if isinstance(inner, dict) else {}
        args = json.loads(args) if isinstance(args, str) else args
    except (ValueError, RecursionError) as error:
        raise BadAction(f"the tool call is not JSON: {str(error)[:200]}") from None
    if not isinstance(args, dict):
        raise BadAction(f"the arguments of a tool call are an object, not {_short(args)}")
    return _action(tool, args, home)


_FENCE = re.compile(r"^[ \t]*```[ \t]*([^\n`]*)\n(.*?)^[ \t]*```[ \t]*$", re.DOTALL | re.MULTILINE)
_SEARCH, _MIDDLE, _REPLACE = "<<<<<<< SEARCH\n", "=======\n", ">>>>>>> REPLACE"


def _from_block(text: str, home: str) -> Action:
    blocks = _FENCE.findall(text + "\n")
    if len(blocks) != 1:
        raise BadAction(f"expected one fenced block with one tool call, got {len(blocks)}")
    (head, body) = blocks[0]
    tool, _, rest = head.strip().partition(" ")
    if tool in ("bash", "sh", "shell"):
        return _action("bash", {"command": body.strip("\n")}, home)
    if tool == "edit":
        return _action("edit", {"path": rest, **_search_replace(body)}, home)
    if tool in ("", "json", "tool_call") and body.strip().startswith("{"):
        return _from_json(body.strip(), home)
    if tool in TOOLS:
        return _from_line(f"{tool} {rest} {body.strip()}".strip(), home)
    raise BadAction(f"a block begins with the name of a tool ({', '.join(TOOLS)}), not with {_short(tool)}")


def _search_replace(body: str) -> dict[str, str]:
    before, found, rest = body.partition(_SEARCH)
    search, divided, rest = rest.partition(_MIDDLE) if not rest.startswith(_MIDDLE) else ("", "=", rest[len(_MIDDLE) :])
    replace, ended, after = rest.partition(_REPLACE)
    if not (found and divided and ended) or before.strip() or after.strip() or _SEARCH in replace:
        raise BadAction(
            "an edit block holds '<<<<<<< SEARCH', the old lines, '=======', the new lines and '>>>>>>> REPLACE', once"
        )
    return {"search": search, "replace": replace}


def _from_line(line: str, home: str) -> Action:
    tool, _, rest = line.partition(" ")
    rest = rest.strip()
    if "\n" in line or tool not in ("read", "find", "run_tests", "submit"):
        raise BadAction(
            f"expected a JSON tool call, one fenced block, or one line such as 'read a.py 1 20', got {_short(line)}; "
            f"the tools are {', '.join(TOOLS)}"
        )
    if tool == "read":
        words = rest.split()
        if not 1 <= len(words) <= 3:
            raise BadAction("read takes a path and, where wanted, a first and a last line: 'read a.py 1 20'")
        return _action(tool, dict(zip(("path", "first", "last"), words, strict=False)), home)
    if tool == "find":
        return _action(tool, {"text": rest}, home)
    if tool == "run_tests":
        return _action(tool, {"tests": rest}, home)
    if rest:
        raise BadAction("submit takes no arguments")
    return _action(tool, {}, home)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
