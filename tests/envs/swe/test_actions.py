"""Actions: three forms, one meaning; everything else is refused with the reason."""

from __future__ import annotations

import json
from inspect import signature

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.envs.swe.actions import MAX_ACTION, TOOLS, Action, BadAction, call, describe, parse, relative

HOME = str(signature(parse).parameters["home"].default)
EDIT = """I think the sign is wrong.

```edit src/a.py
<<<<<<< SEARCH
    return 1
=======
    return 2
>>>>>>> REPLACE
```
"""


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "read", "arguments": {"path": "a.py", "first": 2, "last": 5}}',
        '{"tool": "read", "args": {"path": "./a.py", "first": "2", "last": 5}}',
        '{"function": {"name": "read", "arguments": "{\\"path\\": \\"/repo/a.py\\", \\"first\\": 2, \\"last\\": 5}"}}',
        "```json\n" + call("read", path="a.py", first=2, last=5) + "\n```",
        "Let me look.\n```read a.py 2 5\n```",
        "read a.py 2 5",
    ],
)
def test_one_call_in_every_form(text: str) -> None:
    assert parse(text, "/repo") == Action("read", {"path": "a.py", "first": 2, "last": 5})


@pytest.mark.parametrize(
    "text",
    [
        call("read", path="/testbed/src/a.py"),
        "read /testbed/src/a.py",
        "```read /testbed/./src/a.py\n```",
        call("edit", path="/testbed/src/a.py", search="a", replace="b"),
        EDIT.replace("src/a.py", "/testbed/src/a.py"),
    ],
)
def test_absolute_paths_begin_with_the_folder_of_the_repository(text: str) -> None:
    assert parse(text, "/testbed").args["path"] == "src/a.py"
    with pytest.raises(BadAction, match=rf"does not stay inside.*or begin with {HOME}/"):
        parse(text)


@pytest.mark.parametrize(
    "path", [f"{HOME}/a.py", "/testbed2/a.py", "/testbed", "/testbed/", "/testbed//a.py", "/testbed/../etc/passwd", "/"]
)
def test_other_absolute_paths_are_no_files_of_the_repository(path: str) -> None:
    with pytest.raises(BadAction, match="begin with /testbed/"):
        parse(call("read", path=path), "/testbed")


def test_a_folder_of_the_repository_may_have_its_name() -> None:
    inside = f"{HOME[1:]}/a.py"
    assert parse(f"read {inside}").args["path"] == inside
    assert parse(f"read {HOME}/{inside}").args["path"] == inside


@pytest.mark.parametrize(
    ("path", "means"),
    [(".", "."), ("./", "."), (" ", "."), ("/src/app", "."), ("/src/app/", "."), ("/src/app/lib/", "lib"), ("b", "b")],
)
def test_find_looks_below_a_folder(path: str, means: str) -> None:
    assert parse(call("find", text="x", path=path), "/src/app").args["path"] == means


def test_relative_names_of_tests() -> None:
    assert relative("/testbed/test_a.py::test_b[/testbed/c]", "/testbed") == "test_a.py::test_b[/testbed/c]"
    assert relative("./test_a.py", "/testbed") == "test_a.py"


def test_blocks() -> None:
    assert parse("```bash\nls -la\ncd x\n```") == Action("bash", {"command": "ls -la\ncd x"})
    assert parse(EDIT) == Action("edit", {"path": "src/a.py", "search": "    return 1\n", "replace": "    return 2\n"})
    new = "```edit b.py\n<<<<<<< SEARCH\n=======\nx = 1\n>>>>>>> REPLACE\n```"
    assert parse(new) == Action("edit", {"path": "b.py", "search": "", "replace": "x = 1\n"})
    gone = "```edit b.py\n<<<<<<< SEARCH\nx = 1\n=======\n>>>>>>> REPLACE\n```"
    assert parse(gone) == Action("edit", {"path": "b.py", "search": "x = 1\n", "replace": ""})


def test_lines() -> None:
    assert parse("submit") == Action("submit", {})
    assert parse("run_tests test_a.py::test_b") == Action("run_tests", {"tests": "test_a.py::test_b"})
    assert parse("find def parse") == Action("find", {"text": "def parse", "path": "."})


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        ("ls -la", "expected a JSON tool call"),
        ('{"name": "read"', "not JSON"),
        ('{"name": "open", "arguments": {}}', "no tool 'open'"),
        ('{"name": ["read"], "arguments": {}}', "no tool"),
        ('{"name": "read", "arguments": []}', "are an object"),
        ('{"name": "read", "arguments": {}}', "needs the argument 'path'"),
        ('{"name": "read", "arguments": {"path": "a", "line": 3}}', "has no argument 'line'"),
        ('{"name": "read", "arguments": {"path": "../a"}}', "does not stay inside"),
        ('{"name": "read", "arguments": {"path": "/etc/passwd"}}', "does not stay inside"),
        ('{"name": "read", "arguments": {"path": ".git/config"}}', "belongs to git"),
        ('{"name": "read", "arguments": {"path": "a", "first": -1}}', "whole number"),
        ('{"name": "read", "arguments": {"path": "a", "first": true}}', "whole number"),
        ('{"name": "bash", "arguments": {"command": " "}}', "not empty"),
        ('{"name": "bash", "arguments": {"command": "a\\u0000b"}}', "NUL"),
        ("```bash\nls\n```\n```bash\nls\n```", "got 2"),
        ("```ruby\nputs 1\n```", "begins with the name of a tool"),
        ("```edit a.py\nx\n```", "SEARCH"),
        ("submit now", "no arguments"),
        ("x" * (MAX_ACTION + 1), "at most"),
        ("[" * 5000, "expected a JSON"),
        ('{"a":' * 5000, "not JSON"),
    ],
)
def test_what_is_refused_is_told_why(text: str, why: str) -> None:
    with pytest.raises(BadAction, match=why):
        parse(text)


@given(st.text())
def test_any_text_is_an_action_or_refused(text: str) -> None:
    for each in (text, "{" + text, f"```bash\n{text}\n```", json.dumps({"name": text, "arguments": {text: text}})):
        try:
            assert parse(each).tool in TOOLS
        except BadAction as why:
            message = str(why)
            assert message


@given(st.text(min_size=1).filter(lambda s: s.strip() and "\0" not in s))
def test_a_call_is_read_as_it_was_written(command: str) -> None:
    try:
        command.encode()
    except UnicodeEncodeError:
        return
    assert parse(call("bash", command=command)) == Action("bash", {"command": command})


def test_every_tool_is_described() -> None:
    assert [line.partition("(")[0] for line in describe().splitlines()] == list(TOOLS)
