"""Instances in SWE-bench's form: from every kind of file and tree, and with the wrong field named."""

from __future__ import annotations

import difflib
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from agentgym.cli import main
from agentgym.envs.swe.grading import Grader
from agentgym.envs.swe.instance import BadInstance, Instance, Region
from agentgym.envs.swe.sources.swebench import Places, instance_of, load, read_rows
from agentgym.errors import UsageError
from tests.envs.swe.sources.archives import NEW, OLD, archive

Row = dict[str, Any]


def _diff(path: str) -> str:
    before, after = (files[path].decode().splitlines() for files in (OLD, NEW))
    return "\n".join(difflib.unified_diff(before, after, f"a/{path}", f"b/{path}", lineterm="")) + "\n"


@pytest.fixture
def mirrors(tmp_path: Path) -> Path:
    """A folder with the git repository of one project."""
    repo = tmp_path / "mirrors" / "someone__tally"
    for path, data in OLD.items():
        (repo / path).parent.mkdir(parents=True, exist_ok=True)
        (repo / path).write_bytes(data)
    name = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "one"]):
        subprocess.run(["git", *name, "-C", str(repo), *words], check=True)
    return repo.parent


@pytest.fixture
def row(mirrors: Path) -> Row:
    words = ["git", "-C", str(mirrors / "someone__tally"), "rev-parse", "HEAD"]
    commit = subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()
    return {
        "instance_id": "someone__tally-7",
        "repo": "someone/tally",
        "base_commit": commit,
        "patch": _diff("tally/__init__.py"),
        "test_patch": _diff("tests/test_total.py"),
        "problem_statement": "`total` leaves negative numbers out.",
        "FAIL_TO_PASS": json.dumps(["tests/test_total.py::test_negative"]),
        "PASS_TO_PASS": ["tests/test_total.py::test_total"],
        "version": "1.0",
        "environment_setup_commit": commit,
        "hints_text": "",
        "created_at": "2026-01-01T00:00:00Z",
    }


def test_an_instance_comes_from_a_mirror(row: Row, mirrors: Path, cached: Path) -> None:
    made = instance_of(row, Places(mirrors))
    assert made.tree.files() == OLD
    assert made.fail_to_pass == ("tests/test_total.py::test_negative",)
    assert made.gold == {"tally/__init__.py": NEW["tally/__init__.py"]}
    assert made.tests == {"tests/test_total.py": NEW["tests/test_total.py"]}
    assert made.faulty[-1] == Region("tally/__init__.py", 9, 10, "total")
    assert made.statement == row["problem_statement"]


def test_the_repair_solves_it_and_nothing_does_not(row: Row, mirrors: Path, cached: Path, sandboxes: None) -> None:
    made = instance_of(row, Places(mirrors))
    grader = Grader()
    try:
        assert grader.grade(made, made.gold).solved(made)
        assert not grader.grade(made, {}).solved(made)
    finally:
        grader.close()


def test_an_instance_comes_from_a_source_distribution(row: Row, cached: Path) -> None:
    archive(cached, "tally", "1.0", OLD)
    assert instance_of(row, Places(sdists=True)).tree.files() == dict(sorted(OLD.items()))
    archive(cached, "tally", "2.0", NEW)
    with pytest.raises(BadInstance, match="is this the tree at base_commit"):
        instance_of(row | {"version": "2.0"}, Places(sdists=True))


def test_an_instance_comes_from_a_prebuilt_image(row: Row, sandboxes: None, tmp_path: Path) -> None:
    from agentgym.containers import docker

    folder = tmp_path / "context"
    for path, data in OLD.items():
        (folder / "tree" / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / "tree" / path).write_bytes(data)
    (folder / "Dockerfile").write_text("FROM agentgym/swe\nCOPY --chown=1000 tree /agentgym-seed\n")
    image = "agentgym/test-instance"
    list(docker.client().build(path=str(folder), tag=f"{image}-someone__tally-7", decode=True, rm=True))
    try:
        made = instance_of(row | {"base_commit": None}, Places(image=image + "-{instance_id}"))
        assert made.seed == "/agentgym-seed"
        assert made.workdir == "/testbed"
        assert made.gold == {"tally/__init__.py": NEW["tally/__init__.py"]}
        assert made.tests == {"tests/test_total.py": NEW["tests/test_total.py"]}
        grader = Grader()
        try:
            assert grader.grade(made, made.gold, OLD).solved(made)
            assert not grader.grade(made, {}, OLD).solved(made)
        finally:
            grader.close()
    finally:
        docker.client().remove_image(f"{image}-someone__tally-7", force=True)


@pytest.mark.parametrize("ending", ["json", "jsonl", "parquet"])
def test_all_kinds_of_files_are_read(row: Row, mirrors: Path, cached: Path, tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        import pyarrow
        from pyarrow import parquet

        parquet.write_table(pyarrow.Table.from_pylist([row, row]), path)
    else:
        path.write_text(json.dumps([row, row]) if ending == "json" else f"{json.dumps(row)}\n\n{json.dumps(row)}\n")
    assert [each.instance_id for each in load(path, Places(mirrors))] == [row["instance_id"]] * 2


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"repo": None}, "repo", "is missing"),
        ({"repo": "../etc"}, "repo", "OWNER/NAME|cannot be had"),
        ({"repo": 5}, "repo", "expected a text"),
        ({"repo": "someone/else"}, "repo", "cannot be had"),
        ({"base_commit": None}, "base_commit", "is missing"),
        ({"base_commit": "--output=/tmp/x"}, "base_commit", "hexadecimal"),
        ({"base_commit": "0" * 40}, "base_commit", "no commit"),
        ({"patch": ""}, "patch", "unified diff"),
        ({"patch": "--- a/../x\n+++ b/../x\n@@ -1 +1 @@\n-a\n+b\n"}, "patch", "does not stay inside"),
        ({"patch": "--- a/tally/no.py\n+++ b/tally/no.py\n@@ -1 +1 @@\n-a\n+b\n"}, "patch", "not there"),
        ({"test_patch": None}, "test_patch", "is missing"),
        ({"problem_statement": None}, "problem_statement", "is missing"),
        ({"FAIL_TO_PASS": "not json"}, "FAIL_TO_PASS", "JSON text"),
        ({"FAIL_TO_PASS": {"a": 1}}, "FAIL_TO_PASS", "expected a list"),
        ({"FAIL_TO_PASS": []}, "fail_to_pass", "is empty"),
        ({"FAIL_TO_PASS": ["test_x (tests.T)"]}, "FAIL_TO_PASS", "not an id of pytest's"),
        ({"PASS_TO_PASS": ["tests/test_no.py::test_x"]}, "PASS_TO_PASS", "in no file"),
        ({"PASS_TO_PASS": ["../x.py::test_x"]}, "PASS_TO_PASS", "not an id of pytest's"),
    ],
)
def test_a_malformed_instance_names_the_field(
    row: Row, mirrors: Path, cached: Path, change: Row, field: str, words: str
) -> None:
    with pytest.raises(BadInstance, match=words) as caught:
        instance_of(row | change, Places(mirrors))
    assert caught.value.field == field


def test_the_names_of_r2e_are_known(row: Row, mirrors: Path, cached: Path) -> None:
    other = {k: v for k, v in row.items() if k not in ("repo", "instance_id")} | {
        "repo_name": "tally",
        "commit_hash": "ab",
    }
    (mirrors / "someone__tally").rename(mirrors / "tally")
    assert instance_of(other, Places(mirrors)).instance_id == "tally-ab-" + row["base_commit"]


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    for name, text in (("a.json", "{"), ("b.jsonl", "{}\n["), ("c.parquet", "PAR1"), ("d.json", "[1]")):
        (tmp_path / name).write_text(text)
        with pytest.raises(UsageError, match=name):
            read_rows(tmp_path / name)
    with pytest.raises(UsageError, match="not there"):
        read_rows(tmp_path / "e.json")


def test_the_command_writes_ours_and_names_what_is_malformed(
    row: Row, mirrors: Path, cached: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "rows.jsonl", tmp_path / "ours.jsonl"
    bad = row | {"instance_id": "bad", "patch": "nothing"}
    rows.write_text(f"{json.dumps(row)}\n{json.dumps(bad)}\n")
    words = ["swe", "load", str(rows), "--mirrors", str(mirrors), "--out", str(out), "--json"]
    assert main(words) == 1
    said = capsys.readouterr()
    assert json.loads(said.out) == {"what": str(out), "instances": 1, "malformed": 1}
    assert "'bad', field 'patch'" in said.err
    (line,) = out.read_text().splitlines()
    assert Instance.from_json(json.loads(line)).digest == instance_of(row, Places(mirrors)).digest
    rows.write_text(json.dumps(bad))
    assert main(words) == 2
    assert main(["swe", "load", str(rows)]) == 2
    assert main(["swe", "load", str(tmp_path / "none.json"), "--out", str(out)]) == 2
