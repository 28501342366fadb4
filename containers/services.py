"""Containers that run this project's own programs: a server of environments, a training.

They have no network. What they share with the host, and through it with each other, is folders: a server answers on a
Unix socket in one, a training writes its run into another.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from agentgym.containers.docker import LABEL, Attached, client, engine_errors
from agentgym.containers.limits import GIB
from agentgym.errors import UsageError, WorldError, WorldTimeout

__all__ = ["SHARED", "Folder", "Service", "lend", "run"]

SHARED = "/run/agentgym"
"""Where a container has the folder with the socket."""


@dataclass(frozen=True)
class Folder:
    """A folder of this machine in a container.

    Attributes:
        here, there: its path on this machine, and in the container.
        writable: whether the container may change it.
    """

    here: Path
    there: str
    writable: bool = True


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
        folder: the folder it is in, which the container has at `SHARED`; lend it to another container, and that one
            reaches the service.

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
            shared = (Folder(self.folder, SHARED),)
            self._container = _create(image, command, shared, memory=memory, pids=pids)
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


def run(
    image: str,
    command: Sequence[str],
    folders: Sequence[Folder],
    *,
    memory: int = 8 * GIB,
    pids: int = 1024,
) -> int:
    """Run a program in a container of its own, without network, to its end; its output is this process's.

    Its standard input closes when this process ends, however it ends: a program should then end, too.

    Args:
        image: its image.
        command: words after the image's entry point.
        folders: what it has of this machine.
        memory: bytes it may use. pids: processes and threads.

    Returns:
        its exit code.

    Raises:
        UsageError: there is no such image. WorldError: no engine answers, or it was lost.
    """
    container = _create(image, command, folders, memory=memory, pids=pids)
    stdin: Any = None
    try:
        api = client()
        # The container removes itself when it ends, whether or not this process is still there to see it; so what it
        # ended with must be asked for before it begins.
        with ThreadPoolExecutor(1) as pool, engine_errors():
            stdin = api.attach_socket(container, params={"stdin": 1, "stream": 1})
            output = api.attach(container, stdout=True, stderr=True, stream=True, demux=True)
            ended = pool.submit(api.wait, container, timeout=None, condition="removed")
            try:
                api.start(container)
                for out, errors in output:
                    _pass_on(out, sys.stdout)
                    _pass_on(errors, sys.stderr)
            except BaseException:
                _remove(container)  # else the pool would wait for it
                raise
            return int(ended.result()["StatusCode"])
    finally:
        _remove(container)
        if stdin is not None:
            stdin.close()


@contextlib.contextmanager
def lend(folder: Path) -> Iterator[None]:
    """Let containers write into a folder for a while; all in it is this user's again afterwards.

    (A process that is killed cannot see to that: where it was root's, the folder then stays with user 1000.)
    """
    if os.getuid() != 0:
        yield
        return
    os.chown(folder, *_user())
    try:
        yield
    finally:
        for place, names, files in os.walk(folder):
            for name in (".", *names, *files):
                os.chown(Path(place, name), os.getuid(), os.getgid(), follow_symlinks=False)


def _pass_on(data: bytes | None, stream: TextIO) -> None:
    if data:
        stream.flush()
        stream.buffer.write(data)
        stream.buffer.flush()


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
    folders: Sequence[Folder],
    *,
    memory: int,
    pids: int,
) -> str:
    import docker.errors
    from docker.types import Mount

    api = client()
    with engine_errors():
        host = api.create_host_config(
            network_mode="none",
            read_only=True,
            tmpfs={"/tmp": f"rw,nosuid,nodev,size={1 * GIB},mode=1777"},
            mounts=[Mount(f.there, str(f.here.resolve()), "bind", read_only=not f.writable) for f in folders],
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
                environment={"HOME": "/tmp", "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"},
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
