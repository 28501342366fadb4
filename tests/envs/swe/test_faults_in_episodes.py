"""Episodes among faults: sandboxes killed, disks full, floods of output, commands that hang, engines killed and started
again. None is lost or stays."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agentgym.containers import docker
from agentgym.env import ProcessEnv
from agentgym.envs.swe.actions import call
from agentgym.envs.swe.make import smoke_env
from agentgym.envs.swe.state import RepoState
from agentgym.errors import WorldError
from tests.containers.conftest import Need
from tests.containers.engine import own_engine

FAULTS = {
    "none": "true",
    "disk": "head -c 400000000 /dev/zero > full; head -c 200000000 /dev/zero > /tmp/full; true",
    "flood": "yes | head -c 100000000",
    "hang": "sleep 1000 & cat /dev/zero > /dev/null",
    "bomb": "python3 -c 'import os\nwhile True:\n  try: os.fork()\n  except OSError: pass'",
    "suicide": "kill -9 -1; kill -9 1",
    "killed": "true",
    "grader-killed": "true",
}
RESTARTED = "engine-restarted"
EVERY = 20
"""Of so many episodes, one meets the engine's own fault, where there is an engine that may be killed."""


def episode(env: ProcessEnv[RepoState], seed: int, fault: str, restart: Callable[[], None] | None) -> str:
    """Play the oracle with one fault on the way; how it ended."""
    env.reset(seed=seed)
    script = env.oracle()
    assert script is not None
    action = next(script)
    try:
        for step in range(20):
            if step == 2:
                if fault == RESTARTED:
                    assert restart is not None
                    restart()
                env.step(call("bash", command=FAULTS.get(fault, "true")))
                if fault == "disk":
                    env.step(call("bash", command="rm -f full /tmp/full"))
                if fault == "killed":
                    env.world.desk.alive._end()  # type: ignore[attr-defined]
                if fault == "grader-killed":
                    for warm in env.world.grader._warm.values():  # type: ignore[attr-defined]
                        if warm.box is not None:
                            warm.box._end()
            observation, _, done, truncated, info = env.step(action)
            if done or truncated:
                return "success" if info["success"] else "failure"
            action = script.send(observation)
    except WorldError:
        return "error"
    raise AssertionError("the episode has no end")


def left_behind() -> list[str]:
    """Sandboxes of this process that are still there."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and entry.name != str(os.getpid()):
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent == str(os.getpid()) and any(w.endswith((b"bwrap", b"setpriv")) for w in words[:1]):
                found.append(words[0].decode())
    listed = subprocess.run(
        ["docker", "ps", "-aq", "--filter", f"name=agentgym-{os.getpid()}-"],
        capture_output=True,
        text=True,
        check=False,
    )
    return found + listed.stdout.split()


def play(backend: str, episodes: int, restart: Callable[[], None] | None = None) -> Counter[tuple[str, str]]:
    """So many episodes, each with a fault that is drawn; with `restart` the engine's own in the middle of every few."""
    rng = np.random.default_rng(0)
    env = smoke_env(backend=backend, seconds=1.0)
    found: Counter[tuple[str, str]] = Counter()
    try:
        for seed, drawn in enumerate(rng.integers(len(FAULTS), size=episodes)):
            engine = restart is not None and seed % EVERY == min(EVERY, episodes) // 2
            fault = RESTARTED if engine else list(FAULTS)[int(drawn)]
            found[fault, episode(env, seed, fault, restart)] += 1
    finally:
        env.close()
    return found


def judge(found: Counter[tuple[str, str]], episodes: int) -> None:
    assert sum(found.values()) == episodes
    for fault, end in found:
        # A grader that is lost between two checks is made anew; the agent's own sandbox cannot be.
        assert end == ("error" if fault in ("killed", RESTARTED) else "success"), (fault, end)
    assert left_behind() == []


def test_sixteen_episodes_with_faults(wrap: str) -> None:
    judge(play(wrap, 16), 16)


@pytest.mark.slow
def test_many_episodes_with_faults(wrap: str) -> None:
    """Two hundred where AGENTGYM_FAULTED_EPISODES=200 says so (three minutes)."""
    episodes = int(os.environ.get("AGENTGYM_FAULTED_EPISODES", "32"))
    found = play(wrap, episodes)
    assert found["killed", "error"] > 0
    judge(found, episodes)


@pytest.mark.slow
def test_episodes_with_faults_in_docker(backend: str) -> None:
    judge(play(backend, 8), 8)


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_episodes_while_the_engine_is_killed_and_started_again(
    need: Need, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the episode in which it is killed is lost. Two hundred where AGENTGYM_FAULTED_EPISODES=200 says so."""
    episodes = int(os.environ.get("AGENTGYM_FAULTED_EPISODES", "6"))
    with own_engine(need, tmp_path_factory.mktemp("engine"), monkeypatch, "agentgym/swe") as engine:

        def restart() -> None:
            engine.end(signal.SIGKILL)
            engine.start()

        found = play("docker", episodes, restart)
        print(dict(found))
        assert found[RESTARTED, "error"] == len(range(min(EVERY, episodes) // 2, episodes, EVERY))
        judge(found, episodes)
        until = time.monotonic() + 60  # the engine clears away what it finds after its start
        while left := docker.client().containers(all=True):
            assert time.monotonic() < until, left
            time.sleep(0.1)
