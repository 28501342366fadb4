"""``image=``: a container that serves is started, shared, and gone with the last who uses it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable

import gymnasium
import pytest

from agentgym.containers import backends, docker, images
from agentgym.errors import UsageError
from tests.serve.servers import ROOT

IMAGE = "agentgym/serve"
ID = "agentgym/Grid-DoorKey-5x5-v0"


@pytest.fixture(autouse=True)
def engine(need: Callable[[object, str, str], None]) -> None:
    """Skip (in CI: fail) unless the engine and the image are there."""
    (found,) = [b for b in backends() if b.name == "docker"]
    need(not found.refusal, "a Docker engine", found.refusal)
    need(images.here(IMAGE), f"the image {IMAGE}", "run `agentgym images build serve`")


def containers(owner: int) -> list[str]:
    """Ids of the containers that a process made."""
    listed = docker.client().containers(all=True, filters={"label": f"{docker.LABEL}={owner}"})
    return [each["Id"] for each in listed if each["Image"] == IMAGE]


def test_environments_share_one_container_and_the_last_removes_it() -> None:
    first, second = (gymnasium.make("agentgym/Remote-v0", image=IMAGE, env_id=ID, view="memory") for _ in range(2))
    assert len(containers(os.getpid())) == 1
    near = gymnasium.make(ID, view="memory")
    assert first.reset(seed=3) == second.reset(seed=3) == near.reset(seed=3)
    first.close()
    assert second.step("turn left") == near.step("turn left")
    second.close()
    assert not containers(os.getpid())


def test_it_has_no_network_and_no_rights() -> None:
    env = gymnasium.make("agentgym/Remote-v0", image=IMAGE, env_id=ID)
    (container,) = containers(os.getpid())
    host = docker.client().inspect_container(container)["HostConfig"]
    assert host["NetworkMode"] == "none"
    assert host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    env.close()


def test_an_image_that_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="there is no image"):
        gymnasium.make("agentgym/Remote-v0", image="agentgym/nothing", env_id=ID)


def test_a_killed_program_leaves_no_container() -> None:
    words = f"import gymnasium, agentgym, time; gymnasium.make('agentgym/Remote-v0', image={IMAGE!r}, env_id={ID!r})"
    program = subprocess.Popen(
        [sys.executable, "-c", f"{words}; print('up', flush=True); time.sleep(600)"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert program.stdout is not None
    assert program.stdout.readline() == "up\n"
    assert len(containers(program.pid)) == 1
    program.kill()
    program.wait()
    program.stdout.close()
    end = time.monotonic() + 60
    while containers(program.pid):
        assert time.monotonic() < end, "the container lives on"
        time.sleep(0.05)
