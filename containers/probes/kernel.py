"""Probes: privileges, and system calls that reach more of the kernel than a command needs."""

from __future__ import annotations

from agentgym.containers.probes.probe import Host, Seen, on_host, probe, python
from agentgym.containers.sandbox import RunnerSandbox


def _call(id: str, what: str, code: str) -> None:
    """A probe of calls that must all fail in the sandbox. Its control is the same code in a process of the host.

    Where the host refuses too (an ordinary user, a kernel without it), nothing is proven.
    """

    @probe(id, what)
    def run(box: RunnerSandbox, host: Host) -> Seen:
        lines = python(box, code).out.text.splitlines()
        outside = on_host(code).splitlines()
        held = bool(lines) and len(lines) == len(outside) and all(" E" in line for line in lines)
        worked = [line.split()[0] for line in outside if " E" not in line]
        words = f"{'; '.join(lines)} (on the host: {'; '.join(outside)})"
        return Seen(held, True if worked else None, words)


# Each line of output is one way; one of them working on the host is enough of a control.
_call(
    "sys-userns",
    "make a user namespace, by unshare, clone and clone3",
    """
def forked(name, *given):
    pid = call(name, *given)
    if pid == 0:
        os._exit(0)
    return min(pid, 0)
tell("unshare", min(0, call("unshare", 0x10000000)) if os.fork() else os._exit(0))
tell("clone", forked("clone", 0x10000000 | signal.SIGCHLD, 0, 0, 0, 0))
tell("clone3", forked("clone3", ctypes.create_string_buffer(struct.pack("8Q", 0x10000000, 0, 0, 0, 17, 0, 0, 0)), 64))
""",
)
_call(
    "sys-namespaces",
    "make or enter other namespaces",
    """
for name, flag in (("net", 0x40000000), ("mount", 0x20000), ("pid", 0x20000000), ("uts", 0x4000000)):
    tell(name, call("unshare", flag))
tell("setns", call("setns", os.open("/proc/self/ns/uts", 0), 0))
""",
)
_call(
    "sys-mount",
    "mount, by the old calls and the new",
    """
call("unshare", 0x20000)
text = ctypes.c_char_p
tell("private", min(0, call("mount", None, text(b"/"), None, 0x44000, None)))
tell("tmpfs", call("mount", text(b"x"), text(b"/tmp"), text(b"tmpfs"), 0, None))
tell("proc", call("mount", text(b"x"), text(b"/tmp"), text(b"proc"), 0, None))
tell("fsopen", call("fsopen", text(b"tmpfs"), 0))
tell("open_tree", call("open_tree", -100, text(b"/"), 1))
tell("umount", call("umount2", text(b"/tmp"), 2))
""",
)
_call(
    "sys-chroot",
    "change the root folder",
    """
os.makedirs("/tmp/agentgym-root", exist_ok=True)
pid = os.fork()
if not pid:
    tell("chroot", call("chroot", ctypes.c_char_p(b"/tmp/agentgym-root")))
    os._exit(0)
os.waitpid(pid, 0)
os.rmdir("/tmp/agentgym-root")
""",
)
_call(
    "sys-keys",
    "use the kernel's keyrings, which no namespace divides",
    """
tell("keyctl", min(0, call("keyctl", 0, -3, 1)))
tell("add_key", min(0, call("add_key", ctypes.c_char_p(b"user"), ctypes.c_char_p(b"a"), ctypes.c_char_p(b"b"), 1, -2)))
""",
)
_call(
    "sys-bpf",
    "load eBPF",
    """
attributes = ctypes.create_string_buffer(struct.pack("IIIII", 2, 4, 4, 1, 0) + bytes(100))
tell("map", min(0, call("bpf", 0, attributes, 120)))
""",
)
_call(
    "sys-perf",
    "open performance counters",
    """
attributes = ctypes.create_string_buffer(struct.pack("IIQ", 1, 112, 0) + bytes(96))
tell("perf", min(0, call("perf_event_open", attributes, 0, -1, -1, 0)))
""",
)
_call("sys-userfaultfd", "handle page faults", 'tell("userfaultfd", min(0, call("userfaultfd", 1)))')
_call(
    "sys-iouring",
    "use io_uring",
    'tell("io_uring", min(0, call("io_uring_setup", 4, ctypes.create_string_buffer(200))))',
)
_call(
    "sys-ptrace",
    "trace another process, by ptrace and by process_vm_readv",
    """
pid = os.fork()
if not pid:
    time.sleep(30)
    os._exit(0)
place = ctypes.create_string_buffer(8)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(place), 8))
tell("readv", min(0, call("process_vm_readv", pid, vector, 1, vector, 1, 0)))
tell("attach", call("ptrace", 16, pid, 0, 0))
os.kill(pid, 9)
""",
)
_call(
    "sys-clock",
    "set the clock",
    """
now = ctypes.create_string_buffer(struct.pack("qq", int(time.time()), time.time_ns() % 10**9))
tell("clock", call("clock_settime", 0, now))
""",
)
_call(
    "sys-hostname",
    "change the host name",
    """
call("unshare", 0x4000000)
name = os.uname().nodename.encode()
tell("hostname", call("sethostname", ctypes.c_char_p(name), len(name)))
""",
)
_call(
    "sys-ipc",
    "make objects of the kernel that outlive processes",
    """
tell("shm", min(0, call("shmget", 0, 4096, 0o1600)))
tell("sem", min(0, call("semget", 0, 1, 0o1600)))
tell("msg", min(0, call("msgget", 0, 0o1600)))
""",
)


@probe("sys-admin", "load a module, start another kernel, reboot, switch swap, read the kernel's log")
def admin(box: RunnerSandbox, host: Host) -> Seen:
    # Never on the host. With arguments that the kernel itself refuses otherwise (EFAULT, EINVAL, EBADF): only the
    # filter, which looks first, answers EPERM to all of them; a harmless call that passes it is the control.
    out = python(
        box,
        """
tell("init_module", call("init_module", None, 0, None))
tell("finit_module", call("finit_module", -1, None, 0))
tell("kexec", call("kexec_load", 0, 1 << 30, None, 0))
tell("reboot", call("reboot", 0, 0, 0, None))
tell("swapon", call("swapon", None, 0))
tell("syslog", call("syslog", 10, None, 0))
tell("acct", call("acct", ctypes.c_char_p(b"/nowhere/at/all")))
tell("quotactl", call("quotactl", 0, None, 0, None))
tell("own", call("prlimit64", 0, 7, None, ctypes.create_string_buffer(16)))
""",
    ).out.text
    return Seen(out.count(" EPERM") == 8, "own 0" in out, out)


@probe("sys-tables", "use another architecture's table of system calls")
def tables(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
tell("x32", call(0x40000000 + 39))
machine = bytes.fromhex("b814000000cd80c3")  # mov eax, 20 (getpid of i386); int 0x80; ret
if os.uname().machine == "x86_64":
    import mmap
    page = mmap.mmap(-1, 4096, prot=7)
    page.write(machine)
    function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))
    tell("i386", function())
own = bytes.fromhex("b827000000" "0f05c3")  # mov eax, 39 (getpid); syscall; ret
page.seek(0)
page.write(own)
tell("own", function() == os.getpid())
""",
    ).out.text
    if "own" not in out:
        return Seen("x32 ENOSYS" in out, None, out)
    return Seen("x32 ENOSYS" in out and "i386 ENOSYS" in out, "own True" in out, out)


@probe("sys-tty", "put characters into a terminal's input")
def tty(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
import fcntl, pty, termios
master, slave = pty.openpty()
tell("size", attempt(fcntl.ioctl, slave, termios.TIOCGWINSZ, bytes(8)))
tell("inject", attempt(fcntl.ioctl, slave, termios.TIOCSTI, b"x"))
tell("inject-high", call("ioctl", slave, (1 << 32) | termios.TIOCSTI, ctypes.c_char_p(b"x")))
tell("console", attempt(fcntl.ioctl, slave, 0x541C, bytes([2])))
tell("controlling", attempt(os.open, "/dev/tty", os.O_RDWR))
""",
    ).out.text
    held = out.count("EPERM") == 3 and "controlling E" in out
    return Seen(held, "size 0" in out, out)


@probe("priv-capabilities", "hold a capability, or use one")
def capabilities(box: RunnerSandbox, host: Host) -> Seen:
    text = box.exec(
        "grep -hE '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status; echo; grep -h '^Cap' /proc/1/status"
    ).out.text
    values = [line.split()[1] for line in text.splitlines() if line.startswith("Cap")]
    chown = python(
        box, 'open("x", "w"); tell("chown", attempt(os.chown, "x", 0, 0)); tell("chmod", attempt(os.chmod, "x", 0))'
    )
    held = len(values) == 10 and all(int(value, 16) == 0 for value in values) and "chown E" in chown.out.text
    held = held and "NoNewPrivs:\t1" in text and "Seccomp:\t2" in text
    return Seen(held, "chmod 0" in chown.out.text, f"{set(values)} {chown.out.text}")


@probe("priv-setuid", "gain another user by a setuid program, an own one or one of the image")
def setuid(box: RunnerSandbox, host: Host) -> Seen:
    out = box.exec(
        "cp $(readlink -f $(command -v id)) mine && chmod 6755 mine && stat -c %a mine && ./mine -u; "
        "for p in $(find /usr/bin /bin -perm -4000 2>/dev/null); do echo image $p; done; "
        "su root -c 'id -u' </dev/null 2>&1 | tail -1; sudo -n id -u 2>&1 | tail -1; "
        "python3 -c 'import os; os.setuid(0)' 2>&1 | tail -1"
    ).out.text
    lines = out.splitlines()
    return Seen("0" not in lines, lines[:2] == ["6755", "1000"], out)


@probe("pid1-trace", "trace PID 1, read and write its memory, take its descriptors")
def trace(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
place = ctypes.create_string_buffer(8)
vector = ctypes.create_string_buffer(struct.pack("QQ", ctypes.addressof(place), 8))
tell("attach", call("ptrace", 16, 1, 0, 0))
tell("seize", call("ptrace", 0x4206, 1, 0, 0))
tell("readv", call("process_vm_readv", 1, vector, 1, vector, 1, 0))
tell("mem", attempt(os.open, "/proc/1/mem", os.O_RDWR))
tell("getfd", call("pidfd_getfd", os.pidfd_open(1), 0, 0))
tell("own", attempt(os.open, "/proc/self/mem", os.O_RDWR))
""",
    ).out.text
    return Seen(out.count(" E") == 5, "own 0" in out, out)


@probe("pid1-signal", "end, stop or disturb PID 1 by any signal")
def signals(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
for number in range(1, 65):
    attempt(os.kill, 1, number)
attempt(os.killpg, 1, 9)
attempt(signal.pidfd_send_signal, os.pidfd_open(1), 9)
pid = os.fork()
if not pid:
    time.sleep(30)
    os._exit(0)
os.kill(pid, 9)
tell("child", os.waitpid(pid, 0)[1])
""",
    ).out.text
    return Seen(box.exec("echo on").out.text == "on\n", "child 9" in out, out)


@probe("pid1-limits", "change the limits, priority or processor of PID 1")
def limits(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
new = ctypes.create_string_buffer(struct.pack("QQ", 0, 0))
mask = ctypes.create_string_buffer(struct.pack("Q", 1))
tell("prlimit", call("prlimit64", 1, 7, new, None))
tell("nice", call("setpriority", 0, 1, 19))
tell("nice-group", call("setpriority", 1, 0, 19))
tell("nice-user", call("setpriority", 2, 0, 19))
tell("affinity", call("sched_setaffinity", 1, 8, mask))
tell("scheduler", call("sched_setscheduler", 1, 5, ctypes.create_string_buffer(4)))
tell("io", call("ioprio_set", 1, 1, 0x6007))
tell("oom", attempt(lambda: open("/proc/1/oom_score_adj", "w").write("1000")))
tell("own", call("setpriority", 0, 0, 19))
""",
    ).out.text
    return Seen(out.count(" E") == 8, "own 0" in out, out)


@probe("proc-write", "write the kernel's settings: core pattern, sysrq, modprobe, and others")
def proc_write(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
names = ["sys/kernel/core_pattern", "sys/kernel/modprobe", "sysrq-trigger", "sys/kernel/sysrq"]
names += ["sys/vm/overcommit_memory", "sys/kernel/hostname", "sys/fs/binfmt_misc/register", "sys/net/ipv4/ip_forward"]
names += ["acpi/wakeup", "irq/0/smp_affinity"]
for name in names:
    tell(name, min(0, attempt(os.open, "/proc/" + name, os.O_WRONLY)))
tell("own", attempt(os.open, "/proc/self/comm", os.O_WRONLY))
""",
    ).out.text
    return Seen(out.count(" E") == 10, "own 0" in out, out)


@probe("proc-core", "leave a core dump, or have the host's handler started")
def core(box: RunnerSandbox, host: Host) -> Seen:
    result = box.exec("ulimit -c unlimited 2>/dev/null; ulimit -Hc; python3 -c 'import os; os.abort()'; echo $?; ls -A")
    lines = result.out.text.split()
    # 1 byte: the kernel neither writes a file nor starts a handler.
    return Seen(lines[:1] in (["0"], ["1"]) and lines[2:] == [], lines[1:2] == ["134"], result.out.text)


@probe("sys-cgroup", "leave or change its control groups")
def cgroup(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
found = []
for folder, names, files in os.walk("/sys/fs/cgroup"):
    for name in files:
        if name in ("cgroup.procs", "tasks", "release_agent", "memory.max", "memory.limit_in_bytes", "pids.max"):
            if attempt(os.open, os.path.join(folder, name), os.O_WRONLY) == 0:
                found.append(os.path.join(folder, name))
text = ctypes.c_char_p
for kind in (b"cgroup", b"cgroup2"):
    tell(kind, call("mount", text(b"x"), text(b"/tmp"), text(kind), 0, text(b"memory")))
tell("own", attempt(lambda: open("/proc/self/cgroup").read()))
print("writable", found)
""",
    ).out.text
    return Seen(out.count(" EPERM") == 2 and "writable []" in out, "own 0" in out, out)
