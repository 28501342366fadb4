"""Whoever is killed, every episode is accounted for, and no process and no temporary folder stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from agentgym.agents.loop import Job, collect
from agentgym.agents.loop.types import Ended
from agentgym.agents.policy import RandomPolicy
from agentgym.envs.web import close_browsers
from agentgym.errors import WorldError
from tests.envs.web.pages import visit

PATIENCE = 60.0
others: set[int] = set()
"""What ran below this process before a test: another test's, like multiprocessing's resource tracker."""


def children(pid: int) -> set[int]:
    """The processes below one, crash handlers of Chromium aside (they follow their browser)."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            rest = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended meanwhile
        if rest[0] != "Z":
            parents.setdefault(int(rest[1]), []).append(int(stat.parent.name))
    found: set[int] = set()
    wave = [pid]
    while wave:
        wave = [child for parent in wave for child in parents.get(parent, [])]
        found.update(wave)
    return found


def browsers(pid: int) -> list[int]:
    """Chromium's main processes below a process: those that have a profile and no type."""
    mains = []
    for child in children(pid):
        try:
            line = Path(f"/proc/{child}/cmdline").read_bytes()
        except OSError:
            continue
        if b"--user-data-dir" in line and b"--type=" not in line:
            mains.append(child)
    return mains


def until(condition: object, what: str) -> None:
    """Wait for something that comes in its own time."""
    end = time.monotonic() + PATIENCE
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.1)


@pytest.fixture
def folder(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Nothing of earlier tests is running, and what browsers put aside from now on lies in here.

    Its name is short: Chromium makes a socket in there, and the path of a socket has at most 107 bytes.
    """
    close_browsers()
    until(lambda: not browsers(os.getpid()), "the browser of the tests before is still there")
    others.clear()
    others.update(children(os.getpid()))
    with tempfile.TemporaryDirectory(prefix="kill-") as name:
        monkeypatch.setenv("TMPDIR", name)
        yield Path(name)


def left(folder: Path) -> list[str]:
    """What lies there still."""
    return [path.name for path in folder.iterdir()]


def check_nothing_stays(folder: Path) -> None:
    """After `close_browsers`, neither a process nor a folder."""
    assert left(folder), "the browser had its folders here"
    close_browsers()
    until(lambda: not children(os.getpid()) - others, "processes stay")
    until(lambda: not left(folder), f"folders stay: {left(folder)}")


def test_a_killed_browser_ends_its_episodes_and_the_next_reset_has_a_new_one(folder: Path) -> None:
    one, other = (gymnasium.make("agentgym/MiniWoB-login-user-v0") for _ in range(2))
    first = one.reset(seed=3)[0]
    other.reset(seed=3)
    (main,) = browsers(os.getpid())
    os.kill(main, signal.SIGKILL)
    for env in (one, other):
        with pytest.raises(WorldError):
            env.step("click('1')")
        with pytest.raises(gymnasium.error.ResetNeeded):
            env.step("noop()")
    assert one.reset(seed=3)[0] == first, "the same episode, in another browser"
    assert other.reset(seed=3)[0] == first
    assert one.step("noop()")[-1]["error"] == ""
    one.close()
    other.close()
    check_nothing_stays(folder)


def test_a_crashed_page_ends_its_episode_alone(folder: Path) -> None:
    one, other = visit("<p>one</p>"), visit("<p>other</p>")
    tab = one.world._session.active  # type: ignore[attr-defined]
    one._wait(_crash(tab))
    with pytest.raises(WorldError, match=r"crashed|closed"):
        one.step("noop()")
    assert other.step("noop()")[-1]["error"] == ""
    one.reset(seed=0)
    assert one.step("noop()")[-1]["error"] == ""
    one.close()
    other.close()
    check_nothing_stays(folder)


async def _crash(tab: object) -> None:
    import asyncio

    asyncio.ensure_future(tab.cdp.send("Page.crash")).add_done_callback(lambda t: t.cancelled() or t.exception())  # type: ignore[attr-defined]
    await tab.dead  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_hundred_episodes_with_two_browsers_killed_are_all_accounted_for(folder: Path) -> None:
    ended: list[Ended] = []

    def watch(episode: Ended) -> None:
        ended.append(episode)
        if len(ended) in (30, 60):
            for main in browsers(os.getpid()):
                os.kill(main, signal.SIGKILL)

    ids = ("agentgym/MiniWoB-click-checkboxes-v0", "agentgym/MiniWoB-email-inbox-v0")
    kwargs = {"max_steps": 4, "admissible": True}
    jobs = [Job(ids[k % 2], seed=k, trajectory=k, kwargs=kwargs) for k in range(100)]
    found = collect(RandomPolicy(), jobs, seed=0, slots=4, on_episode=watch)
    table = found.steps.trajectories
    assert len(ended) == 100
    assert sorted(table.id.tolist()) == list(range(100))
    assert 1 <= len(found.errors) <= 8, found.errors
    assert {k for k, status in zip(table.id.tolist(), table.status.tolist(), strict=True) if status == "error"} == set(
        found.errors
    )
    check_nothing_stays(folder)


@pytest.mark.parametrize("end", ["SIGKILL", "SIGTERM", "exit", "exception"])
def test_a_process_that_ends_leaves_nothing(end: str, folder: Path) -> None:
    program = f"""
        import gymnasium, agentgym, sys
        env = gymnasium.make("agentgym/MiniWoB-click-test-v0")
        env.reset(seed=0)
        print("ready", flush=True)
        sys.stdin.readline()
        if {end!r} == "exception":
            raise RuntimeError("on purpose")
    """
    worker = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdin is not None
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    below = children(worker.pid)
    assert len(below) > 2
    assert left(folder)
    if end.startswith("SIG"):
        worker.send_signal(getattr(signal, end))
    else:
        worker.stdin.write("\n")
        worker.stdin.flush()
    worker.wait(PATIENCE)
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in below), f"of {below} some stay")
    until(lambda: not left(folder), f"folders stay: {left(folder)}")
