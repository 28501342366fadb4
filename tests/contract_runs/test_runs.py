"""A run folder gives back exactly what was put into it, and refuses what it cannot keep."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import RunError, UsageError
from agentgym.runs import RUN_VERSION, Run
from agentgym.steps import STEP_COLUMNS, TRAJECTORY_COLUMNS, StepTable, TrajectoryTable
from agentgym.tokens import TokenTable, TokenWriter


def episodes(*ids: int, length: int = 2, **extras: Any) -> StepTable:
    """A table of short episodes with the given trajectory numbers."""
    trajectory = np.repeat(np.array(ids, dtype=np.int64), length)
    return StepTable.from_columns(trajectory=trajectory, extras=extras, outcome=np.arange(len(ids), dtype=float))


def same_columns(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> None:
    """Equal names, dtypes, shapes and values, where None, NaN, 1, 1.0 and True are five different things."""
    assert list(a) == list(b)
    for name in a:
        assert a[name].dtype == b[name].dtype, name
        assert a[name].shape == b[name].shape, name
        if a[name].dtype == object:
            assert [(type(v), repr(v)) for v in a[name]] == [(type(v), repr(v)) for v in b[name]], name
        else:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def same_steps(a: StepTable, b: StepTable) -> None:
    same_columns(a.columns(), b.columns())
    same_columns(a.trajectories.columns(), b.trajectories.columns())
    same_columns(a.extras, b.extras)


# ---------------------------------------------------------------------- round trip

numbers = {
    "int64": st.integers(-(2**63), 2**63 - 1),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "float64": st.floats(allow_nan=False, allow_infinity=False),
    "bool": st.booleans(),
    "object": st.text(max_size=20) | st.text(st.characters(categories=["Cs"]), max_size=2),
}
anything = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.binary(max_size=20)
) | st.text(st.characters(categories=["Cs"]), max_size=3)  # lone surrogates: a model may emit them


@st.composite
def tables(draw: st.DrawFn) -> tuple[StepTable, TokenTable]:
    """Any StepTable (broken episodes without steps too) and tokens for some of its steps."""
    lengths = draw(st.lists(st.integers(0, 3), max_size=4))
    ids = np.array(sorted(draw(st.sets(st.integers(0, 2**62), min_size=len(lengths), max_size=len(lengths)))), "int64")
    n = sum(lengths)

    def column(dtype: str, size: int) -> np.ndarray:
        values = np.empty(size, dtype=dtype)
        values[:] = draw(st.lists(numbers[dtype], min_size=size, max_size=size))
        return values

    fixed = ("trajectory", "group", "t", "agent")
    columns = {name: column(dtype, n) for name, (dtype, _) in STEP_COLUMNS.items() if name not in fixed}
    heads = {name: column(dtype, len(ids)) for name, (dtype, _) in TRAJECTORY_COLUMNS.items() if name != "id"}
    kinds = st.sampled_from(["object", "mixed", "<f4", "<i2", "image"])
    extras: dict[str, np.ndarray] = {}
    for name, kind in draw(st.dictionaries(st.text(max_size=8).map("x".__add__), kinds, max_size=3)).items():
        if kind == "image":
            extras[name] = np.arange(n * 6, dtype=np.uint8).reshape(n, 2, 3)
        elif kind in ("object", "mixed"):
            extras[name] = np.empty(n, dtype=object)
            one = draw(st.sampled_from([st.text(), st.floats(), st.booleans(), st.binary(), st.none()]))
            extras[name][:] = draw(st.lists(anything if kind == "mixed" else one | st.none(), min_size=n, max_size=n))
        else:
            extras[name] = np.arange(n, dtype=kind)
    steps = StepTable.from_columns(
        trajectory=np.repeat(ids, lengths),
        trajectories=TrajectoryTable.from_columns(id=ids, **heads),
        extras=extras,
        **columns,
    )
    writer, token = TokenWriter(), st.integers(0, 2**40)
    candidates = st.none() | st.lists(st.lists(token, max_size=2).map(tuple), min_size=1, max_size=3).map(tuple)
    for k, length in zip(ids.tolist(), lengths, strict=True):
        for t in range(length if draw(st.booleans()) else 0):
            action = np.array(draw(st.lists(token, max_size=3)), dtype=np.int64)
            writer.add(
                k,
                t,
                segment=t // 2,
                prompt=np.array(draw(st.lists(token, max_size=3)), dtype=np.int64),
                action=action,
                logprob=-np.arange(len(action), dtype=float),
                logprob_behaviour=np.full(len(action), -0.5),
                candidates=draw(candidates),
                chosen=0,
                weights_version=t,
            )
    return steps, writer.table()


@given(content=tables())
def test_what_is_read_is_what_was_written(tmp_path_factory: pytest.TempPathFactory, content: Any) -> None:
    steps, tokens = content
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", "rollout", {})
    run.append(steps, tokens)
    again = Run.open(run.path)
    if len(steps.trajectories):
        same_steps(again.steps(), steps)
    assert again.finished == set(steps.trajectories.id.tolist())
    if len(tokens):
        same_columns(again.tokens().arrays(), tokens.arrays())
        assert again.tokens().candidate_sets == tokens.candidate_sets
    assert not list(run.path.rglob("shards/.*")), "nothing half-made stays"


def test_appends_are_found_by_their_tags(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    run.append(episodes(0, 1), phase="train", update=0)
    run.append(episodes(2), phase="test", update=0)
    run.append(episodes(3, text=["a", "b"]), phase="test", update=1)
    assert run.steps({"phase": "test"}).trajectories.id.tolist() == [2, 3]
    assert run.steps(where={"phase": "test", "update": 1}).extras["text"].tolist() == ["a", "b"]
    assert len(run.steps(where={"phase": "holdout"})) == 0
    assert [s.tags["phase"] for s in run.shards] == ["train", "test", "test"]
    assert run.finished == {0, 1, 2, 3}


def test_rollouts_bring_their_own_tokens(run_folder: Path) -> None:
    run = Run.create(run_folder, "rollout", {})
    writer = TokenWriter()
    one = np.array([7], dtype=np.int64)
    writer.add(0, 0, segment=0, prompt=one, action=one, logprob=-one * 0.5, logprob_behaviour=-one * 0.5)
    run.append(SimpleNamespace(steps=episodes(0), tokens=writer.table()))
    assert run.tokens().id.tolist() == [7, 7]
    with pytest.raises(UsageError, match="their own tokens"):
        run.append(SimpleNamespace(steps=episodes(1), tokens=writer.table()), writer.table())


def test_an_empty_append_leaves_no_shard(run_folder: Path) -> None:
    run = Run.create(run_folder, "rollout", {})
    run.append(StepTable.empty(), phase="train")
    assert run.shards == ()


def test_a_trajectory_is_stored_once(run_folder: Path) -> None:
    run = Run.create(run_folder, "rollout", {})
    run.append(episodes(0, 5))
    with pytest.raises(UsageError, match="trajectory 5 is in the run already"):
        run.append(episodes(5, 6))
    assert run.finished == {0, 5}


@pytest.mark.parametrize("value", [[1, 2], {"a": 1}, object(), 1j])
def test_an_extra_that_cannot_be_stored_is_refused_and_leaves_nothing(run_folder: Path, value: Any) -> None:
    run = Run.create(run_folder, "rollout", {})
    column = np.empty(2, dtype=object)
    column[:] = [value, None]
    with pytest.raises(UsageError, match=r"extra 'extra:odd'|extra 'odd'"):
        run.append(episodes(0, odd=column))
    assert run.shards == ()
    run.append(episodes(0))
    assert run.finished == {0}


# ---------------------------------------------------------------------- metrics, summary, blobs


def test_metrics_keep_their_order_and_are_valid_json(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    run.log(update=0, success=np.float64(0.25), loss=float("nan"), n=np.int64(3), ok=np.bool_(True))
    run.log(update=1, success=0.5, note="</script>\n")
    assert Run.open(run_folder).metrics() == [
        {"update": 0, "success": 0.25, "loss": None, "n": 3, "ok": True},
        {"update": 1, "success": 0.5, "note": "</script>\n"},
    ]


def test_a_metrics_line_cut_off_is_ignored_and_then_removed(run_folder: Path) -> None:
    Run.create(run_folder, "train", {}).log(update=0)
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"update": 1, "succ')
    run = Run.open(run_folder)
    assert run.metrics() == [{"update": 0}]
    run.log(update=1)
    assert run.metrics() == [{"update": 0}, {"update": 1}]


def test_a_damaged_metrics_line_is_named(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    (run_folder / "metrics.jsonl").write_text('{"a": 1}\n{"a": \n{"a": 3}\n')
    with pytest.raises(RunError, match=r"line 2 is not a JSON object"):
        run.metrics()


def test_summary_is_replaced_as_a_whole(run_folder: Path) -> None:
    run = Run.create(run_folder, "train", {})
    assert run.summary() == {}
    run.write_summary({"success": np.float32(0.5), "by_env": {"a": np.arange(2)}})
    run.write_summary({"success": float("inf")})
    assert Run.open(run_folder).summary() == {"success": None}


def test_blobs_are_stored_once_by_content(run_folder: Path) -> None:
    run = Run.create(run_folder, "rollout", {})
    assert run.put_blob(b"picture") == run.put_blob(b"picture")
    (file,) = (run_folder / "blobs").rglob("*/*")
    sha = run.put_blob(b"picture")
    assert file.name == sha
    assert Run.open(run_folder).blob(sha) == b"picture"
    file.write_bytes(b"tampered")
    with pytest.raises(RunError, match="damaged"):
        run.blob(sha)


@pytest.mark.parametrize("sha", ["", "../../run.json", "A" * 64, "0" * 63])
def test_a_blob_name_is_a_hash_and_nothing_else(run_folder: Path, sha: str) -> None:
    with pytest.raises(RunError, match="SHA-256"):
        Run.create(run_folder, "rollout", {}).blob(sha)


def test_a_missing_blob_is_said(run_folder: Path) -> None:
    with pytest.raises(RunError, match="has no blob"):
        Run.create(run_folder, "rollout", {}).blob("0" * 64)


def test_a_trainer_goes_back_to_its_checkpoint(run_folder: Path) -> None:
    """Episodes and lines after it are dropped, so that the same numbers can be given out again."""
    run = Run.create(run_folder, "train", {})
    for update in range(4):
        run.append(episodes(update), arm="gigpo", update=update)
        run.log(arm="gigpo", update=update)
    run.append(episodes(9), arm="grpo", update=3)
    run.keep_shards(lambda tags: tags["arm"] != "gigpo" or int(tags["update"]) < 2)
    run.keep_metrics(lambda line: line["update"] < 2)
    for again in (run, Run.open(run_folder)):
        assert again.finished == {0, 1, 9}
        assert [line["update"] for line in again.metrics()] == [0, 1]
    run.append(episodes(2), arm="gigpo", update=2)
    assert run.finished == {0, 1, 2, 9}
    assert run.steps({"arm": "grpo"}).trajectories.id.tolist() == [9]


# ---------------------------------------------------------------------- what is in run.json


def test_the_head_says_what_made_it_and_keeps_secrets_and_paths_to_itself(run_folder: Path) -> None:
    config = {
        "model": Path("/srv/models/tiny"),
        "endpoint": {"base_url": "http://user:hunter2@server:8000/v1", "api_key": "hunter2", "max_tokens": 64},
        "hf_token": "hunter2",
        "suite": "~/suites/mine.json",
        "layers": [np.int64(1), 2.5, None],
    }
    Run.create(run_folder, "eval", config)
    text = (run_folder / "run.json").read_text()
    assert "hunter2" not in text
    assert "/srv" not in text
    assert str(run_folder.parent) not in text
    run = Run.open(run_folder)
    assert run.kind == "eval"
    assert run.config == {
        "model": "tiny",
        "endpoint": {"base_url": "http://server:8000/v1", "api_key": "(not stored)", "max_tokens": 64},
        "hf_token": "(not stored)",
        "suite": "mine.json",
        "layers": [1, 2.5, None],
    }
    assert {"python", "agentgym", "numpy", "pyarrow"} <= run.packages.keys()
    assert run.created.endswith("+00:00")


def test_exist_ok_opens_the_same_run_and_refuses_another(run_folder: Path) -> None:
    Run.create(run_folder, "eval", {"suite": "grid", "seed": 1}).append(episodes(0))
    assert Run.create(run_folder, "eval", {"suite": "grid", "seed": 1}, exist_ok=True).finished == {0}
    with pytest.raises(RunError, match="holds a run already"):
        Run.create(run_folder, "eval", {"suite": "grid", "seed": 1})
    with pytest.raises(RunError, match=r"another config \(differs in seed\)"):
        Run.create(run_folder, "eval", {"suite": "grid", "seed": 2}, exist_ok=True)
    with pytest.raises(RunError, match="kind 'eval', expected 'train'"):
        Run.create(run_folder, "train", {"suite": "grid", "seed": 1}, exist_ok=True)


# ---------------------------------------------------------------------- refusals


def test_a_folder_with_other_things_is_left_alone(run_folder: Path) -> None:
    run_folder.mkdir()
    (run_folder / "thesis.tex").write_text("words")
    with pytest.raises(RunError, match=r"not empty and holds no run \(it has 'thesis.tex'\)"):
        Run.create(run_folder, "eval", {}, exist_ok=True)
    with pytest.raises(RunError, match=r"is not a run: it has no run.json"):
        Run.open(run_folder)
    assert [p.name for p in run_folder.iterdir()] == ["thesis.tex"]


def test_no_folder(run_folder: Path) -> None:
    with pytest.raises(RunError, match="no such folder"):
        Run.open(run_folder)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"name": "a web app"}', '{"format": 1}'])
def test_a_foreign_or_damaged_head(run_folder: Path, text: str) -> None:
    run_folder.mkdir()
    (run_folder / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"not a run of agentgym|damaged"):
        Run.open(run_folder)


@pytest.mark.parametrize("part", ["run", "steps"])
def test_another_format_version_names_both(run_folder: Path, part: str) -> None:
    Run.create(run_folder, "eval", {})
    head = json.loads((run_folder / "run.json").read_text())
    head["format"][part] = 99
    (run_folder / "run.json").write_text(json.dumps(head))
    with pytest.raises(RunError, match=rf"{part} format 99, this agentgym reads format {RUN_VERSION}"):
        Run.open(run_folder)


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    """The refusals of the operating system that bind root too."""
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(RunError, match="check that path and its permissions"):
            Run.create(path, "eval", {})
    run = Run.create(tmp_path / "run", "eval", {})
    for name in ("shards", "blobs", "checkpoints"):
        (run.path / name).write_text("")
    (run.path / "metrics.jsonl").mkdir()
    for call in (
        lambda: run.append(episodes(0)),
        lambda: run.put_blob(b""),
        lambda: run.checkpoints,
        lambda: run.log(a=1),
        lambda: run.metrics(),
    ):
        with pytest.raises(RunError, match="check that path and its permissions"):
            call()


def test_a_place_that_takes_no_files() -> None:
    with pytest.raises(RunError, match="cannot make /proc/run"):
        Run.create("/proc/run", "eval", {})


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_no_permission_to_write(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    run.append(episodes(0))
    (run_folder / "shards").chmod(0o500)
    with pytest.raises(RunError, match="check that path and its permissions"):
        run.append(episodes(1))
    (run_folder / "shards").chmod(0o700)


def test_a_damaged_shard_is_named(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    run.append(episodes(0, text=["some text"] * 2))
    file = run_folder / "shards" / "000001" / "steps.parquet"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(RunError, match=r"000001/steps.parquet is damaged"):
        run.steps()
    file.unlink()
    with pytest.raises(RunError, match=r"000001/steps.parquet is missing"):
        run.steps()
    (run_folder / "shards" / "000001" / "shard.json").write_text("{}")
    with pytest.raises(RunError, match=r"shard.json is damaged"):
        Run.open(run_folder).steps()


@settings(max_examples=30)
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_a_flipped_bit_is_noticed(tmp_path_factory: pytest.TempPathFactory, where: float, bit: int) -> None:
    run = Run.create(tmp_path_factory.mktemp("runs") / "run", "eval", {})
    run.append(episodes(0, 1))
    file = run.path / "shards" / "000001" / "steps.parquet"
    data = bytearray(file.read_bytes())
    data[int(where * len(data))] ^= 1 << bit
    file.write_bytes(data)
    with pytest.raises(RunError, match=r"000001/steps.parquet is damaged"):
        run.steps()


def test_one_writer_at_a_time(run_folder: Path) -> None:
    run = Run.create(run_folder, "eval", {})
    run.append(episodes(0))
    code = (
        "import sys\nfrom agentgym.errors import RunError\nfrom agentgym.runs import Run\n"
        "run = Run.open(sys.argv[1])\nassert run.finished == {0}\n"
        "try:\n    run.log(a=1)\nexcept RunError as error:\n    print(error)\n"
    )
    other = subprocess.run([sys.executable, "-c", code, str(run_folder)], capture_output=True, text=True)
    assert other.returncode == 0, (other.returncode, other.stdout, other.stderr)
    assert "is being written by another process" in other.stdout
    assert run.metrics() == []
