"""Which back-ends this machine has, and a sandbox by the best of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from agentgym.containers import bubblewrap, cgroups, docker
from agentgym.containers.limits import Limits
from agentgym.containers.sandbox import RunnerSandbox, Session
from agentgym.errors import UnknownName, UsageError

__all__ = ["BACKENDS", "Backend", "BackendName", "backends", "new_sandbox"]

BackendName = Literal["docker", "bubblewrap"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)


@dataclass(frozen=True)
class Backend:
    """One way to make sandboxes.

    Attributes:
        name: docker or bubblewrap.
        refusal: why it cannot be used here, with the fix; '' when it can.
        cannot_limit: what it cannot bound here, one sentence each.
        unbounded: the same as keys: ``memory``, ``pids``, ``cpu``.
    """

    name: BackendName
    refusal: str
    unbounded: tuple[str, ...] = ()
    cannot_limit: tuple[str, ...] = ()


def backends() -> list[Backend]:
    """Both back-ends, the preferred one first, as they stand on this machine now."""
    engine, wrap = docker.refusal(), bubblewrap.refusal()
    if wrap:
        return [Backend("docker", engine), Backend("bubblewrap", wrap)]
    limited = cgroups.available()
    unbounded = tuple(sorted({"memory", "pids", "cpu"} - limited))
    return [Backend("docker", engine), Backend("bubblewrap", "", unbounded, tuple(bubblewrap.cannot_limit(limited)))]


def new_sandbox(
    backend: str = "",
    *,
    image: str = docker.IMAGE,
    root: Path | str | None = None,
    limits: Limits | None = None,
    workdir: str = "/work",
    seed: str = "",
    shell: bool = False,
    env: Mapping[str, str] | None = None,
) -> RunnerSandbox:
    """A sandbox that is not started yet: ``with new_sandbox() as box: box.exec("make test")``.

    Args:
        backend: ``docker`` or ``bubblewrap``; '' takes Docker where an engine answers, else bubblewrap.
        image: Docker's image.
        root: bubblewrap's system folder; this machine's ``/usr`` when None.
        limits: upper bounds; the defaults of `Limits` when None.
        workdir: the working folder.
        seed: a folder of the image that is copied into the working folder.
        shell: one persistent bash for all string commands.
        env: further environment variables for all commands.

    Raises:
        UsageError: the back-end asked for, or any, is not here; says what to install. Nothing ever runs on the host.
    """
    if backend not in ("", *BACKENDS):
        raise UnknownName("sandbox back-end", backend, BACKENDS)
    session = Session(limits or Limits(), workdir, seed, shell, env)
    refusals = {}
    for name, refusal in (("docker", docker.refusal), ("bubblewrap", bubblewrap.refusal)):
        if backend in ("", name):
            refusals[name] = refusal()
            if not refusals[name]:
                return docker.Docker(session, image) if name == "docker" else bubblewrap.Bubblewrap(session, root)
    raise UsageError("no sandbox can be made here, and nothing runs without one: " + "; ".join(refusals.values()))
