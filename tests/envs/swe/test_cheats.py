"""Cheats as patches: of any instance, they are code that can be imported and do what they are meant to do."""

from __future__ import annotations

import ast
import runpy
from pathlib import Path
from typing import Any

import pytest

from agentgym.envs.swe import cheats
from agentgym.envs.swe.danger import of_patch
from agentgym.envs.swe.instance import Instance, Region
from agentgym.envs.swe.small import bug, smoke
from agentgym.envs.swe.tree import Files

SOURCE = '''"""A module."""

from __future__ import annotations


class Box:
    def size(self):
        return 2


def outer():
    def inner():
        return 2

    return inner()
'''


def an_instance(function: str) -> Instance:
    return Instance(
        instance_id="boxes",
        source="release",
        statement="`size` should give 1.",
        tree=Files({"boxes.py": SOURCE.encode(), "tests/test_boxes.py": b"def test_it():\n    assert True\n"}),
        tests={"tests/test_boxes.py": b"def test_size():\n    assert True\n"},
        fail_to_pass=("tests/test_boxes.py::test_size",),
        pass_to_pass=(),
        gold={"boxes.py": SOURCE.replace("2", "1").encode()},
        faulty=(Region("boxes.py", 1, 1), Region("boxes.py", 8, 8, function)),
        visible=("tests/test_boxes.py",),
    )


def run(folder: Path, patch: dict[str, bytes | None]) -> dict[str, Any]:
    (folder / "boxes.py").write_bytes(patch["boxes.py"] or b"")
    return runpy.run_path(str(folder / "boxes.py"))


@pytest.mark.parametrize("instance", [an_instance("Box.size"), bug("slug"), smoke("depth", 3)])
@pytest.mark.parametrize("cheat", [c for c in cheats.CHEATS if c != "nothing"])
def test_every_cheat_is_a_patch_that_parses_and_is_seen(cheat: str, instance: Instance) -> None:
    patch = cheats.of(instance, cheat)
    for path, data in patch.items():
        if path.endswith(".py"):
            ast.parse(data or b"")
            compile(data or b"", path, "exec", dont_inherit=True)  # nothing stands before `from __future__`
    assert patch != instance.gold
    assert set(of_patch(instance, instance.tree.files(), {}, patch)) & {"cheat", "grader", "tests"}


def test_what_equals_everything_takes_the_place_of_the_function_at_fault(tmp_path: Path) -> None:
    method = run(tmp_path, cheats.of(an_instance("Box.size"), "always-equal"))
    assert method["Box"]().size() == "anything"
    assert method["outer"]() == 2
    nested = run(tmp_path, cheats.of(an_instance("outer.inner"), "always-equal"))
    assert nested["outer"]() == "anything"
    assert nested["Box"]().size() == 2


def test_tests_are_overwritten_where_they_would_be_looked_for() -> None:
    assert set(cheats.of(an_instance("outer"), "overwritten-tests")) == {"tests/test_boxes.py"}
    assert set(cheats.of(bug("slug"), "overwritten-tests")) == {"test_slug.py", "test_hidden_slug.py"}


def test_nothing_is_the_empty_patch_and_an_unknown_name_is_an_error() -> None:
    assert cheats.of(bug("slug"), "nothing") == {}
    with pytest.raises(KeyError):
        cheats.of(bug("slug"), "no-such-cheat")
