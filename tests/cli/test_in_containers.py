"""`agentgym quickstart --in-containers`: two containers that share a socket and nothing else give the very same run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

from agentgym.containers import backends, docker, images, training
from agentgym.errors import UsageError
from agentgym.runs import Run

TINY: dict[str, Any] = {
    "env": "agentgym/Grid-DoorKey-5x5-v0",
    "env_kwargs": {"view": "memory", "max_steps": 15},
    "hidden": 16,
    "layers": 1,
    "heads": 2,
    "demos": 3,
    "demo_epochs": 2,
    "updates": 2,
    "groups": 2,
    "group_size": 3,
    "validate_every": 1,
    "validation_episodes": 3,
    "test_episodes": 4,
    "keep_steps": 1,
}
CLOCK = ("time", "train_cpu_seconds", "cpu_seconds")
"""What no two runs have in common."""

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def engine(need: Callable[[object, str, str], None]) -> None:
    """Skip (in CI: fail) unless the engine and both images are there."""
    (found,) = [b for b in backends() if b.name == "docker"]
    need(not found.refusal, "a Docker engine", found.refusal)
    for image in (training.SERVE, training.TRAIN):
        name = image.removeprefix("agentgym/")
        need(images.here(image), f"the image {image}", f"run `agentgym images build {name}`")


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = tmp_path / "settings.json"
    path.write_text(json.dumps(TINY))
    return path


@pytest.fixture
def start(settings: Path, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `agentgym quickstart` with the tiny settings and an ``--out`` of its own; all are ended."""
    started: list[subprocess.Popen[str]] = []

    def one(out: str, *words: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "agentgym", "quickstart", "--config", str(settings), "--out", out, *words]
        started.append(
            subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        )
        return started[-1]

    yield one
    for program in started:
        program.kill()
        program.communicate(timeout=60)


def containers(owner: int) -> dict[str, str]:
    """Image -> id of the containers that a process made."""
    listed = docker.client().containers(all=True, filters={"label": f"{docker.LABEL}={owner}"})
    return {each["Image"]: each["Id"] for each in listed}


def both(program: subprocess.Popen[str]) -> dict[str, str]:
    """Its two containers, once the training has begun."""
    assert program.stdout is not None
    assert "held out" in next(line for line in program.stdout if "held out" in line)
    found = containers(program.pid)
    assert set(found) == {training.SERVE, training.TRAIN}
    return found


def gone(owner: int) -> bool:
    """No container of a process is left, within the time that an end may take."""
    end = time.monotonic() + 60
    while containers(owner):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def curve(out: Path) -> list[dict[str, Any]]:
    """Everything that was measured, but for the clock."""
    return [{k: v for k, v in line.items() if k not in CLOCK} for line in Run.open(out).metrics()]


def columns(out: Path) -> dict[str, str]:
    """Every column of every table of every shard, but for the clock and the name of the environment.

    As Python writes it: exact for floats, and NaN is NaN.
    """
    found = {}
    for path in sorted(out.rglob("*.parquet")):
        table = pyarrow.parquet.read_table(path)
        for name in set(table.column_names) - {"duration", "env"}:
            found[f"{path.relative_to(out)} {name}"] = repr(table[name].to_pylist())
    return found


@pytest.mark.timeout(600)
def test_the_run_in_containers_is_the_run_outside(start: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    """Same seed, same curve: success, loss, progress, and every step and token of every rollout, bit for bit."""
    for out, words in (("inside", ["--in-containers"]), ("outside", [])):
        program = start(out, *words)
        said, errors = program.communicate(timeout=290)
        assert program.returncode == 0, errors
        assert "process rewards minus outcomes" in said
        assert str(tmp_path / out / "report.html") in said.replace("\n", "") or out == "outside"
    assert gone(program.pid)
    inside, outside = tmp_path / "inside", tmp_path / "outside"

    assert len(curve(outside)) >= 2 * (2 + 2 + 1)
    assert curve(inside) == curve(outside)
    far, near = columns(inside), columns(outside)
    assert far.keys() == near.keys()
    assert {"action", "anchor", "progress", "logprob"} <= {name.split()[-1] for name in near}
    assert [name for name in near if far[name] != near[name]] == []

    told = {key: Run.open(inside).summary()[key] for key in ("success_after", "contrast_after", "env_steps")}
    assert told.items() <= Run.open(outside).summary().items()
    assert Run.open(inside).config["env"] == "agentgym/Remote-v0"
    for path in inside.rglob("*"):
        assert path.stat().st_uid == os.getuid(), "the run belongs to who asked for it"


def test_nothing_is_open_between_them_but_the_socket_and_ctrl_c_ends_both(
    start: Callable[..., subprocess.Popen[str]], tmp_path: Path
) -> None:
    program = start("run", "--in-containers")
    for image, container in both(program).items():
        told = docker.client().inspect_container(container)
        host = told["HostConfig"]
        assert host["NetworkMode"] == "none"
        assert host["ReadonlyRootfs"]
        assert host["CapDrop"] == ["ALL"]
        assert not told["Config"]["User"].startswith("0")
        mine = "/run/agentgym" if image == training.SERVE else str(tmp_path / "run")
        assert [mount["Destination"] for mount in told["Mounts"] if mount["RW"]] == [mine]
    # The training's image holds no environments: that those of the other are used is no matter of settings.
    probe = docker.client().exec_create(containers(program.pid)[training.TRAIN], ["python", "-c", "import minigrid"])
    assert b"ModuleNotFoundError" in docker.client().exec_start(probe["Id"])

    program.send_signal(signal.SIGINT)
    _, errors = program.communicate(timeout=60)
    assert program.returncode == 130
    assert errors.strip().splitlines()[-1] == "agentgym: interrupted"
    assert not containers(program.pid)


def test_both_go_when_the_command_is_killed(start: Callable[..., subprocess.Popen[str]]) -> None:
    program = start("run", "--in-containers")
    both(program)
    program.kill()
    program.communicate(timeout=60)
    assert gone(program.pid)


def test_a_server_that_is_killed_ends_the_training_with_one_line(
    start: Callable[..., subprocess.Popen[str]],
) -> None:
    program = start("run", "--in-containers")
    docker.client().kill(both(program)[training.SERVE])
    _, errors = program.communicate(timeout=120)
    assert program.returncode == 2
    assert "unix:///run/agentgym/socket" in errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert gone(program.pid)


def test_an_image_that_is_not_there_is_named(tmp_path: Path) -> None:
    for missing in ({"image": "agentgym/none"}, {"serve": "agentgym/none"}):
        with pytest.raises(UsageError, match="there is no image 'agentgym/none'"):
            training.train(["--help"], {}, tmp_path / "run", env=TINY["env"], environments=2, **missing)
        assert not containers(os.getpid())
