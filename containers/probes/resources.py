"""Probes: using up what the machine has."""

from __future__ import annotations

from agentgym.containers.probes.probe import Host, Seen, probe, python
from agentgym.containers.sandbox import FileRefused, RunnerSandbox


@probe("use-forks", "a fork bomb")
def fork_bomb(box: RunnerSandbox, host: Host) -> Seen:
    code = """
import os, time
n = 0
try:
    while n < 5000:
        if os.fork() == 0:
            time.sleep(60)
            os._exit(0)
        n += 1
except OSError as error:
    print(error.errno)
print("made", n)
"""
    out = box.exec(["python3", "-c", code], seconds=20)
    made = int(out.out.text.split()[-1]) if "made" in out.out.text else -1
    bomb = box.exec("b() { b | b & }; b; sleep 0.5", seconds=20)
    return Seen(0 <= made <= box.limits.pids, made > 4 and bomb.killed > 0, f"{made} forks; bomb killed {bomb.killed}")


@probe("use-threads", "threads without number")
def threads(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
import threading
threading.stack_size(65536)
made = 0
try:
    for _ in range(5000):
        threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
        made += 1
except RuntimeError:
    pass
print("made", made, flush=True)
os._exit(0)
""",
    ).out.text
    made = int(out.split()[-1])
    return Seen(made <= box.limits.pids, made > 4, f"{made} threads")


@probe("use-memory", "allocate more than the limit")
def memory(box: RunnerSandbox, host: Host) -> Seen:
    code = "x = b'x' * ({n} << 20); print('got', len(x) >> 20)"
    most = box.limits.memory >> 20
    control = python(box, code.format(n=most // 4)).out.text
    result = python(box, code.format(n=2 * most))
    return Seen("got" not in result.out.text, "got" in control, f"twice the limit: code {result.code}; {control}")


@probe("use-memory-many", "allocate more than the limit in many processes together", needs="memory")
def memory_many(box: RunnerSandbox, host: Host) -> Seen:
    most = box.limits.memory >> 20
    code = f"""
ends = []
for k in range(8):
    end, other = os.pipe()
    if os.fork() == 0:
        x = b"x" * ({most // 4} << 20)
        os.write(other, b"x")
        time.sleep(60)
        os._exit(0)
    os.close(other)
    ends.append(end)
for end in ends:
    os.read(end, 1)  # it has its memory, or it has ended
ended = 0
while os.waitpid(-1, os.WNOHANG)[0]:
    ended += 1
print("alive", 8 - ended)
"""
    out = python(box, code).out.text
    alive = int(out.split()[-1])
    return Seen(alive <= 4, alive >= 1, f"{alive} of 8 processes live with a quarter of the limit each")


@probe("use-disk", "fill the working folder, /tmp and /dev/shm")
def disk(box: RunnerSandbox, host: Host) -> Seen:
    words, held, control = [], True, True
    for root in box.session.roots:
        most = box.limits.disk if root == box.session.workdir else box.limits.scratch
        fill = f"for i in $(seq 100); do head -c 4194304 /dev/zero > {root}/f$i || break; done"
        text = box.exec(f"{fill}; du -sb {root} | cut -f1; rm -f {root}/f*")
        used = int(text.out.text.split()[-1])
        held &= used <= most + (1 << 20)
        control &= used > most // 2
        words.append(f"{root}: {used >> 20} MiB")
    return Seen(held, control, ", ".join(words))


@probe("use-inodes", "make files without number", needs="memory")
def inodes(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
made = 0
try:
    for k in range(400000):
        os.close(os.open(str(k), os.O_CREAT | os.O_WRONLY))
        made += 1
except OSError as error:
    pass
print("made", made)
""",
        seconds=30,
    )
    text = out.out.text.split()
    made = int(text[-1]) if text else -1
    words = f"{made} files" if text else f"ended by {out.code} {out.cut}"
    return Seen(made < 400000, made > 100 or out.code == -9, words)


@probe("use-file", "write a file larger than allowed")
def file_size(box: RunnerSandbox, host: Host) -> Seen:
    large = "head -c 60000000 /dev/zero > big; stat -c %s big; rm big"
    result = box.exec(f"{large}; head -c 1000000 /dev/zero > small; stat -c %s small")
    sizes = [int(word) for word in result.out.text.split()]
    return Seen(sizes[0] <= box.limits.file_size, sizes[1] == 1000000, f"sizes {sizes}")


@probe("use-output", "flood the output")
def output(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("yes", seconds=20)
    kept = len(result.out.head) + len(result.out.tail)
    small = box.exec("seq 1 100000")
    text = small.out.text
    control = text.startswith("1\n2\n") and text.endswith("\n100000\n") and small.out.total == 588895
    held = result.cut == "output" and kept <= box.limits.output and result.out.total <= 2 * box.limits.flood
    return Seen(held, control, f"{result.out.total >> 20} MiB, {kept} bytes kept, {result.seconds:.1f} s")


@probe("use-output-both", "flood both outputs with binary data that has no lines")
def output_both(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("cat /dev/zero >&2 & cat /dev/urandom", seconds=20)
    kept = sum(len(s.head) + len(s.tail) for s in (result.out, result.err))
    held = result.cut == "output" and kept <= 2 * box.limits.output
    return Seen(held, result.out.total > 0 and result.err.total > 0, f"{kept} bytes kept")


@probe("use-descriptors", "open files without number")
def descriptors(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
made = []
try:
    while len(made) < 5000:
        made.append(os.open("/dev/null", 0))
except OSError as error:
    tell("stops with", -error.errno)
tell("raise", call("prlimit64", 0, 7, ctypes.create_string_buffer(struct.pack("QQ", 9000, 9000)), None))
print("made", len(made))
""",
    ).out.text
    made = int(out.split()[-1])
    return Seen(made < box.limits.open_files and "raise EPERM" in out, made > 10, out)


@probe("use-arguments", "commands and environments larger than the kernel takes")
def arguments(box: RunnerSandbox, host: Host) -> Seen:
    long = box.exec("# " + "x" * 3_000_000 + "\necho end")
    words = box.exec(["echo", "x" * 3_000_000])
    many = box.exec(["true"], env={f"V{k}": "x" * 1000 for k in range(5000)})
    held = bool(words.trouble) and bool(many.trouble) and words.code == 127
    return Seen(held, long.out.text == "end\n", f"{words.trouble}; {many.trouble}; {long}")


@probe("use-sparse", "hide memory in anonymous files and pipes", needs="memory")
def anonymous(box: RunnerSandbox, host: Host) -> Seen:
    most = box.limits.memory >> 20
    result = python(
        box,
        f"""
got = 0
fds = []
for k in range({most // 16 * 2}):
    fd = os.memfd_create("x")
    fds.append(fd)
    for _ in range(16):
        os.write(fd, bytes(1 << 20))
    got += 16
    if k % 4 == 0:
        print("got", got, flush=True)
""",
    )
    got = int(result.out.text.split()[-1]) if result.out.text else 0
    return Seen(got < most, got > 0, f"{got} MiB of {most}")


@probe("use-depth", "folders nested deeper than any path, and names of any bytes")
def depth(box: RunnerSandbox, host: Host) -> Seen:
    name = box.snapshot()
    result = python(
        box,
        """
for k in range(3000):
    os.mkdir("d")
    os.chdir("d")
open(b"\\xff\\n\\x01 name", "w").close()
os.chmod(".", 0)
print("deep")
""",
    )
    kinds = ""
    try:
        box.snapshot()
    except FileRefused as error:
        kinds = error.kind
    box.restore(name)
    left = box.exec("ls -A").out.text
    return Seen(left == "", result.out.text == "deep\n" and kinds == "depth", f"left after restore: {left!r}")


@probe("use-restore", "carry state past a restore: times kept, a mapping, attributes, permissions, a full disk")
def restore(box: RunnerSandbox, host: Host) -> Seen:
    box.put_many({"a": b"original", "b": b"original", "c/d": b"original", "e": b"original"})
    name = box.snapshot()
    result = python(
        box,
        """
import mmap
before = os.stat("a")
fd = os.open("a", os.O_RDWR)
mmap.mmap(fd, 8)[:] = b"tampered"
os.utime("a", ns=(before.st_atime_ns, before.st_mtime_ns))
attempt(os.setxattr, "b", "user.note", b"hidden")
os.chmod("c/d", 0)
os.chmod("c", 0)
os.symlink("/etc/passwd", "link")
os.link("e", "twin")
for folder in ("/tmp", "/dev/shm"):
    open(folder + "/left", "w").write("x")
attempt(lambda: [open(f"fill{k}", "wb").write(bytes(1 << 20)) for k in range(100)])
print(open("a").read())
""",
    )
    box.restore(name)
    same = [box.get(path) == b"original" for path in ("a", "b", "c/d", "e")]
    home = box.session.workdir
    left = box.exec(f"find {home} /tmp /dev/shm -mindepth 1 | sort; getfattr -d b 2>/dev/null").out.text.split()
    held = all(same) and left == [f"{home}/{name}" for name in ("a", "b", "c", "c/d", "e")]
    return Seen(held, result.out.text == "tampered\n", f"same {same}, there {left}")
