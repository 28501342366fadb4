"""Which back-end, and the refusals."""

from __future__ import annotations

import pytest

from agentgym.containers import BACKENDS, Limits, Session, backends, bubblewrap, choose, docker, new_sandbox
from agentgym.errors import UnknownName, UsageError, WorldError


def test_without_any_back_end_it_refuses_and_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    # The real looks, in a place where neither is: no engine at this address, no bwrap on this path.
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.setattr(bubblewrap, "_answers", {})
    with pytest.raises(UsageError, match=r"apt-get install docker.io.*apt-get install bubblewrap"):
        new_sandbox()
    for name in BACKENDS:
        with pytest.raises(UsageError, match="no sandbox can be made here"):
            new_sandbox(name)
    assert all(b.refusal for b in backends())


def test_an_unknown_back_end_is_answered_with_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'docker'"):
        new_sandbox("dokcer")


def test_a_missing_image_is_named(backend: str) -> None:
    if backend == "docker":
        with pytest.raises(UsageError, match="agentgym images build"):
            new_sandbox(backend, image="agentgym/nowhere").start()
    else:
        with pytest.raises(UsageError, match="no folders work"):
            new_sandbox(backend, root="/usr/share")


@pytest.mark.parametrize("workdir", ["work", "/", "/repo/..", "/tmp/x", "/usr/work", "/repo/", ""])
def test_a_working_folder_is_an_own_folder(workdir: str) -> None:
    with pytest.raises(UsageError, match="workdir"):
        Session(Limits(), workdir=workdir)


def test_docker_comes_first_where_an_engine_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bubblewrap, "refusal", lambda: "")
    monkeypatch.setattr(docker, "refusal", lambda: "")
    assert choose.new_sandbox().backend == "docker"
    monkeypatch.setattr(docker, "refusal", lambda: "no engine")
    assert choose.new_sandbox().backend == "bubblewrap"


def test_an_engine_that_does_not_answer_is_a_world_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")
    with pytest.raises(WorldError, match="no Docker engine answers"):
        docker.Docker().start()
