"""Bad input: one line on stderr that says what was expected, what came and what to do; exit code 2; nothing lost."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentgym.runs import Run
from tests.cli.conftest import DOORKEY, Call, Said

ROLL = ("rollout", "--env", DOORKEY, "--policy", "oracle", "--episodes", "2")


def refused(said: Said, *parts: str) -> None:
    """Exit code 2, nothing on stdout, one line without a traceback that has all of the parts."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("agentgym: ")
    assert "Traceback" not in said.err
    for part in parts:
        assert part in said.err


@pytest.mark.parametrize(
    ("words", "parts"),
    [
        (["nvs"], ["unknown command 'nvs'", "did you mean 'envs'"]),
        (["envs", "--famly", "grid"], ["--famly", "perhaps you meant --family", "agentgym envs --help"]),
        (["envs", "--family", "grud"], ["unknown family 'grud'", "did you mean 'grid'"]),
        (["envs", "--describe", "agentgym/Grid-DoorKye-5x5-v0"], ["did you mean", DOORKEY]),
        (["check", "agentgym/Grid-Nothing-v0"], ["unknown environment", "`agentgym envs` lists all"]),
        (["check"], ["--all"]),
        (["play"], ["STR", "agentgym play --help"]),
        (["play", DOORKEY, "--seed", "three"], ["--seed", "'three'", "expected --seed INT"]),
        (["play", DOORKEY, "--view", "smell"], ["'text'", "'smell'"]),
        (["play", DOORKEY, "--env-kwargs", "view"], ["KEY=VALUE", "'view'"]),
        (["play", DOORKEY, "--oracle", "--actions", "left"], ["--oracle and --actions"]),
        (["rollout", "--env", "agentgym/Nowhere-v0", "--policy", "oracle"], ["unknown environment"]),
        (["rollout", "--env", DOORKEY, "--policy", "orcle"], ["did you mean 'oracle'"]),
        (["rollout", "--env", DOORKEY], ["--policy"]),
        ([*ROLL, "--episodes", "0"], ["--episodes must be at least 1"]),
        ([*ROLL, "--seed", "-3"], ["--seed must be at least 0, got -3"]),
        ([*ROLL, "--env-kwargs", "bogus=1"], [DOORKEY, "unexpected keyword argument 'bogus'"]),
        (["play", DOORKEY, "--seed", "-1"], ["--seed must be at least 0, got -1"]),
        (["play", DOORKEY, "--env-kwargs", "bogus=1"], ["does not take", "'bogus'", "envs --describe"]),
        (["play", DOORKEY, "--env-kwargs", "max_steps=many"], ["does not take", "max_steps='many'"]),
        (["play", "CartPole-v1", "--actions", "0"], ["does not speak the process contract", "add_process"]),
        (["train", "--env", DOORKEY, "--env-kwargs", "bogus=1"], ["does not take bogus=1"]),
        (["train", "--env", DOORKEY, "--seed", "-4"], ["seed must not be negative, got -4"]),
        ([*ROLL, "--repeats", "0"], ["--repeats", "at least 1"]),
        ([*ROLL, "--resume"], ["--resume needs --out"]),
        (["eval", "--policy", "random"], ["--suite or --env", "eval --list"]),
        (["eval", "--policy", "random", "--suite", "quikc"], ["did you mean 'quick'"]),
        (["eval", "--policy", "random", "--suite", "gone.json"], ["cannot read the suite gone.json"]),
        (["train", "--recipe", "gigop"], ["unknown recipe 'gigop'", "did you mean 'gigpo'"]),
        (["train", "--lr", "fast"], ["--lr", "'fast'", "expected --lr FLOAT"]),
        (["train", "--clip", "7"], ["clip must lie in (0, 1)"]),
        (["train", "--config", "gone.toml"], ["cannot read settings from gone.toml"]),
        (["train", "--env", "agentgym/Nowhere-v0"], ["unknown environment"]),
        (["train", "--resume", "--out", "gone"], ["gone", "no such folder"]),
        (["compare", "gone", "gone"], ["no run at gone"]),
        (["report", "gone"], ["no run at gone"]),
        (["play", "gone_module:examples/X-v0"], ["'gone_module'", "neither installed nor in this folder"]),
        (["rollout", "--env", DOORKEY, "--policy", "gone_module:f"], ["'gone_module'", "cannot be found"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_be_is_refused_in_one_line(call: Call, tmp_path: Path, words: list[str], parts: list[str]) -> None:
    refused(call(*words), *parts)
    assert list(tmp_path.iterdir()) == [], "what was refused left something behind"


def test_an_action_that_cannot_be_one_is_refused_where_a_script_gave_it(call: Call) -> None:
    said = call("play", DOORKEY, "--view", "array", "--actions", "2,up")
    assert (said.code, said.err) == (2, "agentgym: an action here is a whole number of Discrete(7), got 'up'\n")


@pytest.mark.parametrize(
    "wrong",
    [
        ("--model", "./gone"),
        ("--demo-until", "tea_time"),
        ("--context", "all"),
        ("--env-kwargs", "view=array"),
        ("--test-episodes", "99"),
    ],
)
def test_training_that_cannot_begin_leaves_the_folder_free(call: Call, tmp_path: Path, wrong: tuple[str, str]) -> None:
    few = ("--demos", "1", "--test-episodes", "1", "--validation-episodes", "1")
    named = {"--env-kwargs": "its text view", "--test-episodes": "test_episodes=99 is too many"}
    said = call("train", "--env", DOORKEY, *few, "--out", "run", *wrong)
    refused(said, named.get(wrong[0], wrong[1].removeprefix("./")))
    assert not (tmp_path / "run").exists()


def test_settings_of_the_wrong_type_or_name_are_refused(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"updates": "many"}')
    refused(call("train", "--config", "a.json"), "'updates' must be int", "'many'")
    (tmp_path / "b.toml").write_text("updtes = 3")
    refused(call("train", "--config", "b.toml"), "unknown setting 'updtes'", "did you mean 'updates'")
    (tmp_path / "c.toml").write_text("updates = = 3")
    refused(call("train", "--config", "c.toml"), "c.toml is not valid TOML")


def test_a_suite_file_is_checked_before_anything_is_played(call: Call, tmp_path: Path) -> None:
    (tmp_path / "s.json").write_text(json.dumps({"items": [{"env": "agentgym/Nowhere-v0", "seeds": [0]}]}))
    refused(call("eval", "--policy", "random", "--suite", "s.json", "--out", "run"), "unknown environment")
    assert not (tmp_path / "run").exists()


# ---------------------------------------------------------------------- run folders


def spoil_foreign(run: Path) -> None:
    (run / "run.json").write_text('{"name": "of another program"}')


def spoil_corrupt(run: Path) -> None:
    (run / "run.json").write_bytes((run / "run.json").read_bytes()[:40])


def spoil_version(run: Path) -> None:
    head = json.loads((run / "run.json").read_text())
    head["format"]["run"] = 99
    (run / "run.json").write_text(json.dumps(head))


def spoil_missing(run: Path) -> None:
    (run / "run.json").unlink()


@pytest.mark.parametrize(
    ("spoil", "part"),
    [
        (spoil_foreign, "not a run of agentgym"),
        (spoil_corrupt, "missing or damaged"),
        (spoil_version, "run format 99, this agentgym reads format"),
        (spoil_missing, "it has no run.json"),
    ],
)
def test_a_run_that_cannot_be_read_says_why_and_is_left_alone(
    call: Call, tmp_path: Path, spoil: Callable[[Path], None], part: str
) -> None:
    assert call(*ROLL, "--out", "run").code == 0
    run = tmp_path / "run"
    spoil(run)
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    refused(call("compare", "run", "run"), part)
    refused(call("report", "run"), part)
    if spoil is not spoil_missing:
        refused(call(*ROLL, "--out", "run", "--resume"), part)
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_a_damaged_shard_is_named(call: Call, tmp_path: Path) -> None:
    assert call(*ROLL, "--out", "run").code == 0
    (shard,) = (tmp_path / "run" / "shards").glob("*/steps.parquet")
    shard.write_bytes(shard.read_bytes()[:100])
    refused(call("compare", "run", "run"), "steps.parquet")


def test_a_run_is_never_overwritten(call: Call, tmp_path: Path) -> None:
    assert call(*ROLL, "--out", "run").code == 0
    refused(call(*ROLL, "--out", "run"), "holds a run already", "--resume")
    refused(call(*ROLL, "--out", "run", "--resume", "--seed", "1"), "begun with another config", "seed")
    refused(call("train", "--out", "run"), "holds a run already", "--resume")
    refused(call("train", "--out", "run", "--resume"), "kind 'rollout'")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    refused(call(*ROLL, "--out", "full"), "not empty", "thesis.tex")


def test_no_write_permission(call: Call, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        # Permissions do not bind root; a file where a folder must be does.
        (tmp_path / "locked").write_text("")
    else:
        (tmp_path / "locked").mkdir(mode=0o500)
    refused(call(*ROLL, "--out", "locked/run"), "locked/run", "permissions")


def test_runs_without_a_common_task_are_not_compared(call: Call) -> None:
    assert call(*ROLL, "--out", "a").code == 0
    assert call(*ROLL, "--first-seed", "7", "--out", "b").code == 0
    refused(call("compare", "a", "b"), "share no (environment, task, seed)")
    refused(call("compare", "a", "b", "--where", "phase=dreams"), "no episodes with phase=dreams")


# ---------------------------------------------------------------------- policies


@pytest.fixture
def server() -> Iterator[Callable[[int, bytes], str]]:
    """`server(status, body)`: address of an endpoint that answers so to everything."""
    running: list[http.server.HTTPServer] = []

    def start(status: int, body: bytes) -> str:
        class Answer(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """Not on stderr, which the test reads."""

        running.append(http.server.HTTPServer(("127.0.0.1", 0), Answer))
        threading.Thread(target=running[-1].serve_forever, daemon=True).start()
        return f"endpoint:http://127.0.0.1:{running[-1].server_port}/v1#m"

    yield start
    for one in running:
        one.shutdown()
        one.server_close()


@pytest.mark.parametrize(
    ("status", "body", "parts"),
    [
        (200, b"<html>welcome</html>", ["expected a chat completion", "<html>welcome"]),
        (200, b'{"choices": []}', ["expected a chat completion", "OpenAI-compatible"]),
        (429, b"slow down", ["no answer in 2 tries", "status 429", "slow down"]),
        (401, b"who are you", ["refused the request", "status 401"]),
    ],
)
def test_an_endpoint_that_answers_nonsense_or_refuses(
    call: Call, server: Callable[[int, bytes], str], status: int, body: bytes, parts: list[str]
) -> None:
    words = ("rollout", "--env", DOORKEY, "--env-kwargs", "view=text", "--episodes", "1")
    refused(call(*words, "--policy", server(status, body), "--policy-options", "retries=1", "backoff=0"), *parts)


def test_what_was_played_before_an_endpoint_died_is_kept(call: Call, tmp_path: Path) -> None:
    """Three answers, then garbage: the two episodes that had ended are stored, and --resume plays the rest alone."""
    answers = 0

    class Dying(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            nonlocal answers
            answers += 1
            self.rfile.read(int(self.headers["Content-Length"]))
            said = {"choices": [{"message": {"role": "assistant", "content": "left"}, "finish_reason": "stop"}]}
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(said).encode() if answers != 3 else b"<html>out of order</html>")

        def log_message(self, *args: object) -> None:
            """Not on stderr, which the test reads."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Dying)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        words = ("rollout", "--env", DOORKEY, "--env-kwargs", "view=text", "max_steps=1", "--episodes", "4")
        more = ("--policy", f"endpoint:http://127.0.0.1:{server.server_port}/v1#m", "--slots", "1", "--out", "run")
        refused(call(*words, *more), "expected a chat completion", "out of order")
        assert Run.open(tmp_path / "run").steps().trajectories.id.tolist() == [0, 1]
        assert call(*words, *more, "--resume").code == 0
        assert Run.open(tmp_path / "run").steps().trajectories.id.tolist() == [0, 1, 2, 3]
        assert answers == 5, "what was stored is not asked again"
    finally:
        server.shutdown()
        server.server_close()


def test_an_endpoint_that_is_not_there(call: Call) -> None:
    words = ("rollout", "--env", DOORKEY, "--env-kwargs", "view=text", "--episodes", "1")
    refused(
        call(*words, "--policy", "endpoint:http://127.0.0.1:9/v1#m", "--policy-options", "retries=0"), "127.0.0.1:9"
    )
    refused(call(*words, "--policy", "endpoint:nowhere"), "expected endpoint:URL#MODEL")


def test_a_model_folder_without_weights_or_tokenizer(call: Call, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    (tmp_path / "model").mkdir()
    refused(call(*ROLL[:3], "--env-kwargs", "view=text", "--policy", "./model"), "model")
    (tmp_path / "model" / "config.json").write_text('{"model_type": "llama"}')
    refused(call(*ROLL[:3], "--env-kwargs", "view=text", "--policy", "./model"), "model")


def test_a_missing_extra_is_answered_with_the_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pyarrow" else find(name))
    refused(call(*ROLL, "--out", "run"), "'pyarrow'", 'pip install -e ".[train]"')
    assert call(*ROLL).code == 0, "without a run folder nothing needs it"
