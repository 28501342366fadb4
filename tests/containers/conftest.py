"""Sandboxes of both kinds, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentgym.containers import BACKENDS, backends, images, new_sandbox
from agentgym.containers.sandbox import RunnerSandbox

Make = Callable[..., RunnerSandbox]
Need = Callable[[object, str, str], None]


def ask_for(need: Need, backend: str) -> None:
    """Skip (in CI: fail) unless this back-end can be used here."""
    (found,) = [b for b in backends() if b.name == backend]
    need(not found.refusal, f"the sandbox back-end {backend}", found.refusal)
    if backend == "docker":
        need(images.here("agentgym/sandbox"), "the image agentgym/sandbox", "run `agentgym images build sandbox`")


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, need: Need) -> str:
    """Each back-end in turn."""
    ask_for(need, request.param)
    return str(request.param)


@pytest.fixture
def make(backend: str) -> Iterator[Make]:
    """Gives started sandboxes of this back-end; all are closed in the end."""
    made: list[RunnerSandbox] = []

    def one(**options: Any) -> RunnerSandbox:
        made.append(new_sandbox(backend, **options))
        return made[-1].start()

    yield one
    for box in made:
        box.close()


@pytest.fixture
def box(make: Make) -> RunnerSandbox:
    """One fresh sandbox."""
    return make()


@pytest.fixture(scope="module", params=BACKENDS)
def shared(request: pytest.FixtureRequest, need: Need) -> Iterator[RunnerSandbox]:
    """One sandbox for the small tests of a module, which leave nothing behind that would matter to the next."""
    ask_for(need, request.param)
    with new_sandbox(request.param) as box:
        yield box
