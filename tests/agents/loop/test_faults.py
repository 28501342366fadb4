"""A world that breaks, hangs, dies or answers late ends its own episode as an error, loudly, and nothing else."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentgym.agents.loop import Collector, Rollouts, collect
from agentgym.errors import UsageError, WorldError
from tests.agents.loop.worlds import FRAGILE, RELEASE, FragileWorld, Walker, jobs, register_worlds

register_worlds()

RAISING = {
    "reset": "RuntimeError in reset: no reset today",
    "step": "ValueError in step: the step went wrong",
    "world": "WorldError in step: the place is gone",
}
WAYS: dict[str, dict[str, Any]] = {
    "here": {"slots": 4},
    "threads": {"workers": 4, "isolation": "thread"},
    "processes": {"workers": 4},
    "deterministic": {"workers": 4, "deterministic": True},
}


@pytest.fixture(scope="module")
def healthy() -> Rollouts:
    return collect(Walker(), jobs(12))


@pytest.fixture(autouse=True)
def held_steps_return() -> Iterator[None]:
    RELEASE.clear()
    yield
    RELEASE.set()


def check_one_lost(found: Rollouts, healthy: Rollouts, lost: int, steps: int, error: str) -> None:
    """Episode ``lost`` is an error after ``steps`` steps, and all others are as if nothing had happened."""
    assert set(found.errors) == {lost}
    assert error in found.errors[lost]
    table = found.steps.trajectories
    assert table.id.tolist() == healthy.steps.trajectories.id.tolist()
    assert table.status.tolist() == ["error" if k == lost else "ok" for k in table.id]
    assert table.error[lost] == found.errors[lost]
    assert (table.env[lost], table.seed[lost], table.outcome[lost], table.success[lost]) == (FRAGILE, lost, 0.0, False)
    # its steps so far are there, and they are those of the healthy episode; so are its tokens
    mine, full = found.steps.only([lost]), healthy.steps.only([lost])
    assert len(mine) == steps
    np.testing.assert_array_equal(mine.next_anchor, full.next_anchor[:steps])
    assert len(list(found.tokens.only([lost]).steps())) == steps
    others = np.delete(table.id, lost)
    a, b = found.steps.only(others), healthy.steps.only(others)
    for name in a.columns().keys() - {"duration"}:
        np.testing.assert_array_equal(a.columns()[name], b.columns()[name])
    np.testing.assert_array_equal(found.tokens.only(others).id, healthy.tokens.only(others).id)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", RAISING)
def test_an_exception_ends_its_episode_alone(
    way: str, kind: str, healthy: Rollouts, caplog: pytest.LogCaptureFixture
) -> None:
    policy = Walker()
    with caplog.at_level(logging.WARNING, "agentgym.loop"):
        found = collect(policy, jobs(12, kwargs={"faults": {5: kind}}), **WAYS[way])
    check_one_lost(found, healthy, 5, 0 if kind == "reset" else 1, RAISING[kind])
    assert sorted(policy.ended) == list(range(12))
    (warning,) = [r.getMessage() for r in caplog.records]
    assert warning.startswith(f"episode 5 ({FRAGILE}, seed 5) broke at step ")
    assert warning.endswith(RAISING[kind])


@pytest.mark.parametrize("way", ["processes", "deterministic"])
@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("exit", "WorldError: the worker process died (exit code 3)"),
        ("hang", "WorldTimeout: step did not answer within 1 s"),
        ("unpicklable", "in sending the reply"),
    ],
)
def test_a_process_that_dies_hangs_or_cannot_say_is_replaced(
    way: str, kind: str, error: str, healthy: Rollouts
) -> None:
    found = collect(Walker(), jobs(12, kwargs={"faults": {5: kind}}), step_timeout=1.0, **WAYS[way])
    check_one_lost(found, healthy, 5, 1, error)


@pytest.mark.parametrize("way", ["here", "threads"])
@pytest.mark.parametrize("kind", ["hold", "hang"])
def test_a_thread_that_hangs_is_given_up_and_the_others_play_on(way: str, kind: str, healthy: Rollouts) -> None:
    """Also without workers: the thread that steps all environments is replaced, and the next one goes on."""
    before = threading.active_count()
    with Collector(step_timeout=0.5, **WAYS[way]) as collector:
        found = collector.collect(Walker(), jobs(12, kwargs={"faults": {5: kind}}))
        check_one_lost(found, healthy, 5, 1, "WorldTimeout: step did not answer within 0.5 s")
        # a loop in Python can be interrupted; one that waits for something has to be left waiting
        assert collector.left_behind == 1 if kind == "hold" else collector.left_behind <= 1
        RELEASE.set()
        wait_until(lambda: collector.left_behind == 0)
        again = collector.collect(Walker(), jobs(12))
    np.testing.assert_array_equal(again.steps.next_anchor, healthy.steps.next_anchor)
    wait_until(lambda: threading.active_count() == before)


@pytest.mark.parametrize("how", [{"slots": 4}, {"workers": 4, "isolation": "thread"}])
def test_a_run_whose_steps_all_hang_ends_with_advice(how: dict[str, Any]) -> None:
    """Hanging threads cannot be killed: after sixteen the run says so instead of piling up more."""
    faults = dict.fromkeys(range(40), "hold")
    with (
        Collector(step_timeout=0.05, **how) as collector,
        pytest.raises(WorldError, match=r"\d\d environments hang in threads .*workers=N with isolation='process'"),
    ):
        collector.collect(Walker(), jobs(40, kwargs={"faults": faults}))
    RELEASE.set()
    wait_until(lambda: collector.left_behind == 0)


def test_without_time_outs_environments_are_stepped_in_the_calling_thread(
    healthy: Rollouts, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: set[str] = set()
    act = FragileWorld.act
    monkeypatch.setattr(
        FragileWorld, "act", lambda self, action: where.add(threading.current_thread().name) or act(self, action)
    )
    found = collect(Walker(), jobs(12), step_timeout=None)
    np.testing.assert_array_equal(found.steps.next_anchor, healthy.steps.next_anchor)
    assert where == {threading.current_thread().name}
    where.clear()
    collect(Walker(), jobs(2))
    assert where == {"agentgym-hand"}
    with pytest.raises(UsageError, match=r"step_timeout=None .* got workers=2"):
        Collector(workers=2, step_timeout=None)


def test_a_late_reply_is_nobodys(healthy: Rollouts) -> None:
    """The held step of episode 2 returns while later episodes play in its slot."""
    told: list[int] = []

    def release(ended: Any) -> None:
        told.append(ended.job.trajectory)
        if ended.error:
            RELEASE.set()

    found = collect(
        Walker(),
        jobs(12, kwargs={"faults": {2: "hold"}}),
        workers=2,
        isolation="thread",
        step_timeout=0.5,
        on_episode=release,
    )
    check_one_lost(found, healthy, 2, 1, "WorldTimeout: step did not answer within 0.5 s")
    assert sorted(told) == list(range(12))


def test_a_thread_left_behind_closes_its_environment_when_it_returns(tmp_path: Path) -> None:
    log = tmp_path / "closed"
    before = threading.active_count()
    with Collector(workers=2, isolation="thread", step_timeout=0.3) as collector:
        found = collector.collect(Walker(), jobs(6, kwargs={"faults": {0: "hold"}, "close_log": str(log)}))
    assert set(found.errors) == {0}
    closed_meanwhile = log.read_text().count("closed")
    assert threading.active_count() == before + 1
    RELEASE.set()
    wait_until(lambda: threading.active_count() == before)
    assert log.read_text().count("closed") == closed_meanwhile + 1


def test_a_slow_one_holds_nobody_up() -> None:
    """Episode 0 takes a second for one step; all the others are over by then."""
    order: list[int] = []
    collect(
        Walker(),
        jobs(30, kwargs={"faults": {0: "sleep:1"}}),
        workers=4,
        isolation="thread",
        on_episode=lambda e: order.append(e.job.trajectory),
    )
    assert order[-1] == 0


@pytest.mark.parametrize("way", ["here", "threads", "processes"])
def test_the_broken_environment_is_closed_and_another_made(way: str, tmp_path: Path) -> None:
    log = tmp_path / "closed"
    how: dict[str, Any] = {k: v if k == "isolation" else 1 for k, v in WAYS[way].items()}
    with Collector(**how) as collector:
        collector.collect(Walker(), jobs(6, kwargs={"faults": {2: "step", 4: "reset"}, "close_log": str(log)}))
        assert log.read_text().count("closed") == 2
    assert log.read_text().count("closed") == 3


@pytest.mark.parametrize("way", ["here", "threads", "processes"])
def test_an_environment_that_cannot_be_made_is_an_error_too(way: str) -> None:
    found = collect(Walker(), jobs(3, kwargs={"fail_to_make": "no disk"}), **WAYS[way])
    assert set(found.errors.values()) == {"RuntimeError in reset: no disk"}


def test_a_reward_that_is_no_number_is_an_error() -> None:
    found = collect(Walker(), jobs(3, kwargs={"faults": {1: "nan"}}))
    assert found.errors == {1: "TaskError in step: the reward must be finite, got nan"}


def test_a_hanging_process_takes_what_it_started_with_it() -> None:
    found = collect(Walker(), jobs(2, kwargs={"faults": {0: "child"}}), workers=2, step_timeout=1.0)
    assert set(found.errors) == {0}
    wait_until(lambda: not [c for c in command_lines().values() if "toy-grandchild" in c])


@pytest.mark.parametrize("workers", [0, 2])
def test_a_refusal_leaves_nothing_behind(workers: int) -> None:
    before = Held()
    with pytest.raises(UsageError):
        collect(Walker(), jobs(4, kwargs={"wings": 1}), workers=workers)
    assert before.more() == []


@pytest.mark.slow
def test_nothing_is_left_after_a_thousand_episodes_with_faults() -> None:
    """Neither a process, nor a thread, nor a file descriptor; and the table tells of every episode."""
    collect(Walker(), jobs(1), workers=1)  # multiprocessing's own helpers start once and stay
    before = Held()
    kinds = ["reset", "step", "world", "exit", "hang", "sleep:2.5", "unpicklable"]
    faults = {k: kinds[k // 20 % len(kinds)] for k in range(0, 1000, 20)}
    ways: list[dict[str, Any]] = [{"workers": 8}, {"slots": 8}]
    for way in ways:
        # a process that exits, or cannot send, is the caller's own when there are no workers
        mine = {k: v for k, v in faults.items() if way == {"workers": 8} or v not in ("exit", "unpicklable")}
        with Collector(step_timeout=1.5, **way) as collector:
            found = Rollouts.concat(
                [collector.collect(Walker(), jobs(250, first=k, kwargs={"faults": mine})) for k in range(0, 1000, 250)]
            )
        assert set(found.errors) == set(mine)
        assert found.steps.trajectories.id.tolist() == list(range(1000))
        assert len(list(found.tokens.steps())) == len(found.steps)
        wait_until(lambda: not before.more())  # a thread that was given up in its sleep closes its environment first


@pytest.mark.parametrize("workers", [0, 2])
def test_an_interrupt_closes_everything_at_once(workers: int, tmp_path: Path) -> None:
    """Ctrl-C while environments sleep: the program ends with KeyboardInterrupt and nothing of it lives on."""
    script = tmp_path / "run.py"
    script.write_text(
        textwrap.dedent(
            f"""
            from tests.agents.loop.worlds import Walker, jobs, register_worlds
            from agentgym.agents.loop import Collector
            if __name__ == "__main__":
                register_worlds()
                faults = {{1: "sleep:600"}}
                tell = lambda ended: print("playing", flush=True)
                with Collector(slots=2, workers={workers}) as collector:
                    collector.collect(Walker(), jobs(2, kwargs={{"faults": faults}}), on_episode=tell)
            """
        )
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    program = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ
    )
    assert program.stdout is not None
    if workers:
        assert program.stdout.readline() == "playing\n"
    else:  # one thread plays both: wait until it sleeps in the step of episode 1
        tasks = Path(f"/proc/{program.pid}/task")
        wait_until(lambda: any("nanosleep" in p.read_text() for p in tasks.glob("*/wchan")), seconds=30)
    family = descendants(program.pid)
    program.send_signal(signal.SIGINT)
    _, stderr = program.communicate(timeout=30)
    assert "KeyboardInterrupt" in stderr
    assert program.returncode != 0
    wait_until(lambda: not [pid for pid in family if alive(pid)])


def test_workers_end_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "run.py"
    log = tmp_path / "closed"
    script.write_text(
        textwrap.dedent(
            f"""
            import os, signal
            from tests.agents.loop.worlds import Walker, jobs, register_worlds
            from agentgym.agents.loop import Collector
            if __name__ == "__main__":
                register_worlds()
                collector = Collector(workers=2)
                collector.collect(Walker(), jobs(4, kwargs={{"close_log": {str(log)!r}}}))
                os.kill(os.getpid(), signal.SIGKILL)
            """
        )
    )
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    done = subprocess.run([sys.executable, str(script)], env=environ, timeout=60)
    assert done.returncode == -signal.SIGKILL
    wait_until(lambda: log.exists() and log.read_text().count("closed") == 2)


def run_script(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Run a program that has no ``__main__`` guard: workers must not run it again."""
    script = folder / "run.py"
    script.write_text(textwrap.dedent(text))
    environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])}
    return subprocess.run([sys.executable, str(script)], env=environ, timeout=60, capture_output=True, text=True)


def test_a_collector_left_open_does_not_keep_the_program_from_ending(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        from tests.agents.loop.worlds import Walker, jobs, register_worlds
        from agentgym.agents.loop import Collector
        register_worlds()
        collector = Collector(workers=2)
        print(len(collector.collect(Walker(), jobs(4)).steps.trajectories))
        """,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "4\n", "")


def test_an_environment_of_the_main_program_works_in_threads_and_is_refused_in_processes(tmp_path: Path) -> None:
    done = run_script(
        tmp_path,
        """
        import gymnasium
        from tests.agents.loop.worlds import Walker, jobs, make_fragile
        from agentgym.agents.loop import collect
        from agentgym.errors import UsageError, WorldError

        def make():
            return make_fragile()

        gymnasium.register("mine/Own-v0", entry_point=make)
        assert not collect(Walker(), jobs(2, env="mine/Own-v0"), workers=2, isolation="thread").errors
        try:
            collect(Walker(), jobs(2, env="mine/Own-v0"), workers=2)
        except UsageError as error:
            print(error)
        """,
    )
    assert done.returncode == 0, done.stderr
    assert "not defined in the main program" in done.stdout


# ---------------------------------------------------------------------- what a process holds, from /proc


def command_lines() -> dict[int, str]:
    lines = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            lines[int(path.parent.name)] = path.read_text().replace("\0", " ")
        except OSError:  # it ended meanwhile
            continue
    return lines


def parents() -> dict[int, int]:
    found = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = path.read_text().rpartition(")")[2].split()[:2]
        except OSError:
            continue
        if state != "Z":
            found[int(path.parent.name)] = int(parent)
    return found


def descendants(pid: int) -> set[int]:
    family, tree = {pid}, parents()
    while more := {child for child, parent in tree.items() if parent in family} - family:
        family |= more
    return family - {pid}


def alive(pid: int) -> bool:
    return pid in parents()


class Held:
    """What this process holds: open file descriptors (their number), threads, descendant processes.

    What earlier tests left may end in the meantime, so `more` tells what is there now and was not before.
    """

    def __init__(self) -> None:
        self.descriptors = len(os.listdir("/proc/self/fd"))
        self.threads = set(threading.enumerate())
        self.processes = set(descendants(os.getpid()))

    def more(self) -> list[str]:
        now = Held()
        found = [f"{now.descriptors - self.descriptors} descriptors"] if now.descriptors > self.descriptors else []
        found += [f"thread {thread.name}" for thread in now.threads - self.threads]
        return found + [f"process {pid}" for pid in now.processes - self.processes]


def wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)
