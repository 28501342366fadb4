"""Episodes among faults: sandboxes killed, disks full, floods of output, commands that hang. None is lost or stays."""

from __future__ import annotations

import os
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from agentgym.env import ProcessEnv
from agentgym.envs.swe.actions import call
from agentgym.envs.swe.make import smoke_env
from agentgym.envs.swe.state import RepoState
from agentgym.errors import WorldError

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


def episode(env: ProcessEnv[RepoState], seed: int, fault: str) -> str:
    """Play the oracle with one fault on the way; how it ended."""
    env.reset(seed=seed)
    script = env.oracle()
    assert script is not None
    action = next(script)
    try:
        for step in range(20):
            if step == 2:
                env.step(call("bash", command=FAULTS[fault]))
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


def play(backend: str, episodes: int) -> Counter[tuple[str, str]]:
    rng = np.random.default_rng(0)
    env = smoke_env(backend=backend, seconds=1.0)
    try:
        chosen = [list(FAULTS)[int(k)] for k in rng.integers(len(FAULTS), size=episodes)]
        return Counter((fault, episode(env, seed, fault)) for seed, fault in enumerate(chosen))
    finally:
        env.close()


def judge(found: Counter[tuple[str, str]], episodes: int) -> None:
    assert sum(found.values()) == episodes
    for fault, end in found:
        if fault in ("killed", "grader-killed"):
            assert end in ("error", "success"), (fault, end)  # a grader that is not there yet cannot be killed
        else:
            assert end == "success", (fault, end)
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
