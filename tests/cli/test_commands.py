"""Every command does what its help says, for people and, by --json, for programs."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import agentgym
from agentgym.cli import COMMANDS, main
from agentgym.cli._parse import parse
from tests.cli.conftest import DOORKEY, Call
from tests.house.checkout import ROOT

TINY = (
    *("--env", DOORKEY, "--updates", "1", "--demos", "4", "--demo-epochs", "1", "--groups", "2", "--group-size", "2"),
    *("--test-episodes", "4", "--validation-episodes", "2", "--hidden", "16", "--heads", "2"),
)


# ---------------------------------------------------------------------- help and exit codes


def test_help_lists_every_command_and_what_exit_codes_mean(process: Call) -> None:
    said = process("--help")
    assert said.code == 0
    assert said.err == ""
    assert all(f"  {name} " in said.out for name in COMMANDS)
    assert "exit codes:" in said.out
    nothing = process()
    assert (nothing.code, nothing.out) == (2, said.out), "a command is missing: the same help, but not a success"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_an_example_that_parses(call: Call, command: str) -> None:
    said = call(command, "--help")
    assert said.code == 0
    examples = re.findall(rf"^  agentgym {command}\b(.*)$", said.out, re.MULTILINE)
    assert "Example:" in said.out
    assert examples
    module = importlib.import_module(f"agentgym.cli._{command}")
    for example in examples:
        if command != "train":  # its options are made when it runs; test_train… covers them
            parse(module.Command, command, shlex.split(example))


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from agentgym.cli import main; main(['--help']); "
        "print(sorted({'torch', 'transformers', 'minigrid', 'pyarrow', 'rich', 'tyro'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_version(call: Call) -> None:
    assert call("--version").out.strip() == f"agentgym {agentgym.__version__}"


def test_refusal_and_failure_and_success_differ_by_exit_code(process: Call) -> None:
    assert process("envs", "doorkey").code == 0
    assert process("envs", "no such words").code == 1
    assert process("envs", "--family", "grud").code == 2


def test_debug_shows_the_traceback(process: Call) -> None:
    said = process("--debug", "envs", "--family", "grud")
    assert said.code == 1
    assert "Traceback" in said.err
    assert "UnknownName" in said.err


def test_an_unexpected_error_is_one_line_with_advice(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(family: str | None = None) -> None:
        raise ZeroDivisionError("a bug of ours")

    monkeypatch.setattr(agentgym, "catalogue", broken)
    said = call("envs")
    assert said.code == 1
    assert said.err == ("agentgym: unexpected ZeroDivisionError: a bug of ours; run again with --debug to see where\n")


def test_ctrl_c_leaves_with_130_and_one_line(tmp_path: Path) -> None:
    words = ["play", DOORKEY]
    running = subprocess.Popen(
        [sys.executable, "-m", "agentgym", *words],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write("left\n")
    running.stdin.flush()
    until = time.monotonic() + 60
    for line in running.stdout:  # it is now inside the loop, waiting for the next action
        if line.startswith("1. left") or time.monotonic() > until:
            break
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err == "agentgym: interrupted\n"


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m agentgym envs --json | head -c 1; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.returncode in (0, 141)
    assert done.stderr == ""


# ---------------------------------------------------------------------- envs, check, doctor


def test_envs_lists_and_searches(call: Call) -> None:
    assert DOORKEY in call("envs").out
    found = json.loads(call("envs", "doorkey", "--family", "grid", "--json").out)
    assert {e["family"] for e in found} == {"grid"}
    assert all("DoorKey" in e["id"] for e in found)


def test_describe_tells_what_the_task_is(call: Call) -> None:
    found = json.loads(call("envs", "--describe", DOORKEY, "--json").out)
    assert [m["name"] for m in found["milestones"]] == ["has_key", "door_open", "at_goal"]
    assert found["progress_kind"] == "exact"
    assert found["horizon"] == 250
    assert "'memory'" in found["arguments"]["view"]
    shown = call("envs", "--describe", DOORKEY).out
    for part in (found["goal"], "has_key", "door_open", "at_goal", "Discrete(7)", "'memory'"):
        assert part in shown


def test_check_judges_every_rule(call: Call) -> None:
    said = call("check", DOORKEY, "--seeds", "1", "--json")
    (report,) = json.loads(said.out)
    assert report["environment"] == DOORKEY
    assert said.code == (0 if report["ok"] else 1)
    assert len(report["rules"]) > 20


def test_doctor_knows_the_core_and_the_extras(call: Call) -> None:
    said = call("doctor", "--json")
    found = json.loads(said.out)
    parts = {p["part"]: p for p in found["parts"]}
    assert said.code == 0
    assert found["ok"]
    assert {"Python", "agentgym", "numpy", "Chromium", "Docker", "bubblewrap", "Xvfb", "cores", "disk", "runs/"} <= set(
        parts
    )
    assert parts["numpy"]["status"] == "ok"
    assert all(p["fix"] for p in found["parts"] if p["status"] == "missing"), "what is missing comes with its fix"


def test_doctor_fails_when_the_core_is_broken(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentgym.cli._doctor._PYTHON", ((2, 6), (2, 7)))
    said = call("doctor")
    assert said.code == 1
    assert "The core is broken" in said.out


# ---------------------------------------------------------------------- play


def test_play_follows_typed_actions(process: Call) -> None:
    said = process("play", DOORKEY, "--seed", "0", input="left\n1\nfly\nq\n")
    assert said.code == 0
    assert "Goal: use the key" in said.out
    assert "1. left" in said.out
    assert "2. left" in said.out, "1 is the first of the listed actions"
    assert "not grounded: unknown action 'fly'" in said.out
    assert "[ ] has_key" in said.out


def test_play_shows_the_oracle_ticking_off_milestones(call: Call) -> None:
    said = call("play", DOORKEY, "--oracle")
    assert said.code == 0
    last = said.out.strip().splitlines()[-1]
    assert re.fullmatch(r"solved after \d+ steps", last)
    assert "[x] has_key [x] door_open [x] at_goal" in said.out


def test_play_marks_danger(process: Call, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "lamps.py", tmp_path)
    said = process("play", "lamps:examples/Lamps-v0", "--actions", "flip 4,flip 3,flip 2")
    assert said.out.count("DANGER: alarm") == 1, "with seed 0 the alarm is wired to lamp 4"


def test_play_prints_records_as_json_lines(call: Call) -> None:
    lines = [json.loads(line) for line in call("play", DOORKEY, "--actions", "left,left", "--json").out.splitlines()]
    assert [line["t"] for line in lines] == [0, 1, 2]
    assert {"milestones", "progress", "danger", "grounded", "anchor", "success"} <= set(lines[-1])


# ---------------------------------------------------------------------- rollout, eval, compare, train


def test_rollout_keeps_what_happened_and_goes_on(call: Call) -> None:
    from agentgym.runs import Run

    words = ("rollout", "--env", DOORKEY, "--policy", "oracle", "--episodes", "3", "--out", "run", "--json")
    said = call(*words)
    assert said.code == 0
    assert json.loads(said.out)["metrics"]["success"]["value"] == 1.0
    run = Run.open("run")
    assert run.kind == "rollout"
    assert run.config["env"] == DOORKEY
    assert run.steps().trajectories.seed.tolist() == [0, 1, 2]
    again = call(*words, "--resume")
    assert again.code == 0
    assert len(Run.open("run").steps().trajectories) == 3, "what the run holds is not played again"


def test_eval_and_compare(call: Call) -> None:
    for policy in ("oracle", "random"):
        said = call("eval", "--policy", policy, "--suite", "quick", "--episodes", "2", "--out", policy)
        assert said.code == 0
        assert "success" in said.out
    found = json.loads(call("compare", "random", "oracle", "--json").out)
    assert found["pairs"] == 4
    assert found["metrics"]["success"]["b"] == 1.0
    assert "success" in call("compare", "random", "oracle").out
    assert "quick" in call("eval", "--list").out


def test_report_says_where_the_page_is(call: Call) -> None:
    assert call("rollout", "--env", DOORKEY, "--policy", "oracle", "--episodes", "2", "--out", "run").code == 0
    assert call("report", "run").out.strip() == str(Path("run/report.html"))
    assert json.loads(call("report", "run", "--out", "page.html", "--json").out) == {"report": "page.html"}
    assert "<html" in Path("page.html").read_text(encoding="utf-8")


def test_an_environment_in_this_folder_is_named_by_its_module(process: Call, tmp_path: Path) -> None:
    shutil.copy(ROOT / "examples" / "lamps.py", tmp_path)
    assert process("check", "lamps:examples/Lamps-v0", "--seeds", "1").code == 0
    shown = process("envs", "--describe", "lamps:examples/Lamps-v0", "--json")
    assert json.loads(shown.out)["dangers"].keys() == {"alarm"}
    (tmp_path / "mine.py").write_text("def flip(observation):\n    return 'flip 0'\n")
    words = ("rollout", "--env", "lamps:examples/Lamps-v0", "--policy", "mine:flip", "--episodes", "2", "--json")
    assert json.loads(process(*words).out)["metrics"]["grounded"]["value"] == 1.0


def test_eval_takes_a_suite_from_a_file(call: Call, tmp_path: Path) -> None:
    item = {"env": DOORKEY, "seeds": {"start": 5, "count": 2}, "kwargs": {"view": "text"}}
    (tmp_path / "mine.json").write_text(json.dumps({"items": [item]}))
    found = json.loads(call("eval", "--policy", "oracle", "--suite", "mine.json", "--json").out)
    assert (found["suite"], found["episodes"]) == ("mine", 2)


@pytest.mark.slow
def test_train_runs_resumes_and_lets_options_override_the_file(call: Call, tmp_path: Path) -> None:
    from agentgym.runs import Run

    (tmp_path / "settings.toml").write_text('recipe = "grpo"\nlr = 0.25\nlayers = 1\n[env_kwargs]\nview = "memory"\n')
    said = call("train", "--config", "settings.toml", *TINY, "--lr", "1e-3", "--out", "run", "--json")
    assert said.code == 0, said.err
    summary = json.loads(said.out)
    assert summary["updates"] == 1
    config = Run.open("run").config
    assert (config["recipe"], config["lr"], config["layers"]) == ("grpo", 1e-3, 1)
    again = call("train", "--resume", "--out", "run", "--json")
    assert again.code == 0, again.err
    assert json.loads(again.out)["recipe"] == "grpo", "the settings are the run's own"


def test_the_console_script_is_this_function() -> None:
    from importlib.metadata import entry_points

    (script,) = entry_points(group="console_scripts", name="agentgym")
    assert script.load() is main
