"""Whatever breaks, every step is accounted for, and nothing is left running on the host."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from agentgym.containers import MIB, Limits, Pool, docker, new_sandbox
from agentgym.containers.sandbox import RunnerSandbox
from agentgym.errors import UsageError, WorldError
from tests.containers.conftest import Make

SMALL = Limits(memory=160 * MIB, disk=32 * MIB, scratch=8 * MIB, pids=32, seconds=20, flood=8 * MIB)


def left_over(backend: str, owner: int) -> list[str]:
    """What sandboxes of a process have left on this machine: containers, processes, control groups."""
    mark = f"agentgym-{owner}-"
    if backend == "docker":
        listed = docker.client().containers(all=True, filters={"label": f"{docker.LABEL}={owner}"})
        return [name for c in listed for name in c["Names"]]
    groups = [str(p) for root in Path("/sys/fs/cgroup").iterdir() for p in root.glob(f"**/{mark}*")]
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words, status = path.read_bytes(), path.with_name("status").read_text()
        except OSError:
            continue  # it ended meanwhile
        if b"--disable-userns" in words and f"PPid:\t{owner}\n" in status:
            found.append(str(path.parent))
    return groups + found


def wait_for(nothing: Callable[[], object], seconds: float = 30) -> None:
    """Poll until what is asked for is empty."""
    until = time.monotonic() + seconds
    while found := nothing():
        assert time.monotonic() < until, found
        time.sleep(0.05)


def end_from_outside(box: RunnerSandbox) -> None:
    """What an administrator, or the kernel, may do to a sandbox."""
    if isinstance(box, docker.Docker):
        docker.client().kill(box._container)
    else:
        signal.pidfd_send_signal(box._pid1, signal.SIGKILL)  # type: ignore[attr-defined]


def test_a_sandbox_killed_between_steps_and_within_one(make: Make, backend: str) -> None:
    idle, busy = make(limits=SMALL), make(limits=SMALL)
    end_from_outside(idle)
    with pytest.raises(WorldError, match="lost"):
        idle.exec("true")
    threading.Timer(0.5, end_from_outside, [busy]).start()
    with pytest.raises(WorldError, match="lost"):
        busy.exec("sleep 100")
    with pytest.raises(WorldError, match="gone"):
        busy.exec("true")
    wait_for(lambda: left_over(backend, os.getpid()))


def test_episodes_with_faults_are_all_accounted_for(backend: str) -> None:
    lines = {
        "fine": "echo fine",
        "flood": "yes",
        "full": "head -c 100000000 /dev/zero > f",
        "late": "sleep 100",
        "memory": "python3 -c \"x = b'x' * (1 << 30)\"",
        "daemon": "setsid -f sleep 100; echo fine",
        "killed": "sleep 100",
    }
    kinds = list(lines)
    seen: dict[str, int] = {}

    def episode(k: int) -> str:
        kind = kinds[k % len(kinds)]
        with new_sandbox(backend, limits=SMALL) as box:
            if kind == "killed":
                threading.Timer(0.2, end_from_outside, [box]).start()
            try:
                result = box.exec(lines[kind], seconds=0.5 if kind == "late" else 20)
            except WorldError:
                return "lost"
            after = box.exec("set -- /proc/[0-9]*; echo $#")
            assert after.out.text == "2\n"
            return result.cut or ("ok" if result.ok else "failed")

    with ThreadPoolExecutor(4) as threads:
        for answer in threads.map(episode, range(42)):
            seen[answer] = seen.get(answer, 0) + 1
    assert seen == {"ok": 12, "output": 6, "failed": 12, "time": 6, "lost": 6}
    wait_for(lambda: left_over(backend, os.getpid()))


@pytest.mark.slow
def test_thirty_two_at_once(backend: str) -> None:
    boxes = [new_sandbox(backend, limits=SMALL) for _ in range(32)]
    try:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda box: box.start(), boxes))
        with ThreadPoolExecutor(32) as threads:
            for _ in range(3):
                numbers = [
                    r.out.text for r in threads.map(lambda k: boxes[k].exec(f"echo {k} >> f; wc -l < f"), range(32))
                ]
        assert numbers == ["3\n"] * 32
        assert [box.get("f") for box in boxes] == [f"{k}\n".encode() * 3 for k in range(32)]
    finally:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda box: box.close(), boxes))
    wait_for(lambda: left_over(backend, os.getpid()))


def test_a_host_process_that_is_killed_leaves_nothing(backend: str, tmp_path: Path) -> None:
    script = tmp_path / "host.py"
    script.write_text(
        textwrap.dedent(f"""
        import os
        from agentgym.containers import Limits, new_sandbox
        box = new_sandbox({backend!r}).start()
        print("started", flush=True)
        box.exec("sleep 1000 & setsid sleep 1000 & sleep 1000")
        """)
    )
    process = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "started\n"
    pid = process.pid
    assert left_over(backend, pid)
    process.kill()
    process.wait()
    process.stdout.close()
    if backend == "docker":
        wait_for(lambda: left_over(backend, pid))
    else:
        # The control groups stay, empty: who would have removed them is dead. The next sandbox does.
        wait_for(lambda: _group_members(pid))
        with new_sandbox(backend) as box:
            assert box.exec("true").ok
        wait_for(lambda: left_over(backend, pid))


def _group_members(owner: int) -> list[str]:
    roots = Path("/sys/fs/cgroup").iterdir()
    files = [p / "cgroup.procs" for root in roots for p in root.glob(f"**/agentgym-{owner}-*")]
    return [line for file in files for line in file.read_text().split()]


def test_a_thread_that_ends_does_not_end_its_sandbox(backend: str) -> None:
    made: list[RunnerSandbox] = []
    thread = threading.Thread(target=lambda: made.append(new_sandbox(backend).start()))
    thread.start()
    thread.join()
    with made[0] as box:
        assert box.exec("echo on").out.text == "on\n"


def test_an_interrupted_request_ends_the_sandbox(make: Make) -> None:
    # The next answer would belong to the interrupted request: better none.
    box = make(limits=SMALL)
    threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    with pytest.raises(KeyboardInterrupt):
        box.exec("sleep 20")
    with pytest.raises(WorldError, match="interrupted"):
        box.exec("true")


def test_a_pool_keeps_fresh_ones_ready(backend: str) -> None:
    with Pool(lambda: new_sandbox(backend, limits=SMALL), 2, prepare=lambda box: box.put("given", b"x")) as pool:
        taken = [pool.take() for _ in range(3)]
        assert len({box.name for box in taken}) == 3
        for box in taken:
            assert box.exec("ls; echo > mine").out.text == "given\n"
            box.close()
    with pytest.raises(UsageError, match="closed"):
        pool.take()
    wait_for(lambda: left_over(backend, os.getpid()))


def test_a_pool_gives_none_that_was_lost_while_it_waited(backend: str) -> None:
    made: list[RunnerSandbox] = []
    ready = threading.Event()

    def seen(box: RunnerSandbox) -> None:
        made.append(box)
        ready.set()

    with Pool(lambda: new_sandbox(backend, limits=SMALL), 1, prepare=seen) as pool:
        assert ready.wait(60)
        end_from_outside(made[0])
        with pool.take() as box:
            assert box is not made[0]
            assert box.exec("ls -A").out.text == ""
    assert not made[0].answers()
    wait_for(lambda: left_over(backend, os.getpid()))


def test_a_pool_tries_again_what_failed_before(backend: str) -> None:
    tried: list[str] = []
    failed = threading.Event()

    def broken_once(box: RunnerSandbox) -> None:
        tried.append(box.name)
        if len(tried) == 1:
            failed.set()
            box.get("nowhere")

    with Pool(lambda: new_sandbox(backend, limits=SMALL), 1, prepare=broken_once) as pool:
        assert failed.wait(60)
        with pool.take() as box:
            assert box.exec("true").ok
            assert box.name != tried[0]
    wait_for(lambda: left_over(backend, os.getpid()))


def test_a_pool_tells_why_it_has_none(backend: str) -> None:
    def broken(box: RunnerSandbox) -> None:
        box.get("nowhere")

    with (
        Pool(lambda: new_sandbox(backend, limits=SMALL), 1, prepare=broken) as pool,
        pytest.raises(UsageError, match="nowhere"),
    ):
        pool.take()
    wait_for(lambda: left_over(backend, os.getpid()))
