"""Images: recipes, and prebuilt ones fetched from a registry."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentgym.cli import main
from agentgym.containers import Docker, Session, docker, images
from agentgym.errors import UnknownName, UsageError
from tests.containers.conftest import ask_for


@pytest.fixture
def engine(need: Callable[[object, str, str], None]) -> None:
    ask_for(need, "docker")


@pytest.fixture
def registry(need: Callable[[object, str, str], None], tmp_path: Path) -> Iterator[str]:
    """The address of a registry on loopback; Debian's docker-registry."""
    program = shutil.which("docker-registry")
    need(program, "docker-registry", "run `apt-get install docker-registry`")
    assert program is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    config = tmp_path / "registry.yml"
    config.write_text(
        f"version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {tmp_path}/data}}}}\n"
        f"http: {{addr: {address}}}\n"
    )
    process = subprocess.Popen([program, "serve", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://{address}/v2/", timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                assert time.monotonic() < until
                time.sleep(0.05)
        yield address
    finally:
        process.terminate()
        process.wait()


def _build(tag: str, folder: Path, lines: str) -> None:
    (folder / "Dockerfile").write_text(lines)
    for line in docker.client().build(path=str(folder), tag=tag, decode=True, rm=True):
        assert "error" not in line, line


def test_an_instance_image_is_fetched_and_works_on_its_folder(engine: None, registry: str, tmp_path: Path) -> None:
    api, name = docker.client(), f"{registry}/team/instance"
    folder = tmp_path / "context"
    folder.mkdir()
    _build(
        f"{name}:1",
        folder,
        "FROM agentgym/sandbox\nUSER root\nRUN mkdir -p /testbed/a && echo code > /testbed/a/b.py\n",
    )
    made = "agentgym/instance-instance-1"
    try:
        pushed = list(api.push(name, tag="1", stream=True, decode=True))
        assert not [line for line in pushed if "error" in line]
        api.remove_image(f"{name}:1")
        assert not images.here(f"{name}:1")
        assert main(["images", "pull", f"{name}:1", "--workdir", "/testbed"]) == 0
        with Docker(Session(workdir="/testbed", seed=images.SEED), made) as box:
            assert (
                box.exec("pwd; cat a/b.py; echo more >> a/b.py; git --version | cut -c1-3").out.text
                == "/testbed\ncode\ngit\n"
            )
        with pytest.raises(UsageError, match=r"no registry has .*:2"):
            images.pull(f"{name}:2", say=lambda _: None)
    finally:
        for image in (made, f"{name}:1"):
            if images.here(image):
                api.remove_image(image, force=True)


def test_a_recipe_builds_again(engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["images", "build", "sandbox"]) == 0  # every layer is there already
    assert "made agentgym/sandbox" in capsys.readouterr().out
    assert main(["images"]) == 0
    assert "agentgym/sandbox" in capsys.readouterr().out


def test_a_recipe_that_fails_says_how_it_ended(engine: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "sandbox").mkdir()
    (tmp_path / "sandbox" / "Dockerfile").write_text("FROM agentgym/sandbox\nRUN echo on the way && false\n")
    monkeypatch.setattr(images, "_FOLDER", tmp_path)
    with pytest.raises(UsageError, match=r"does not build: .*on the way"):
        images.build(["sandbox"], say=lambda _: None)


def test_misuse_is_answered(engine: None, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UnknownName, match=r"did you mean 'sandbox'"):
        images.build(["sandbx"])
    assert main(["images", "pull"]) == 2
    assert main(["images", "build", "--workdir", "/x"]) == 2
    assert "belongs to `agentgym images pull`" in capsys.readouterr().err
    assert main(["images", "--torch-index", "https://example.org"]) == 2
    assert "--torch-index belongs to `agentgym images build`" in capsys.readouterr().err


def test_an_image_without_python_is_refused(engine: None, tmp_path: Path) -> None:
    _build("agentgym/test-no-python", tmp_path, "FROM debian:bookworm-slim\nRUN rm -f /usr/bin/python3*\n")
    try:
        with pytest.raises(UsageError, match=r"cannot be a sandbox.*python3"):
            Docker(image="agentgym/test-no-python").start()
    finally:
        docker.client().remove_image("agentgym/test-no-python", force=True)


def test_all_recipes_are_named() -> None:
    folder = Path(images.__file__).parent
    assert sorted(images.RECIPES) == sorted(p.parent.name for p in folder.glob("*/Dockerfile"))
