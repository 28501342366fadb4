"""A Docker engine of a test's own, beside the machine's: one that may be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from agentgym.containers import docker
from tests.containers.conftest import ask_for

Need = Callable[[object, str, str], None]
DRIVERS = ["overlay2", "vfs"]
"""Ways to store images; the second needs nothing, but copies the image for every container."""


class Engine:
    """A Docker engine of this test's own, beside the machine's."""

    def __init__(self, program: str, folder: Path) -> None:
        self.host = f"unix://{folder}/docker.sock"
        self._folder, self._log = folder, folder / "log"
        self._words = [program, "-H", self.host, "--iptables=false", "--bridge=none"]
        self._words += [f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/pid"]
        self._drivers = list(DRIVERS)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        until = time.monotonic() + 240  # after a kill it first clears away what it finds
        self._launch()
        while docker.refusal():
            if self._process is not None and self._process.poll() is not None and len(self._drivers) > 1:
                self._drivers.pop(0)  # it cannot do that on this file system
                self._launch()
            assert self._process is not None
            assert self._process.poll() is None, self._log.read_text()[-1000:]
            assert time.monotonic() < until, self._log.read_text()[-1000:]
            time.sleep(0.1)
        del self._drivers[1:]

    def _launch(self) -> None:
        words = [*self._words, f"--storage-driver={self._drivers[0]}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(words, stdout=log, stderr=log, start_new_session=True)

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


@contextlib.contextmanager
def own_engine(need: Need, folder: Path, monkeypatch: pytest.MonkeyPatch, image: str) -> Iterator[Engine]:
    """An engine that has an image of the machine's; `DOCKER_HOST` names it meanwhile."""
    ask_for(need, "docker")
    program = shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin")
    need(program and os.getuid() == 0, "dockerd, and root to run it", "run `apt-get install docker.io`")
    assert program is not None
    data = docker.client().get_image(image)
    made = Engine(program, folder)
    monkeypatch.setenv("DOCKER_HOST", made.host)
    made.start()
    try:
        docker.client().load_image(data)
        yield made
    finally:
        made.end(signal.SIGTERM)
        assert not made.processes()
        while os.path.ismount(folder / "data"):  # its images' folder, which it mounts onto itself every time it starts
            subprocess.run(["umount", str(folder / "data")], check=True)
