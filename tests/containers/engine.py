"""A Docker engine of a test's own, beside the machine's: one that may be killed."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentgym.containers import docker
from tests.containers.conftest import Need, ask_for

__all__ = ["Engine", "own_engine"]


class Engine:
    """A Docker engine of this test's own, beside the machine's."""

    def __init__(self, program: str, folder: Path) -> None:
        # Its containerd takes no path of a socket beyond 104 characters, and only its log says so.
        assert len(f"{folder}/exec/containerd/containerd.sock.ttrpc") <= 104, folder
        self.host = f"unix://{folder}/docker.sock"
        self._folder, self._log = folder, folder / "log"
        # With a network of its own: an engine without a bridge takes away the one that it finds, the machine's own.
        self._words = ["unshare", "--net", program, "-H", self.host]
        self._words += ["--iptables=false", "--bridge=none", f"--storage-driver={_driver(folder)}"]
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
        while any("/containerd-shim" not in line for line in self.processes().values()):
            assert time.monotonic() < until, self.processes()
            time.sleep(0.05)
        # Where nobody collects it, the killed containerd's number still counts as alive.
        (self._folder / "exec" / "containerd" / "containerd.pid").unlink(missing_ok=True)

    def processes(self) -> dict[int, str]:
        """What runs with this engine's folder: number -> command line."""
        found = {}
        for path in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                words = path.read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if str(self._folder).encode() in words:
                found[int(path.parent.name)] = words.replace(b"\0", b" ").decode()
        return found

    def close(self) -> None:
        """End it for good; nothing of it is left."""
        self.end(signal.SIGTERM)
        for shim in self.processes():
            # An engine that was killed while it made a container forgets it: no command has begun there, nor ever will.
            for child in "".join(path.read_text() for path in Path(f"/proc/{shim}/task").glob("*/children")).split():
                assert Path(f"/proc/{child}/comm").read_text().startswith("runc:"), self.processes()
                os.kill(int(child), signal.SIGKILL)
            os.kill(shim, signal.SIGKILL)
        until = time.monotonic() + 10
        while self.processes():
            assert time.monotonic() < until, self.processes()
            time.sleep(0.05)
        # It mounts its images' folder onto itself every time it starts, and a killed one leaves its containers' mounts.
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for path in reversed([path for path in mounts if Path(path).is_relative_to(self._folder)]):
            subprocess.run(["umount", path], check=True)


def _driver(folder: Path) -> str:
    """How to store images there: vfs works everywhere, but copies the image for every container."""
    words = ["stat", "--file-system", "--format=%T", str(folder)]
    kind = subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    return "overlay2" if kind in ("ext2/ext3", "xfs") else "vfs"


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
        made.close()
