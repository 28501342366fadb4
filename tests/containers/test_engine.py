"""An engine that is killed and starts again: sandboxes are lost loudly, and it keeps none of them."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import pytest

from agentgym.containers import docker, new_sandbox
from agentgym.errors import UsageError, WorldError
from tests.containers.conftest import Need
from tests.containers.engine import Engine, own_engine


@pytest.fixture
def engine(need: Need, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Iterator[Engine]:
    with own_engine(need, tmp_path_factory.mktemp("engine"), monkeypatch, "agentgym/sandbox") as made:
        yield made


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_an_engine_that_is_killed_and_started_again(engine: Engine) -> None:
    idle, busy = new_sandbox("docker").start(), new_sandbox("docker").start()
    assert busy.exec("echo on").ok
    engine.end(signal.SIGKILL)
    with pytest.raises(WorldError, match="lost"):
        busy.exec("sleep 30")
    with pytest.raises(UsageError, match="no Docker engine answers"):
        new_sandbox("docker")
    engine.start()
    with pytest.raises(WorldError):
        idle.exec("true")
    with new_sandbox("docker") as box:
        assert box.exec("echo again").out.text == "again\n"
    until = time.monotonic() + 60
    while left := docker.client().containers(all=True):
        assert time.monotonic() < until, left
        time.sleep(0.1)
