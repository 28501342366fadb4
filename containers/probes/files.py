"""Probes: files of the host, files that cannot be written, and the way of files in and out."""

from __future__ import annotations

from agentgym.containers.probes.probe import Host, Seen, on_host, probe, python
from agentgym.containers.sandbox import FileRefused, RunnerSandbox


def _refused(box: RunnerSandbox, path: str, data: bytes | None = None) -> str:
    """How a put (or get, without data) is refused; '' when it is not."""
    try:
        if data is None:
            box.get(path)
        else:
            box.put(path, data)
    except FileRefused as error:
        return error.kind
    return ""


def _mine(box: RunnerSandbox) -> str:
    """The file ``mine`` in the folder that the sandbox works in, as it is called there."""
    return f"{box.session.workdir}/mine"


@probe("file-read", "read a file of the host that everybody there may read")
def read(box: RunnerSandbox, host: Host) -> Seen:
    code = f"""
for path in ({str(host.secret)!r}, "/proc/1/root{host.secret}", "/proc/self/root{host.secret}", {_mine(box)!r}):
    try:
        print(path, open(path).read())
    except OSError as error:
        tell(path, -error.errno)
"""
    box.put("mine", b"readable")
    out = python(box, code).out.text
    return Seen(host.token not in out, "readable" in out and host.token in on_host(code), out)


@probe("file-find", "find a file of the host by its content, anywhere")
def find(box: RunnerSandbox, host: Host) -> Seen:
    box.put("mine", host.token.encode())
    places = f"/home /root /tmp /var /opt /mnt /media /srv /run /etc {box.session.workdir}"
    out = box.exec(f"grep -rls {host.token} {places} 2>/dev/null", seconds=60).out.text.split()
    return Seen(out == [_mine(box)], _mine(box) in out, f"found in {out}")


@probe("file-write", "overwrite a file of the host that everybody there may write")
def write(box: RunnerSandbox, host: Host) -> Seen:
    code = f"""
for path in ({str(host.victim)!r}, "/proc/1/root{host.victim}", "/etc/passwd", "/usr/bin/env", {_mine(box)!r}):
    tell(path, attempt(lambda: open(path, "r+").write("")))
"""
    box.put("mine", b"x")
    out = python(box, code).out.text
    held = out.count(" 0\n") == 1 and f"{_mine(box)} 0" in out
    return Seen(held, f"{_mine(box)} 0" in out and f"{host.victim} 0" in on_host(code), out)


@probe("file-root", "find a place that can be written besides the sized ones")
def writable(box: RunnerSandbox, host: Host) -> Seen:
    code = """
found = []
for folder, names, files in os.walk("/"):
    if folder in ("/proc", "/sys"):
        names.clear()
        continue
    path = os.path.join(folder, "agentgym-probe")
    if attempt(os.open, path, os.O_CREAT | os.O_WRONLY) == 0:
        found.append(folder)
        os.unlink(path)
    for path in [os.path.join(folder, name) for name in files if folder.startswith(("/dev", "/etc"))]:
        if os.access(path, os.W_OK) and not os.path.islink(path):
            found.append(path)
print(" ".join(found))
"""
    out = set(python(box, code, seconds=60).out.text.split())
    # Devices without a memory.
    harmless = {f"/dev/{name}" for name in ("null", "zero", "full", "random", "urandom", "tty", "ptmx", "pts/ptmx")}
    roots = set(box.session.roots)
    extra = out - harmless - roots
    return Seen(not extra, roots <= out, f"also writable: {sorted(extra)}")


@probe("file-proc1", "look into PID 1 through /proc")
def proc1(box: RunnerSandbox, host: Host) -> Seen:
    code = """
for pid in ("1", "self"):
    for name in ("root", "cwd", "exe", "fd/0"):
        tell(f"{pid}/{name}", attempt(os.readlink, f"/proc/{pid}/{name}"))
    for name in ("environ", "maps", "mem", "auxv", "stack", "syscall", "io"):
        tell(f"{pid}/{name}", attempt(lambda: os.read(os.open(f"/proc/{pid}/{name}", 0), 0)))
"""
    lines = python(box, code).out.text.splitlines()
    open_to_it = [line for line in lines if line.startswith("1/") and line.endswith(" 0")]
    own = [line for line in lines if line.startswith("self/") and line.endswith(" 0")]
    return Seen(not open_to_it, len(own) >= 8, f"of PID 1: {open_to_it or 'nothing'}; of itself: {len(own)}")


@probe("get-link", "have a link fetched, in the path or at its end")
def get_link(box: RunnerSandbox, host: Host) -> Seen:
    box.exec(
        f"ln -s /etc/passwd leak; ln -s {host.secret} host; ln -s /etc folder; ln -s /proc/self/mem memory; echo x > y"
    )
    kinds = [_refused(box, path) for path in ("leak", "host", "folder/passwd", "memory")]
    read = box.exec("cat leak | head -c 4").out.text
    return Seen(all(kinds), box.get("y") == b"x\n" and read == "root", f"refused as {kinds}")


@probe("get-path", "have a file outside fetched by its path")
def get_path(box: RunnerSandbox, host: Host) -> Seen:
    box.put("y", b"x")
    paths = (
        "../etc/passwd",
        "/etc/passwd",
        "a/../../etc/passwd",
        f"{box.session.workdir}/../etc/passwd",
        str(host.secret),
        "/proc/1/mem",
    )
    kinds = [_refused(box, path) for path in paths]
    return Seen(all(kinds), box.get(f"{box.session.workdir}/y") == b"x" == box.get("./y"), f"refused as {kinds}")


@probe("get-special", "have a pipe, a socket, a device or an endless file fetched")
def get_special(box: RunnerSandbox, host: Host) -> Seen:
    box.exec("mkfifo fifo; truncate -s 31M sparse; mkdir folder; ln fifo hard")
    python(box, 's = socket.socket(socket.AF_UNIX); s.bind("socket")')
    kinds = [_refused(box, path) for path in ("fifo", "socket", "sparse", "folder", "hard")]
    box.exec("truncate -s 3M small")
    return Seen(all(kinds), len(box.get("small")) == 3 << 20, f"refused as {kinds}")


@probe("put-path", "have a file written outside, by its path or through a link to a folder")
def put_path(box: RunnerSandbox, host: Host) -> Seen:
    home = box.session.workdir
    box.exec(f"ln -s /tmp folder; ln -s {host.folder} host; mkdir real")
    paths = ("../x", "/etc/x", "folder/x", "host/x", f"{home}/../x", "real/../../x", "/", home, "/usr/x", "/dev/x")
    kinds = [_refused(box, path, b"bad") for path in paths]
    box.put("real/x", b"good")
    lost = box.exec("ls /tmp /x /etc/x 2>/dev/null").out.text.split()
    return Seen(all(kinds) and lost == ["/tmp:"], box.get("real/x") == b"good", f"refused as {kinds}, written {lost}")


@probe("put-link", "have a file written through a link that stands at its path")
def put_link(box: RunnerSandbox, host: Host) -> Seen:
    box.exec("echo old > victim; ln -s victim link; ln victim hard")
    box.put("link", b"new")
    box.put("hard", b"new")
    control = box.exec("ln -s victim other; echo new >> other; cat victim").out.text
    return Seen(control.startswith("old"), control == "old\nnew\n", f"the file behind the links: {control!r}")


@probe("file-device", "make or open device nodes")
def device(box: RunnerSandbox, host: Host) -> Seen:
    out = python(
        box,
        """
import stat
tell("block", attempt(os.mknod, "disk", 0o600 | stat.S_IFBLK, os.makedev(254, 0)))
tell("char", attempt(os.mknod, "mem", 0o600 | stat.S_IFCHR, os.makedev(1, 1)))
for name in ("mem", "kmsg", "vda", "sda", "kvm", "fuse", "net/tun", "vhost-vsock", "vsock", "loop-control"):
    tell("/dev/" + name, attempt(os.open, "/dev/" + name, os.O_RDWR))
tell("fifo", attempt(os.mkfifo, "fifo"))
tell("null", attempt(os.open, "/dev/null", os.O_RDWR))
""",
    ).out.text
    held = out.count(" 0\n") == 2
    return Seen(held, "fifo 0" in out and "null 0" in out, out)


@probe("file-handle", "open a file by a handle, past all mounts")
def handle(box: RunnerSandbox, host: Host) -> Seen:
    code = f"""
buffer = ctypes.create_string_buffer(struct.pack("Ii", 128, 0) + bytes(128))
mount = ctypes.c_int()
where = {str(host.folder)!r} if os.path.exists({str(host.folder)!r}) else "/usr"
tell("name", call("name_to_handle_at", -100, ctypes.c_char_p(where.encode()), buffer, ctypes.byref(mount), 0))
tell("open", min(0, call("open_by_handle_at", os.open(where, 0), buffer, 0)))
"""
    out = python(box, code).out.text
    outside = on_host(code)
    return Seen("name E" in out and "open E" in out, True if "open 0" in outside else None, out)
