"""A peer of the sandboxes, run by the interpreter of the peers' own environment (`benchmarks/sandbox.py` makes it).

``python sandbox.py PEER IMAGE`` starts a container by the peer's means and says ``ready``; each line on stdin is a
number of steps, answered by one JSON list of milliseconds. A step is the command ``true``.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import docker


def exec_run(image: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """The docker SDK's ``exec_run``."""
    container = docker.from_env().containers.run(image, ["sleep", "3600"], detach=True, network_mode="none", init=True)

    def step() -> None:
        code, _ = container.exec_run("true")
        assert code == 0

    return step, lambda: container.remove(force=True)


def mini(image: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """mini-swe-agent's Docker environment."""
    from minisweagent.environments.docker import DockerEnvironment

    env = DockerEnvironment(image=image, cwd="/work", run_args=["--rm", "--init", "--network", "none"])
    client = docker.from_env()

    def step() -> None:
        assert env.execute({"command": "true"})["returncode"] == 0

    return step, lambda: client.containers.get(env.container_id).remove(force=True)


def swerex(image: str) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """SWE-ReX's ``execute`` against its server in a container. Its packages are mounted from this environment."""
    from swerex.runtime.abstract import Command
    from swerex.runtime.config import RemoteRuntimeConfig
    from swerex.runtime.remote import RemoteRuntime

    packages = next(path for path in sys.path if path.endswith("site-packages"))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    container = docker.from_env().containers.run(
        image,
        ["python3", "-m", "swerex", "--host", "127.0.0.1", "--port", str(port), "--auth-token", "token"],
        detach=True,
        network_mode="host",
        init=True,
        volumes={str(Path(packages).resolve()): {"bind": "/peers", "mode": "ro"}},
        environment={"PYTHONPATH": "/peers", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    loop = asyncio.new_event_loop()
    runtime = RemoteRuntime.from_config(RemoteRuntimeConfig(host="http://127.0.0.1", port=port, auth_token="token"))
    try:
        loop.run_until_complete(runtime.wait_until_alive(timeout=60))
    except BaseException:
        print(container.logs().decode(), file=sys.stderr)
        container.remove(force=True)
        raise

    async def execute() -> None:
        answer = await runtime.execute(Command(command="true", shell=True))
        assert answer.exit_code == 0

    def run(make: Callable[[], Awaitable[None]]) -> None:
        loop.run_until_complete(make())

    return lambda: run(execute), lambda: container.remove(force=True)


PEERS = {"exec_run": exec_run, "mini": mini, "swerex_execute": swerex}


def main() -> None:
    step, end = PEERS[sys.argv[1]](sys.argv[2])
    try:
        step()
        print("ready", flush=True)
        for line in sys.stdin:
            taken = []
            for _ in range(int(line)):
                started = time.perf_counter()
                step()
                taken.append(1e3 * (time.perf_counter() - started))
            print(json.dumps(taken), flush=True)
    finally:
        end()


if __name__ == "__main__":
    main()
