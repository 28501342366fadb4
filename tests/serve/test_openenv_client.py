"""OpenEnv's own client, as its users have it, plays on our server to the end of an episode.

The release is 0.2.0, the last whose client can be imported without fastmcp; 0.3.0 sends the same messages. It is
installed into a folder of this test, and runs in a process that has nothing to do with us but the address.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import gymnasium
import pytest

import agentgym  # noqa: F401  (registers the ids)
from tests.serve.servers import ROOT, serving

ID = "agentgym/Grid-DoorKey-5x5-v0"
PACKAGES = ("openenv-core==0.2.0", "fastapi==0.165.0", "annotated-doc==0.0.7", "opentelemetry-api==1.45.2")
"""The client, and what its package imports beside what is installed for our tests already."""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, need: Callable[[object, str, str], None]) -> Callable[..., Any]:
    """Runs the client's program and reads what it was told."""
    folder = tmp_path_factory.mktemp("openenv")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-compile"]
    done = subprocess.run([*pip, "--no-deps", "--target", str(folder), *PACKAGES], capture_output=True, text=True)
    need(done.returncode == 0, "OpenEnv's client", f"a package index that has it ({done.stderr.strip()[-300:]})")

    def run(url: str, actions: list[str]) -> Any:
        words = [sys.executable, str(ROOT / "tests/serve/openenv_client.py"), url, ID, json.dumps(actions)]
        environment = {**os.environ, "PYTHONPATH": str(folder)}
        told = subprocess.run(words, env=environment, capture_output=True, text=True, cwd=folder, timeout=120)
        assert told.returncode == 0, told.stderr
        return json.loads(told.stdout)

    return run


@pytest.mark.slow
@pytest.mark.network
def test_its_client_plays_an_episode_as_it_is_at_home(client: Callable[..., Any]) -> None:
    home: Any = gymnasium.make(ID, view="memory").unwrapped
    first, info = home.reset(seed=3)
    actions, steps = [], []
    script = home.oracle()
    action = next(script)
    while True:
        actions.append(action)
        steps.append(home.step(action))
        if steps[-1][2]:
            break
        action = script.send(steps[-1][0])

    with serving(ID) as url:
        told = client(url, actions)

    observation, reward, done = told["began"]
    assert (observation["observation"], reward, done) == (first, None, False)
    assert observation["info"]["process"] == info["process"]
    for (observation, reward, done), step in zip(told["steps"], steps, strict=True):
        assert (observation["observation"], reward, done) == (step[0], step[1], step[2] or step[3])
        assert observation["info"]["process"] == step[4]["process"]
    assert told["steps"][-1][1:] == [1.0, True]
    assert told["state"] == {"episode_id": "mine", "step_count": len(actions), "env": ID}
    assert "the episode is over" in told["refused"]
    assert told["again"] == first
