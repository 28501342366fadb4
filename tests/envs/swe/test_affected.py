"""A change reaches the tests that mention it, over any number of files between, and no others."""

from __future__ import annotations

import pytest

from agentgym.envs.swe.affected import affected
from agentgym.envs.swe.instance import Instance, Region
from agentgym.envs.swe.tree import Files

INSTANCE = Instance(
    instance_id="affected",
    source="release",
    statement="x",
    tree=Files(
        {
            "pack/__init__.py": b"from pack.top import run\n",
            "pack/top.py": b"from . import low\n",
            "pack/low.py": b"X = 1\n",
            "alone.py": b"Y = 1\n",
            "data.txt": b"",
        }
    ),
    tests={
        "test_pack.py": b"import pack\n",
        "test_alone.py": b"from alone import Y\n",
        "test_other.py": b"from helper import both\n",
        "helper.py": b"import alone\n",
    },
    fail_to_pass=("test_pack.py::test_a",),
    pass_to_pass=("test_alone.py::test_b", "test_other.py::test_c"),
    gold={"pack/low.py": b"X = 2\n"},
    faulty=(Region("pack/low.py", 1, 1),),
)


@pytest.mark.parametrize(
    ("changed", "letters"),
    [
        (["pack/low.py"], "a"),
        (["alone.py"], "bc"),
        (["alone.py", "pack/top.py"], "abc"),
        (["data.txt"], "abc"),
        (["new.py"], ""),
    ],
)
def test_what_a_change_reaches(changed: list[str], letters: str) -> None:
    assert "".join(i[-1] for i in affected(INSTANCE, changed)) == letters
