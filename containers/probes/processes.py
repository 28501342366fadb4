"""Probes: processes that try to live on, and steps that try not to end."""

from __future__ import annotations

from agentgym.containers.probes.probe import COUNT, Host, Seen, probe, python
from agentgym.containers.sandbox import RunnerSandbox

_BEAT = "while :; do date >> beat; sleep 0.02; done"


def _survives(box: RunnerSandbox, start: str, seconds: float | None = None) -> Seen:
    """Start something that writes a file again and again; does it still, when its step has ended?

    The control: within its own step, it did write.
    """
    box.put("beat.sh", _BEAT.encode())
    first = box.exec(
        f"rm -f beat; {start}\nfor i in $(seq 200); do [ -s beat ] && break; sleep 0.02; done", seconds=seconds
    )
    wrote = box.exec("stat -c %s beat").out.text
    later = box.exec("sleep 0.2; stat -c %s beat").out.text
    alive = box.exec(COUNT).out.text.strip()
    words = f"killed {first.killed}, cut {first.cut!r}, processes afterwards: {alive}"
    return Seen(wrote == later and alive == "2", bool(wrote.strip()) and (first.killed > 0 or bool(first.cut)), words)


@probe("live-background", "live on in the background")
def background(box: RunnerSandbox, host: Host) -> Seen:
    return _survives(box, "sh beat.sh &")


@probe("live-nohup", "live on under nohup, without its output")
def nohup(box: RunnerSandbox, host: Host) -> Seen:
    return _survives(box, "nohup sh beat.sh >/dev/null 2>&1 &\ndisown 2>/dev/null")


@probe("live-setsid", "live on in a session of its own")
def setsid(box: RunnerSandbox, host: Host) -> Seen:
    return _survives(box, "setsid sh beat.sh >/dev/null 2>&1 </dev/null &")


_DAEMON = """python3 - <<'P'
import os
for _ in range(2):
    if os.fork():
        os._exit(0)
    os.setsid()
os.execvp("sh", ["sh", "beat.sh"])
P"""


@probe("live-daemon", "live on as a daemon, forked twice")
def daemon(box: RunnerSandbox, host: Host) -> Seen:
    return _survives(box, _DAEMON)


@probe("live-signals", "live on by ignoring all signals")
def ignoring(box: RunnerSandbox, host: Host) -> Seen:
    return _survives(box, "(trap '' TERM INT HUP QUIT PIPE USR1 USR2 ALRM; exec sh beat.sh) &")


@probe("live-timeout", "live on when the step ran out of time")
def timeout(box: RunnerSandbox, host: Host) -> Seen:
    seen = _survives(box, "setsid sh beat.sh & sh beat.sh & sleep 100", seconds=1.5)
    return Seen(seen.held, seen.control and "cut 'time'" in seen.words, seen.words)


@probe("live-forks", "outrun the killing by forking all the time")
def forks(box: RunnerSandbox, host: Host) -> Seen:
    code = """
import os
open("began", "w").close()
for _ in range(8):
    if os.fork() == 0:
        while True:
            try:
                if os.fork():
                    os._exit(0)
            except OSError:
                pass
"""
    box.put("chain.py", code.encode())
    result = box.exec("python3 chain.py; sleep 0.3", seconds=5)
    alive = box.exec(COUNT).out.text.strip()
    return Seen(alive == "2", result.killed > 0, f"killed {result.killed}, processes afterwards: {alive}")


@probe("live-stopped", "keep the step open by stopped processes and held outputs")
def stopped(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("sleep 100 & kill -STOP $!; (setsid sleep 100 &) ; echo end", seconds=10)
    held = result.cut == "" and result.seconds < 5 and result.out.text == "end\n"
    return Seen(held, result.killed == 2, f"killed {result.killed} after {result.seconds:.2f} s")


@probe("step-stdin", "wait for input that never comes")
def stdin(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("cat; read x; python3 -c 'input()'; echo end", seconds=10)
    control = box.exec("cat", stdin=b"given").out.text
    return Seen(result.out.text == "end\n" and not result.cut, control == "given", f"after {result.seconds:.2f} s")


@probe("step-time", "run without end, in one process and in many")
def endless(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("for i in 1 2 3 4; do (while :; do :; done) & done; while :; do :; done", seconds=1)
    short = box.exec("for i in 1 2 3; do :; done; echo end", seconds=5)
    return Seen(result.cut == "time" and result.seconds < 6, short.out.text == "end\n", f"{result.seconds:.2f} s")


@probe("step-closed", "confuse the runner by closing outputs and changing its pipes")
def closed(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("exec >&- 2>&- <&-; sleep 0.2; exit 7", seconds=5)
    blocked = python(box, "import fcntl; fcntl.fcntl(1, 4, 0); os.set_blocking(1, True); print('x' * 100000)")
    return Seen(result.code == 7 and not result.cut, blocked.out.total == 100001, f"code {result.code}")


@probe("step-forge", "answer in the runner's place, through any descriptor")
def forge(box: RunnerSandbox, host: Host) -> Seen:
    code = """
frame = struct.pack("!II", 11, 0) + b'{"id": 9e9}'
for fd in range(256):
    attempt(os.write, fd, frame)
for fd in os.listdir("/proc/self/fd"):
    attempt(lambda: os.write(os.open("/proc/self/fd/" + fd, os.O_WRONLY), frame))
for fd in range(64):
    attempt(lambda: os.write(os.open(f"/proc/1/fd/{fd}", os.O_WRONLY), frame))
"""
    result = python(box, code)
    again = box.exec("echo on").out.text
    return Seen(again == "on\n", b"9e9" in result.out.head, f"then: {again!r}")


@probe("step-exit", "forge an exit code, or end by a signal unnoticed")
def exit_code(box: RunnerSandbox, host: Host) -> Seen:
    codes = [box.exec(line).code for line in ("exit 3", "kill -9 $$", "kill -SEGV $$", "exec false", "nosuchprogram")]
    return Seen(codes == [3, -9, -11, 1, 127], box.exec("true").code == 0, f"{codes}")
