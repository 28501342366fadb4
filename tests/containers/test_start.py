"""How a sandbox begins: the runner is sent as code or as text, the network is one that the engine knows of or none."""

from __future__ import annotations

import os

import pytest

from agentgym.containers import docker, new_sandbox, sandbox
from tests.containers.conftest import Make, Need, ask_for

LOOPBACK = """
import os, socket
server = socket.create_server(("localhost", 0))
socket.create_connection(("localhost", server.getsockname()[1]), 3)
print(os.listdir("/sys/class/net"), os.readlink("/proc/self/ns/net"))
"""


def test_another_python_is_sent_text(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAGIC_NUMBER", b"none")
    sandbox._boot_data.cache_clear()
    try:
        assert make().exec("echo begun").out.text == "begun\n"
    finally:
        sandbox._boot_data.cache_clear()


@pytest.mark.parametrize("label", [docker.KNOWS_LOCALHOST, "of-no-image"])
def test_nothing_but_a_loopback_of_its_own(need: Need, label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ask_for(need, "docker")
    monkeypatch.setattr(docker, "KNOWS_LOCALHOST", label)
    seen = {os.readlink("/proc/self/ns/net")}
    with new_sandbox("docker") as one, new_sandbox("docker") as other:
        disabled = docker.client().inspect_container(one.name)["Config"].get("NetworkDisabled", False)
        assert disabled == (label != "of-no-image")
        for box in (one, other):
            names, _, space = box.exec(["python3", "-c", LOOPBACK]).out.text.strip().rpartition(" ")
            assert names == "['lo']"
            seen.add(space)
    assert len(seen) == 3
