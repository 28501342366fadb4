"""Training on the environments of a server: the same numbers, and what a server's faults do to a run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentgym.agents.policy import Decision, Request
from agentgym.agents.train.checkpoints import newest_checkpoint
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.trainer import Trainer, train
from agentgym.errors import WorldError
from agentgym.runs import Run
from tests.serve.servers import ROOT

SMALL = TrainConfig(
    env="agentgym/Grid-DoorKey-5x5-v0",
    env_kwargs={"view": "memory", "max_steps": 12},
    hidden=16,
    layers=1,
    heads=2,
    demos=3,
    demo_epochs=1,
    updates=3,
    groups=2,
    group_size=3,
    validate_every=0,
    test_episodes=4,
    checkpoint_every=1,
    tensorboard=False,
)


@contextmanager
def server(path: Path) -> Iterator[subprocess.Popen[str]]:
    """`agentgym serve` on a Unix socket, to be killed; it listens when this is entered."""
    words = ["serve", SMALL.env, "--uds", str(path), "--environments", "16"]
    program = subprocess.Popen([sys.executable, "-m", "agentgym", *words], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    try:
        assert program.stdout.readline().startswith("serving at ")
        yield program
    finally:
        program.kill()
        program.wait(30)
        program.stdout.close()


def sessions_of(server: int) -> list[int]:
    """The processes of a server's sessions: the fork server's children."""

    def children(pid: int) -> list[int]:
        return [int(k) for task in Path(f"/proc/{pid}/task").glob("*/children") for k in task.read_text().split()]

    return [child for below in children(server) for child in children(below)]


def sabotage(trainer: Trainer, at: int, deed: Callable[[], object]) -> None:
    """Do something just before the policy is asked for the ``at``-th time."""
    act, calls = trainer.policy.act, iter(range(1 << 30))

    def acted(requests: Sequence[Request]) -> list[Decision]:
        if next(calls) == at:
            deed()
        return act(requests)

    trainer.policy.act = acted  # type: ignore[method-assign]


def numbers(out: Path) -> list[dict[str, Any]]:
    """Everything that was measured, but for the clock."""
    return [{k: v for k, v in m.items() if "seconds" not in k and k != "time"} for m in Run.open(out).metrics()]


def test_a_run_on_a_server_is_the_run(tmp_path: Path) -> None:
    with server(tmp_path / "socket"):
        far = train(SMALL.served(f"unix://{tmp_path}/socket"), tmp_path / "far")
    near = train(SMALL, tmp_path / "near")
    assert numbers(tmp_path / "far") == numbers(tmp_path / "near")
    assert far["after"] == near["after"]


def test_a_session_that_is_killed_costs_its_episodes_and_the_run_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here every episode of the update was in that session: they are played once more, and nothing differs."""
    with server(tmp_path / "socket") as program:
        trainer = Trainer(SMALL.served(f"unix://{tmp_path}/socket"), Run.create(tmp_path / "far", "train", {}))
        sabotage(trainer, 4, lambda: [os.kill(pid, signal.SIGKILL) for pid in sessions_of(program.pid)])
        trainer.train()
        trainer.close()
    broke = [each.getMessage() for each in caplog.records if "broke at step" in each.getMessage()]
    assert len(broke) == 6
    assert all("is gone" in line for line in broke)
    home = Trainer(SMALL, Run.create(tmp_path / "near", "train", {}))
    home.train()
    home.close()
    assert numbers(tmp_path / "far") == numbers(tmp_path / "near")


def test_a_server_that_is_killed_ends_the_run_with_one_line_after_its_last_checkpoint(tmp_path: Path) -> None:
    with server(tmp_path / "socket") as program:
        trainer = Trainer(SMALL.served(f"unix://{tmp_path}/socket"), Run.create(tmp_path / "run", "train", {}))
        trainer.update()
        trainer.save()
        sabotage(trainer, 4, lambda: (program.kill(), program.wait()))
        with pytest.raises(
            WorldError, match=r"all 6 episodes of update 1 broke, twice; the first by .*nobody answers"
        ) as broke:
            trainer.train()
        assert "\n" not in str(broke.value)
        trainer.close()
    assert newest_checkpoint(Run.open(tmp_path / "run")) == tmp_path / "run/checkpoints/000001"


def test_the_settings_name_the_servers_environment() -> None:
    served = replace(SMALL, slots=3).served("unix:///run/socket")
    assert (served.env, served.slots) == ("agentgym/Remote-v0", 3)
    assert served.env_kwargs == {
        "url": "unix:///run/socket",
        "env_id": SMALL.env,
        "shared": True,
        **SMALL.env_kwargs,
    }
