"""An engine that is killed and starts again: sandboxes are lost loudly, and it keeps none of them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentgym.containers import docker, new_sandbox
from agentgym.errors import UsageError, WorldError
from tests.containers.conftest import ask_for


class Engine:
    """A Docker engine of this test's own, beside the machine's."""

    def __init__(self, program: str, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder, self._log = folder, folder / "log"
        # With a network of its own: an engine without a bridge takes away the one that it finds, the machine's own.
        self._words = ["unshare", "--net", program, "-H", self.host]
        self._words += ["--iptables=false", "--bridge=none", "--storage-driver=vfs"]
        self._words += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._words, stdout=log, stderr=log, start_new_session=True)
        until = time.monotonic() + 240  # after a kill it first clears away what it finds
        while docker.refusal():
            assert self._process.poll() is None, self._log.read_text()[-1000:]
            assert time.monotonic() < until, self._log.read_text()[-1000:]
            time.sleep(0.1)

    def end(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(60)
        # Its containerd notices a moment later; the next engine would take it for a living one.
        until = time.monotonic() + 30
        while any("/containerd-shim" not in line for line in self.processes()):
            assert time.monotonic() < until, self.processes()
            time.sleep(0.05)
        # Where nobody collects it, the killed containerd's number still counts as alive.
        (self._folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def processes(self) -> list[str]:
        """Command lines of what runs with this engine's folder."""
        found = []
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if str(self._folder).encode() in words:
                found.append(words.replace(b"\0", b" ").decode())
        return found


@pytest.fixture
def engine(
    need: Callable[[object, str, str], None], tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    ask_for(need, "docker")
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    need(program and os.getuid() == 0, "dockerd, and root to run it", "run `apt-get install docker.io`")
    assert program is not None
    image = docker.client().get_image("agentgym/sandbox")
    folder = tmp_path_factory.mktemp("engine")
    made = Engine(program, folder)
    monkeypatch.setenv("DOCKER_HOST", made.host)
    made.start()
    try:
        docker.client().load_image(image)
        yield made
    finally:
        made.end(signal.SIGTERM)
        assert not made.processes()
        # It mounts its images' folder onto itself every time it starts; refused once none of these mounts is left.
        while subprocess.run(["umount", str(folder / "data")], check=False, capture_output=True).returncode == 0:
            pass


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
