"""Sandboxes by a Docker engine, through the docker SDK."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Iterator
from typing import Any

from agentgym.containers.sandbox import BOOT, RunnerSandbox, Session, boot_data
from agentgym.containers.wire import Wire
from agentgym.errors import MissingExtra, UsageError, WorldError, WorldTimeout

__all__ = ["LABEL", "Docker", "client", "refusal"]

FIX = "install Docker Engine (Debian: apt-get install docker.io), start it, and let this user reach it"
IMAGE = "agentgym/sandbox"
LABEL = "agentgym.sandbox"
"""Every container carries it; its value is the process that made it."""
KNOWS_LOCALHOST = "agentgym.knows-localhost"
"""Label of images in which ``localhost`` has an address without ``/etc/hosts``."""
_FILES_PER_MIB = 512
"""Files and folders that the file systems may hold, for each MiB of their size."""

_clients: dict[tuple[int, str], Any] = {}
_clients_lock = threading.Lock()


class Docker(RunnerSandbox):
    """One sandbox by a Docker engine.

    Args:
        session: limits, folders, options.
        image: its image, which must hold ``python3`` (3.8 or later).
    """

    backend = "docker"

    def __init__(self, session: Session | None = None, image: str = IMAGE) -> None:
        super().__init__(session or Session())
        self.image = image
        self._container = ""

    def _launch(self) -> Wire:
        import docker.errors

        api = client()
        with engine_errors():
            try:
                labels = api.inspect_image(self.image)["Config"].get("Labels") or {}
                # Either way its only interface is a loopback of its own; but a network that the engine knows of, which
                # "none" is one of, takes it longer than all else, and brings nothing except /etc/hosts.
                made = api.create_container(**self._options(api), network_disabled=KNOWS_LOCALHOST in labels)
            except docker.errors.ImageNotFound as error:
                raise UsageError(
                    f"there is no image {self.image!r}; make it with `agentgym images build`, or pull it"
                ) from error
            self._container = made["Id"]
            attached = api.attach_socket(self._container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
            self._stream = Attached(attached)
            wire = Wire(self._stream)
            try:
                api.start(self._container)
            except docker.errors.APIError as error:
                raise UsageError(f"the image {self.image!r} cannot be a sandbox: {error.explanation}") from error
        wire.raw(boot_data(), 60)
        wire.send(*self._hello())
        return wire

    def _options(self, api: Any) -> dict[str, Any]:
        limits = self.limits
        sizes = {self.session.workdir: limits.disk, "/tmp": limits.scratch, "/dev/shm": limits.scratch}
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={
                path: f"rw,nosuid,nodev,exec,size={size},nr_inodes={max(1024, _FILES_PER_MIB * (size >> 20))},"
                "uid=1000,gid=1000,mode=755"
                for path, size in sizes.items()
            },
            mem_limit=limits.memory,
            memswap_limit=limits.memory,
            pids_limit=limits.pids,
            cpu_period=100_000,
            cpu_quota=int(100_000 * limits.cpus),
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ulimits=[
                {"Name": "core", "Soft": 1, "Hard": 1},
                {"Name": "nofile", "Soft": limits.open_files, "Hard": limits.open_files},
            ],
            ipc_mode="private",
            init=False,
            auto_remove=True,
            # Else everything that a command prints would be kept on the host's disk.
            log_config={"Type": "none"},
            oom_score_adj=0,
        )
        return {
            "image": self.image,
            "command": ["-I", "-S", "-c", BOOT],
            "entrypoint": ["python3"],
            "user": "1000:1000",
            "working_dir": "/",
            "hostname": "sandbox",
            "environment": {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
            "stdin_open": True,
            "detach": False,  # stdin ends with this connection, and with it the runner
            "healthcheck": {"Test": ["NONE"]},
            "labels": {LABEL: str(os.getpid())},
            "name": self.name,
            "host_config": host,
        }

    def _why(self) -> str:
        return self._stream.said() if hasattr(self, "_stream") else ""

    def _end(self) -> None:
        import docker.errors
        import requests

        if not self._container:
            return
        # An engine that is down now removes the container when it starts again (auto_remove).
        with contextlib.suppress(docker.errors.DockerException, requests.RequestException):
            api = client()
            try:
                api.remove_container(self._container, force=True, v=True)
            except docker.errors.NotFound:
                pass
            except docker.errors.APIError:
                # It is being removed already, because its runner has ended.
                with contextlib.suppress(docker.errors.NotFound):
                    api.wait(self._container, timeout=30, condition="removed")
        self._container = ""


class Attached:
    """The hijacked connection of a container: bytes in, and two streams out, each piece under a header of 8 bytes."""

    def __init__(self, attached: Any) -> None:
        self._attached = attached  # keeps the response, and with it the connection, alive
        self._socket: socket.socket = getattr(attached, "_sock", attached)
        self._socket.setblocking(False)
        self._buffer = bytearray()
        self._left, self._kind = 0, 0
        self._errors = bytearray()
        self._poll_read, self._poll_write = select.poll(), select.poll()
        self._poll_read.register(self._socket, select.POLLIN)
        self._poll_write.register(self._socket, select.POLLOUT)

    def write(self, data: memoryview, until: float) -> int:
        while True:
            try:
                return self._socket.send(data)
            except BlockingIOError:
                _wait(self._poll_write, until)

    def read(self, n: int, until: float) -> bytes:
        while True:
            if self._left and self._buffer:
                part = bytes(self._buffer[: min(self._left, n if self._kind == 1 else self._left)])
                del self._buffer[: len(part)]
                self._left -= len(part)
                if self._kind == 1:
                    return part
                self._errors += part
                del self._errors[:-2000]
            elif not self._left and len(self._buffer) >= 8:
                self._kind, self._left = struct.unpack("!B3xI", self._buffer[:8])
                del self._buffer[:8]
            else:
                try:
                    data = self._socket.recv(1 << 18)
                except BlockingIOError:
                    _wait(self._poll_read, until)
                    continue
                if not data:
                    return b""
                self._buffer += data

    def said(self) -> str:
        return " ".join(self._errors.decode("utf-8", "replace").split())

    def close(self) -> None:
        self._socket.close()
        self._attached.close()


def _wait(poller: select.poll, until: float) -> None:
    left = until - time.monotonic()
    if left <= 0 or not poller.poll(left * 1000):
        raise WorldTimeout("it did not answer in time")


def client() -> Any:
    """A low-level client of the engine that the environment names (``DOCKER_HOST``); one for each process.

    Raises:
        MissingExtra: the docker SDK is not installed.
        WorldError: no engine answers.
    """
    try:
        import docker
    except ImportError as error:
        raise MissingExtra("docker", "swe") from error
    key = (os.getpid(), os.environ.get("DOCKER_HOST", ""))
    with _clients_lock:
        if key not in _clients:
            with engine_errors():
                _clients[key] = docker.from_env(timeout=60).api
        return _clients[key]


@contextlib.contextmanager
def engine_errors() -> Iterator[None]:
    """What the engine refuses, and an engine that does not answer, are a WorldError."""
    import docker.errors
    import requests

    try:
        yield
    except docker.errors.APIError as error:
        raise WorldError(f"the Docker engine refuses: {error.explanation or error}") from error
    except (docker.errors.DockerException, requests.RequestException) as error:
        raise WorldError(f"no Docker engine answers ({_gist(error)}); {FIX}") from error


def refusal() -> str:
    """Why no engine can be used here, with the fix; '' when one answers now."""
    import docker.errors
    import requests

    try:
        client().ping()
    except (MissingExtra, WorldError) as error:
        return str(error)
    except (docker.errors.DockerException, requests.RequestException) as error:
        return f"no Docker engine answers ({_gist(error)}); {FIX}"
    return ""


def _gist(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
