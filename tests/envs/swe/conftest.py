"""Sandboxes for the tests of the SWE world: bubblewrap for most, Docker for a few of each kind."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator

import pytest

from agentgym.containers import BACKENDS, backends, images
from agentgym.env import ProcessEnv
from agentgym.envs.swe.grading import Grader
from agentgym.envs.swe.instance import Instance
from agentgym.envs.swe.make import swe_env
from agentgym.envs.swe.state import RepoState

Need = Callable[[object, str, str], None]
Open = Callable[..., ProcessEnv[RepoState]]


def ask_for(need: Need, backend: str) -> None:
    """Skip (in CI: fail) unless this back-end, with pytest inside, can be used here."""
    (found,) = [b for b in backends() if b.name == backend]
    need(not found.refusal, f"the sandbox back-end {backend}", found.refusal)
    if backend == "docker":
        need(images.here("agentgym/swe"), "the image agentgym/swe", "run `agentgym images build swe`")
    else:
        inside = subprocess.run(["/usr/bin/python3", "-I", "-c", "import pytest"], capture_output=True, check=False)
        need(not inside.returncode, "pytest of the system's python3", "run `apt-get install python3-pytest`")


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request: pytest.FixtureRequest, need: Need) -> str:
    """Each back-end in turn."""
    ask_for(need, request.param)
    return str(request.param)


@pytest.fixture(scope="session")
def wrap(need: Need) -> str:
    """The quick back-end."""
    ask_for(need, "bubblewrap")
    return "bubblewrap"


@pytest.fixture(scope="module")
def grader(backend: str) -> Iterator[Grader]:
    """A grader of each back-end."""
    made = Grader(backend)
    yield made
    made.close()


@pytest.fixture(scope="module")
def quick_grader(wrap: str) -> Iterator[Grader]:
    """A grader of the quick back-end."""
    made = Grader(wrap)
    yield made
    made.close()


@pytest.fixture(scope="module")
def opened(wrap: str) -> Iterator[Open]:
    """Gives environments of one instance, reset; one environment per instance serves a module."""
    made: dict[str, ProcessEnv[RepoState]] = {}

    def one(instance: Instance) -> ProcessEnv[RepoState]:
        if instance.instance_id not in made:
            made[instance.instance_id] = swe_env("test", [instance], backend=wrap)
        env = made[instance.instance_id]
        env.reset(seed=0)
        return env

    yield one
    for env in made.values():
        env.close()
