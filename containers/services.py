"""Containers that run this project's own programs: a server of environments.

They have no network. What they share with the host is a folder with the Unix socket on which they answer.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from agentgym.containers.docker import LABEL, Attached, client, engine_errors
from agentgym.containers.limits import GIB
from agentgym.errors import UsageError, WorldError, WorldTimeout

__all__ = ["SHARED", "Service"]

SHARED = "/run/agentgym"
"""Where a container has the folder with the socket."""


class Service:
    """A container whose program listens on ``/run/agentgym/socket``; it ends when this process does.

    Args:
        image: its image.
        command: words after the image's entry point; they should make it listen on that socket, and end when standard
            input closes.
        memory: bytes it may use. pids: processes and threads.
        start_timeout: seconds until it must listen.

    Attributes:
        socket: the socket, as this machine sees it.
        folder: the folder it is in, which the container has at `SHARED`.

    Raises:
        UsageError: there is no such image, or its program ends at once. WorldError: no engine answers.
        WorldTimeout: it does not listen in time.
    """

    def __init__(
        self,
        image: str,
        command: Sequence[str],
        *,
        memory: int = 4 * GIB,
        pids: int = 1024,
        start_timeout: float = 120.0,
    ) -> None:
        self.image = image
        self.folder = Path(tempfile.mkdtemp(prefix="agentgym-service-"))
        self.socket = self.folder / "socket"
        self._container = ""
        self._stream: Attached | None = None
        try:
            _give(self.folder)
            self._container = _create(image, command, self.folder, memory=memory, pids=pids)
            api = client()
            with engine_errors():
                self._stream = Attached(
                    api.attach_socket(self._container, params={"stdin": 1, "stdout": 1, "stderr": 1, "stream": 1})
                )
                api.start(self._container)
            self._await(start_timeout)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the container and remove the folder."""
        container, self._container = self._container, ""
        if self._stream is not None:
            self._stream.close()
        if container:
            _remove(container)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Service:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _await(self, seconds: float) -> None:
        assert self._stream is not None
        end = time.monotonic() + seconds
        while True:
            with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(OSError):
                probe.connect(str(self.socket))
                return
            if time.monotonic() > end:
                raise WorldTimeout(f"the container of {self.image} did not listen within {seconds:g} s")
            try:
                if self._stream.read(1 << 16, time.monotonic() + 0.05) == b"":
                    raise UsageError(f"the container of {self.image} ended at once: {self._stream.said()[-600:]}")
            except WorldTimeout:
                continue  # it says nothing and is still there


def _give(folder: Path) -> None:
    """The folder belongs to whoever the container runs as."""
    folder.chmod(0o700)
    if os.getuid() == 0:
        os.chown(folder, *_user())


def _user() -> tuple[int, int]:
    """Never root: a program that breaks out of its container must be nobody here."""
    return (1000, 1000) if os.getuid() == 0 else (os.getuid(), os.getgid())


def _create(
    image: str,
    command: Sequence[str],
    folder: Path,
    *,
    memory: int,
    pids: int,
) -> str:
    import docker.errors

    api = client()
    with engine_errors():
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": f"rw,nosuid,nodev,size={1 * GIB},mode=1777"},
            binds=[f"{folder.resolve()}:{SHARED}:rw"],
            mem_limit=memory,
            memswap_limit=memory,
            pids_limit=pids,
            cap_drop=["ALL"],
            security_opt=["no-new-privileges"],
            ipc_mode="private",
            init=True,
            auto_remove=True,
        )
        try:
            made = api.create_container(
                image=image,
                command=list(command),
                user="{}:{}".format(*_user()),
                environment={"HOME": "/tmp", "OMP_NUM_THREADS": "1"},
                stdin_open=True,
                labels={LABEL: str(os.getpid())},
                host_config=host,
            )
        except docker.errors.ImageNotFound as error:
            name = image.removeprefix("agentgym/")
            raise UsageError(f"there is no image {image!r}; make it with `agentgym images build {name}`") from error
    return str(made["Id"])


def _remove(container: str) -> None:
    import docker.errors

    with contextlib.suppress(docker.errors.NotFound, WorldError), engine_errors():
        client().remove_container(container, force=True, v=True)
