"""Instances: kept whole through JSON, and refused with the field named."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from agentgym.envs.swe.instance import BadInstance, Instance, Region, Value
from agentgym.envs.swe.tree import Files, TarFile
from agentgym.errors import UsageError


def example(**changed: Any) -> Instance:
    fields: dict[str, Any] = {
        "instance_id": "example-1",
        "source": "bugs",
        "statement": "`one()` should give 1.",
        "tree": Files({"one.py": b"def one():\n    return 2\n", "data/\u00e9.bin": b"\xff\x00"}),
        "tests": {"test_one.py": b"from one import one\n\n\ndef test_one():\n    assert one() == 1\n"},
        "fail_to_pass": ("test_one.py::test_one",),
        "pass_to_pass": (),
        "gold": {"one.py": b"def one():\n    return 1\n", "data/\u00e9.bin": None},
        "faulty": (Region("one.py", 2, 2, "one"),),
        "values": (Value("test_one.py::test_one", "one()", "1", setup="from one import one"),),
    }
    return Instance(**{**fields, **changed})


def test_through_json_and_back() -> None:
    instance = example()
    back = Instance.from_json(json.loads(json.dumps(instance.to_json())))
    assert back == instance
    assert back.digest == instance.digest
    assert back.tree.files() == instance.tree.files()
    assert back.by_values


def test_a_tar_file_is_read_and_its_digest_kept(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz") as archive:
        for name, data in (("a-1/one.py", b"x = 1\n"), ("a-1/.git/config", b"secret"), ("a-1/../up.py", b"")):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    tree = TarFile.of(tmp_path / "a.tar.gz", strip=1)
    assert dict(tree.files()) == {"one.py": b"x = 1\n"}
    assert tree.digest == Files({"one.py": b"x = 1\n"}).digest
    written = example(tree=tree).to_json()
    written["tree"]["tar"] = "a.tar.gz"
    assert dict(Instance.from_json(written, folder=tmp_path).tree.files()) == {"one.py": b"x = 1\n"}
    with pytest.raises(UsageError, match="other files"):
        TarFile(tmp_path / "a.tar.gz", "0" * 64, 1).files()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("instance_id", 3),
        ("source", "elsewhere"),
        ("statement", " "),
        ("tree", {"folder": "."}),
        ("tests", {"../test.py": ""}),
        ("tests", {"test_one.py": {"base64": "?"}}),
        ("fail_to_pass", []),
        ("fail_to_pass", ["test_two.py::test"]),
        ("fail_to_pass", "test_one.py::test_one"),
        ("gold", {".git/config": ""}),
        ("faulty", [{"path": "one.py", "first": 3, "last": 2}]),
        ("faulty", [{"path": "one.py", "first": "1", "last": 2}]),
        ("faulty", [{"path": "one.py"}]),
        ("seconds", -1),
        ("seconds", True),
        ("conftest", "no"),
        ("python_path", ["/usr"]),
        ("values", [{"test": "test_one.py::test_one", "call": "one(", "expected": "1"}]),
        ("values", [{"test": "test_one.py::test_one", "call": "one()", "expected": "object()"}]),
        ("values", [{"test": "test_one.py::test_one", "call": "one()"}]),
        ("split", "test"),
        ("surprise", 1),
    ],
)
def test_a_wrong_field_is_named(field: str, value: object) -> None:
    data = example().to_json() | {field: value}
    with pytest.raises(BadInstance, match=f"field '{field}"):
        Instance.from_json(data)


@pytest.mark.parametrize("field", ["instance_id", "tree", "gold", "faulty"])
def test_a_missing_field_is_named(field: str) -> None:
    data = example().to_json()
    del data[field]
    with pytest.raises(BadInstance, match=f"field '{field}': is missing"):
        Instance.from_json(data)


def test_groups_are_three_whatever_the_number_of_tests() -> None:
    tests = {"t.py": b""}
    few = example(tests=tests, fail_to_pass=("t.py::a",), values=())
    many = example(tests=tests, fail_to_pass=tuple(f"t.py::{k}" for k in "abcde"), values=())
    assert few.groups == (("t.py::a",),) * 3
    assert many.groups == (("t.py::a", "t.py::d"), ("t.py::b", "t.py::e"), ("t.py::c",))
