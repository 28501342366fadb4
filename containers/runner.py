"""PID 1 of a sandbox: carries out one request after another, and leaves nothing alive behind.

This file alone is sent into the sandbox and run by the image's ``python3`` (3.8 or later, standard library only). Its
stdin and stdout are the channel to the host. A frame in either direction is two big-endian 32-bit lengths, a JSON
object and a payload of raw bytes. The first frame is the configuration (its payload a seccomp filter); every later one
has an ``id``, which the answer repeats.

What protects it from the commands it runs, which have the same uid: the kernel ignores signals to PID 1 that it does
not handle; it is non-dumpable, so nobody may trace it or open its memory and descriptors; the filter refuses calls that
would change its limits or priority; and no command runs while it reads or writes files for the host.
"""

from __future__ import annotations

# Not `signal` and `ctypes`: each loads as long as all the rest.
import _ctypes
import _signal as signal  # type: ignore[import-not-found]
import errno
import os
import resource
import select
import stat
import struct
import sys
import time

TYPE_CHECKING = False  # the module itself takes milliseconds to load
if TYPE_CHECKING:
    from typing import Any

PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 4, 22, 38, 2
DEPTH = 128  # of folders in a snapshot
CHUNK = 1 << 16
PATIENCE = 20.0  # seconds until killed processes must be gone


class Refused(Exception):
    """The request cannot be carried out; the sandbox is as it was. Arguments: a kind, a sentence."""


class Int(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "i"


class Long(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "l"


class Text(_ctypes._SimpleCData):  # type: ignore[type-arg]
    _type_ = "z"  # a pointer to bytes


class Function(_ctypes.CFuncPtr):
    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Int


ITSELF = _ctypes.dlopen(None, os.RTLD_NOW)  # type: ignore[arg-type]
PRCTL = Function(_ctypes.dlsym(ITSELF, "prctl"))


def prctl(option: int, value: int, pointer: bytes | None = None) -> None:
    if PRCTL(option, Long(value), pointer, Long(0), Long(0)):
        number = _ctypes.get_errno()
        raise OSError(number, f"prctl {option}: {os.strerror(number)}")


def install_filter(program: bytes) -> None:
    """Put this process, and all that come from it, under a seccomp filter."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    # struct sock_fprog: a length, and (aligned) a pointer.
    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, struct.pack("@H0P", len(program) // 8) + bytes(Text(program)))


# -- the channel -------------------------------------------------------------------------------------------------------


class Channel:
    """Frames to and from the host."""

    def __init__(self) -> None:
        # Off the standard descriptors, so that no command inherits it.
        self.read_fd, self.write_fd = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1):
            os.dup2(null, fd)
        os.close(null)

    def exactly(self, n: int) -> bytes:
        parts = []
        while n:
            part = os.read(self.read_fd, min(n, 1 << 20))
            if not part:
                leave()
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def receive(self) -> tuple[dict[str, Any], bytes]:
        header, payload = struct.unpack("!II", self.exactly(8))
        text = self.exactly(header).decode()
        # JSON, read as Python: the json module would double the time to start, and the host may run code here anyway.
        return eval(text, {"true": True, "false": False, "null": None}), self.exactly(payload)  # noqa: S307

    def send(self, message: dict[str, Any], *payload: bytes) -> None:
        text = encoded(message).encode()
        lengths = struct.pack("!II", len(text), sum(map(len, payload)))
        data = memoryview(b"".join((lengths, text, *payload)))
        while data:
            data = data[os.write(self.write_fd, data) :]


def encoded(value: Any) -> str:
    """JSON in ASCII."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{encoded(key)}:{encoded(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(encoded, value)) + "]"
    if isinstance(value, str):
        plain = value.isascii() and value.isprintable() and '"' not in value and "\\" not in value
        return f'"{value}"' if plain else '"' + "".join(map(escaped, value)) + '"'
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return repr(value)


def escaped(character: str) -> str:
    number = ord(character)
    if character in '"\\' or number < 0x20 or number > 0xFFFF:
        units = character.encode("utf-16-be", "surrogatepass")
        return "".join(f"\\u{units[k]:02x}{units[k + 1]:02x}" for k in range(0, len(units), 2))
    return character if 0x20 <= number < 0x7F else f"\\u{number:04x}"


def leave() -> None:
    """The host is gone. When PID 1 ends, the kernel ends all others."""
    os._exit(0)


# -- running a command -------------------------------------------------------------------------------------------------


class Capture:
    """Keeps the first and the last bytes of a stream, and counts all."""

    def __init__(self, keep: int) -> None:
        self.half, self.total = keep // 2, 0
        self.head, self.tail = bytearray(), bytearray()

    def add(self, data: bytes) -> None:
        self.total += len(data)
        room = self.half - len(self.head)
        if room > 0:
            self.head += data[:room]
            data = data[room:]
        self.tail += data
        if len(self.tail) > self.half + 16 * CHUNK:
            del self.tail[: len(self.tail) - self.half]

    def parts(self) -> list[bytes]:
        return [bytes(self.head), bytes(self.tail[max(0, len(self.tail) - self.half) :])]


# Two descriptors beside the standard ones: commands come in (ended by NUL), exit codes go out.
ASK, DONE = 198, 199
SHELL = (
    rf"""while IFS= read -r -d '' -u {ASK} __c; do eval "$__c" {ASK}<&- {DONE}>&-; printf '%d\0' "$?" >&{DONE}; done"""
)
DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD, signal.SIGINT)  # for commands
LONGEST = 100_000  # bytes; the kernel refuses single arguments of 128 KiB


class Commands:
    """Runs commands, one at a time, and ends everything that they started."""

    def __init__(self, config: dict[str, Any], channel: Channel) -> None:
        self.config, self.channel = config, channel
        self.bash = "/bin/bash" if os.path.exists("/bin/bash") else "/bin/sh"
        self.shell: tuple[int, ...] = ()  # pid, ask, done, out, err
        self.ended: dict[int, int] = {}
        self.null = os.open(os.devnull, os.O_RDONLY)
        self.score = os.open("/proc/self/oom_score_adj", os.O_RDWR)
        self.own_score = os.read(self.score, 16).strip()
        self.wake, wake_write = os.pipe()
        for fd in (self.wake, wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def reap(self) -> bool:
        """Collect what has ended, without waiting; False when no process is left."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if not pid:
                    return True
                self.ended[pid] = status
        except ChildProcessError:
            return False

    def kill_all(self) -> int:
        """Kill every other process of the sandbox and wait until none is left; how many had to be killed."""
        self.reap()
        before, until = len(self.ended), time.monotonic() + PATIENCE
        while True:
            try:
                os.kill(-1, signal.SIGKILL)
            except ProcessLookupError:
                pass
            if not self.reap():
                return len(self.ended) - before
            if time.monotonic() > until:
                raise RuntimeError("processes were killed, and do not end")
            select.select([self.wake], [], [], 0.05)
            self.drain_wake()

    def clear(self) -> None:
        """End all, the persistent shell too."""
        self.kill_all()
        for fd in self.shell[1:]:
            os.close(fd)
        self.shell = ()
        self.ended.clear()

    def drain_wake(self) -> None:
        try:
            while os.read(self.wake, 4096):
                pass
        except BlockingIOError:
            pass

    def spawn(self, argv: list[str], cwd: str, env: dict[str, str], fds: dict[int, int]) -> int:
        """Start a program with descriptors {number there: here}; raises OSError where it cannot start.

        Nothing is copied: a fork of this interpreter would cost more than the program.
        """
        actions = [(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in fds.items()]
        os.chdir(cwd)
        # Out of memory shall hit the command, not PID 1: what is inherited is 1000, whatever PID 1 has otherwise.
        os.pwrite(self.score, b"1000", 0)
        try:
            return os.posix_spawnp(argv[0], argv, env, file_actions=actions, setsid=True, setsigdef=DEFAULT)
        finally:
            os.pwrite(self.score, self.own_score, 0)
            os.chdir("/")

    def start_shell(self, cwd: str, env: dict[str, str]) -> None:
        (ask_read, ask), (done, done_write), (out, out_write), (err, err_write) = (os.pipe() for _ in range(4))
        fds = {0: self.null, 1: out_write, 2: err_write, ASK: ask_read, DONE: done_write}
        try:
            pid = self.spawn([self.bash, "--norc", "-c", SHELL], cwd, env, fds)
        except OSError:
            for fd in (ask, done, out, err):
                os.close(fd)
            raise
        finally:
            for fd in (ask_read, done_write, out_write, err_write):
                os.close(fd)
        for fd in (ask, done, out, err):
            os.set_blocking(fd, False)
        self.shell = (pid, ask, done, out, err)

    def start(self, message: dict[str, Any], payload: bytes, cwd: str, env: dict[str, str]) -> tuple[int, int, int]:
        """Start one command by itself: its process, and its two outputs (one and the same when merged)."""
        command = message["command"]
        inside: dict[int, int] = {}
        out, inside[1] = os.pipe()
        err, inside[2] = (out, inside[1]) if message["merge"] else os.pipe()
        try:
            if payload:
                inside[0] = memory_file(payload)
            if isinstance(command, str) and len(command) < LONGEST:
                command = [self.bash, "-c", command]
            elif isinstance(command, str):
                inside[ASK] = memory_file(os.fsencode(command))
                command = [self.bash, f"/dev/fd/{ASK}"]
            pid = self.spawn(command, cwd, env, {0: self.null, **inside})
        except OSError:
            for fd in {out, err}:
                os.close(fd)
            raise
        finally:
            for fd in set(inside.values()):
                os.close(fd)
        for fd in (out, err):
            os.set_blocking(fd, False)
        return pid, out, err

    def run(self, message: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
        """Run one command to its end; then, unless a persistent shell goes on, nothing that it started is alive."""
        started = time.monotonic()
        deadline = started + message["timeout"]
        env = {**self.config["env"], **message["env"]}
        cwd = os.path.join(self.config["workdir"], message["cwd"])
        ask = done = -1
        text = b""
        fresh = False
        try:
            if message["shell"]:
                fresh = not self.shell
                if fresh:
                    self.start_shell(cwd, env)
                pid, ask, done, out, err = self.shell
                text = os.fsencode(message["command"]) + b"\0"
            else:
                self.clear()
                pid, out, err = self.start(message, payload, cwd, env)
        except OSError as error:
            return {"trouble": str(error), "code": 127, "why": "", "killed": 0, "fresh_shell": fresh}, []
        captures = {fd: Capture(message["output"]) for fd in (out, err)}
        poller = select.poll()
        poller.register(self.channel.read_fd, 0)  # a hang-up is reported unasked
        for fd in (self.wake, *captures, done):
            if fd >= 0:
                poller.register(fd, select.POLLIN)
        if ask >= 0:
            poller.register(ask, select.POLLOUT)
        why, said = "", b""
        while not why:
            left = deadline - time.monotonic()
            for fd, event in poller.poll(max(0.0, min(left, 60.0)) * 1000 + 1):
                if fd == self.channel.read_fd:
                    leave()
                elif fd == self.wake:
                    self.drain_wake()
                    self.reap()
                elif fd == ask and event == select.POLLOUT:
                    text = text[os.write(ask, text[:CHUNK]) :]
                    if not text:
                        poller.unregister(ask)
                elif fd == done and event & select.POLLIN:
                    said += os.read(done, 64)
                elif fd not in captures or not take(fd, captures[fd]):
                    poller.unregister(fd)
            if pid in self.ended:
                why = "exit"
            elif said.endswith(b"\0"):
                why = "said"
            elif sum(capture.total for capture in captures.values()) > message["flood"]:
                why = "output"
            elif left <= 0:
                why = "time"
        killed = self.kill_all() - (why in ("time", "output")) if why != "said" else 0
        status = self.ended.get(pid, 0)
        for fd, capture in captures.items():
            while take(fd, capture):
                pass
        if why != "said":
            for fd in self.shell[1:] or {out, err}:
                os.close(fd)
            self.shell = ()
        self.ended.clear()
        code = None
        if why == "exit":
            code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)
        elif why == "said":
            code = int(said.split(b"\0")[-2])
        parts = [part for capture in captures.values() for part in capture.parts()]
        answer = {
            "code": code,
            "why": why,
            "trouble": "",
            "killed": max(0, killed),
            "fresh_shell": fresh,
            "seconds": time.monotonic() - started,
            "totals": [capture.total for capture in captures.values()],
            "lengths": [len(part) for part in parts],
        }
        return answer, parts


def take(fd: int, capture: Capture) -> bool:
    """Read one chunk; False when there is nothing more to read now, or ever."""
    try:
        data = os.read(fd, CHUNK)
    except BlockingIOError:
        return False
    capture.add(data)
    return bool(data)


def memory_file(data: bytes) -> int:
    """An anonymous file with this content, at its beginning."""
    fd = os.memfd_create("data")
    append(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def append(fd: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(fd, rest) :]


# -- files -------------------------------------------------------------------------------------------------------------

FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
KINDS = {
    errno.ENOENT: ("missing", "there is no such file"),
    errno.ELOOP: ("link", "a symbolic link is in the way, and links are never followed"),
    errno.ENOTDIR: ("link", "a link or file stands where a folder is expected"),
    errno.EISDIR: ("kind", "a folder stands there"),
    errno.ENOTEMPTY: ("kind", "a folder stands there"),
    errno.ENXIO: ("kind", "it is not a regular file"),
    errno.ENOSPC: ("full", "the sandbox's disk is full"),
    errno.EFBIG: ("size", "it is larger than a file may be"),
    errno.ENAMETOOLONG: ("path", "the name is too long"),
}


def refusal(error: OSError, path: str) -> Refused:
    kind, why = KINDS.get(error.errno or 0, ("denied", error.strerror or str(error)))
    return Refused(kind, f"{path[:200]!r}: {why}")


class Files:
    """Writes, reads, keeps and brings back the files under the writable roots; never follows a link.

    A snapshot is compared with the files by content, not by times: those of a file changed through a memory mapping
    stay as they were.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.workdir: str = config["workdir"]
        self.roots: list[str] = config["roots"]
        self.budget: int = config["snapshots"]
        self.largest: int = config["rlimits"]["RLIMIT_FSIZE"]
        self.kept: dict[str, Snapshot] = {}

    def place(self, path: str, create: bool) -> tuple[int, str]:
        """The open parent folder of a path, and the path's last name."""
        full = os.path.join(self.workdir, path)
        root = next((r for r in self.roots if full.startswith(r + "/")), None)
        names = [name for name in full[len(root or "") :].split("/") if name not in ("", ".")]
        if root is None or ".." in names or not names or "\0" in path:
            raise Refused("outside", f"{path[:200]!r} is not a path under {', '.join(self.roots)}")
        fd = os.open(root, FOLDER)
        try:
            for name in names[:-1]:
                if create:
                    try:
                        os.mkdir(name, 0o755, dir_fd=fd)
                    except FileExistsError:
                        pass
                inner = os.open(name, FOLDER, dir_fd=fd)
                os.close(fd)
                fd = inner
        except OSError as error:
            os.close(fd)
            raise refusal(error, path) from error
        return fd, names[-1]

    def put(self, files: list[tuple[str, int, int]], payload: bytes) -> None:
        """Write files: path, mode and size of each; their contents one after the other in the payload."""
        offset = 0
        for path, mode, size in files:
            folder, name = self.place(path, create=True)
            part = f".{os.urandom(8).hex()}"
            try:
                # Written beside and renamed: a link that stands there is replaced, not followed.
                write_new(folder, part, mode, payload[offset : offset + size])
                os.rename(part, name, src_dir_fd=folder, dst_dir_fd=folder)
            except OSError as error:
                try:
                    os.unlink(part, dir_fd=folder)
                except OSError:
                    pass
                raise refusal(error, path) from error
            finally:
                os.close(folder)
            offset += size

    def get(self, path: str, limit: int) -> bytes:
        folder, name = self.place(path, create=False)
        try:
            fd = os.open(name, READ, dir_fd=folder)
        except OSError as error:
            raise refusal(error, path) from error
        finally:
            os.close(folder)
        try:
            found = os.fstat(fd)
            if not stat.S_ISREG(found.st_mode):
                raise Refused("kind", f"{path[:200]!r} is not a regular file")
            if found.st_size > limit:
                raise Refused("size", f"{path[:200]!r} has {found.st_size} bytes; at most {limit} are fetched")
            return read_all(fd)
        finally:
            os.close(fd)

    def snapshot(self, name: str) -> dict[str, int]:
        used = sum(kept.end for key, kept in self.kept.items() if key != name)
        made = Snapshot(self.budget - used, self.largest)
        try:
            for root in self.roots:
                made.trees[root] = made.scan(os.open(root, FOLDER), os.stat(root).st_mode)
        except BaseException:
            made.close()
            raise
        self.forget(name)
        self.kept[name] = made
        return {"files": made.files, "bytes": made.end}

    def forget(self, name: str) -> None:
        if name in self.kept:
            self.kept.pop(name).close()

    def restore(self, name: str) -> dict[str, int]:
        if name not in self.kept:
            raise Refused("missing", f"there is no snapshot {name[:200]!r}")
        kept = self.kept[name]
        kept.removed = kept.written = 0
        kept.made.clear()
        # First away with what differs, so that a full disk has room for what comes back.
        for root, tree in kept.trees.items():
            kept.prune(os.open(root, FOLDER), tree)
        for root, tree in kept.trees.items():
            kept.fill(os.open(root, FOLDER), tree, root)
        return {"removed": kept.removed, "written": kept.written}


class Snapshot:
    """All files under some folders, in anonymous memory files of PID 1 (each as large as a file may be).

    Entries are tuples: ("folder", mode, mtime, attributes, {name: entry}), ("file", mode, mtime, attributes, store,
    offset, size, inode or 0), ("link", mtime, target), ("fifo", mtime, mode). Sockets are left out: they are nothing
    without their process.
    """

    def __init__(self, budget: int, largest: int) -> None:
        self.stores: list[int] = []
        self.budget, self.largest, self.offset, self.end = budget, largest, largest, 0
        self.files, self.removed, self.written = 0, 0, 0
        self.trees: dict[str, Any] = {}
        self.made: dict[int, str] = {}

    def close(self) -> None:
        for fd in self.stores:
            os.close(fd)

    def keep(self, data: bytes) -> tuple[int, int]:
        """Store some bytes: in which file, from where on."""
        if not self.stores or self.offset + len(data) > self.largest:
            self.stores.append(os.memfd_create("snapshot"))
            self.offset = 0
        offset = self.offset
        append(self.stores[-1], data)
        self.offset += len(data)
        self.end += len(data)
        self.files += 1
        return self.stores[-1], offset

    def scan(self, fd: int, mode: int, depth: int = 0) -> tuple[Any, ...]:
        """Take in one folder, and close it."""
        try:
            if depth > DEPTH:
                raise Refused("depth", f"folders are nested deeper than {DEPTH}; they cannot be kept")
            entries = {}
            for name in os.listdir(fd):
                entry = self.entry(fd, name, depth)
                if entry:
                    entries[name] = entry
            return "folder", mode & 0o7777, os.fstat(fd).st_mtime_ns, attributes(fd), entries
        finally:
            os.close(fd)

    def entry(self, folder: int, name: str, depth: int) -> tuple[Any, ...] | None:
        found = os.lstat(name, dir_fd=folder)
        mode = found.st_mode
        if stat.S_ISDIR(mode):
            return self.scan(opened(folder, name, FOLDER, mode, 0o500), mode, depth + 1)
        if stat.S_ISLNK(mode):
            return "link", found.st_mtime_ns, os.readlink(name, dir_fd=folder)
        if stat.S_ISFIFO(mode):
            return "fifo", found.st_mtime_ns, mode & 0o7777
        if not stat.S_ISREG(mode):
            return None
        if found.st_size > self.budget - self.end:
            raise Refused("full", "snapshots are as large as they may be together; forget one, or keep fewer files")
        fd = opened(folder, name, READ, mode, 0o400)
        try:
            data = read_all(fd)
            store, offset = self.keep(data)
            twin = found.st_ino if found.st_nlink > 1 else 0
            return "file", mode & 0o7777, found.st_mtime_ns, attributes(fd), store, offset, len(data), twin
        finally:
            os.close(fd)

    def prune(self, fd: int, folder: tuple[Any, ...]) -> None:
        """Remove what is not as it was; close the folder."""
        try:
            os.fchmod(fd, 0o700)
            entries = folder[4]
            for name in os.listdir(fd):
                entry = entries.get(name)
                mode = os.lstat(name, dir_fd=fd).st_mode
                if entry and entry[0] == "folder" and stat.S_ISDIR(mode):
                    self.prune(opened(fd, name, FOLDER, mode, 0o700), entry)
                elif not (entry and self.same(fd, name, mode, entry)):
                    remove(fd, name)
                    self.removed += 1
        finally:
            os.close(fd)

    def same(self, folder: int, name: str, mode: int, entry: tuple[Any, ...]) -> bool:
        if entry[0] == "link":
            kept = stat.S_ISLNK(mode) and os.readlink(name, dir_fd=folder) == entry[2]
            if kept:
                set_time(folder, name, entry[1])
            return kept
        if entry[0] != "file" or not stat.S_ISREG(mode):
            return False
        _, kept_mode, mtime, kept_attributes, store, offset, size, twin = entry
        fd = opened(folder, name, READ, mode, 0o400)
        try:
            found = os.fstat(fd)
            if twin or found.st_nlink > 1 or found.st_size != size or attributes(fd) != kept_attributes:
                return False
            for start in range(0, size, 1 << 20):
                length = min(1 << 20, size - start)
                if os.pread(fd, length, start) != os.pread(store, length, offset + start):
                    return False
            if mode & 0o7777 != kept_mode:
                os.fchmod(fd, kept_mode)
            if found.st_mtime_ns != mtime:
                os.utime(fd, ns=(mtime, mtime))
            return True
        finally:
            os.close(fd)

    def fill(self, fd: int, folder: tuple[Any, ...], path: str) -> None:
        """Write what is missing; close the folder."""
        try:
            _, mode, mtime, kept_attributes, entries = folder
            present = set(os.listdir(fd))
            for name, entry in entries.items():
                if entry[0] == "folder":
                    if name not in present:
                        os.mkdir(name, 0o700, dir_fd=fd)
                    self.fill(os.open(name, FOLDER, dir_fd=fd), entry, f"{path}/{name}")
                elif name not in present:
                    self.write(fd, name, entry, f"{path}/{name}")
                    self.written += 1
            for key, value in attributes(fd).items():
                if kept_attributes.get(key) != value:
                    os.removexattr(fd, key)
            for key, value in kept_attributes.items():
                os.setxattr(fd, key, value)
            os.fchmod(fd, mode)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)

    def write(self, folder: int, name: str, entry: tuple[Any, ...], path: str) -> None:
        if entry[0] == "link":
            os.symlink(entry[2], name, dir_fd=folder)
            set_time(folder, name, entry[1])
            return
        if entry[0] == "fifo":
            os.mkfifo(name, entry[2], dir_fd=folder)
            set_time(folder, name, entry[1])
            return
        _, mode, mtime, kept_attributes, store, offset, size, twin = entry
        if twin in self.made:
            os.link(self.made[twin], name, dst_dir_fd=folder)
            return
        fd = write_new(folder, name, mode, b"", close=False)
        try:
            for start in range(0, size, 1 << 20):
                append(fd, os.pread(store, min(1 << 20, size - start), offset + start))
            for key, value in kept_attributes.items():
                os.setxattr(fd, key, value)
            os.utime(fd, ns=(mtime, mtime))
        finally:
            os.close(fd)
        if twin:
            self.made[twin] = path


def write_new(folder: int, name: str, mode: int, data: bytes, close: bool = True) -> int:
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=folder)
    try:
        append(fd, data)
        os.fchmod(fd, mode)
    except OSError:
        os.close(fd)
        raise
    if close:
        os.close(fd)
    return fd


def opened(folder: int, name: str, flags: int, mode: int, least: int) -> int:
    """Open what was just looked at, also where its owner took the permission away; its mode stays."""
    if mode & least == least:
        return os.open(name, flags, dir_fd=folder)
    os.chmod(name, stat.S_IMODE(mode) | least, dir_fd=folder)  # no link, and nobody runs who could make it one
    fd = os.open(name, flags, dir_fd=folder)
    os.fchmod(fd, stat.S_IMODE(mode))
    return fd


def set_time(folder: int, name: str, mtime: int) -> None:
    os.utime(name, ns=(mtime, mtime), dir_fd=folder, follow_symlinks=False)


def attributes(fd: int) -> dict[str, bytes]:
    try:
        return {key: os.getxattr(fd, key) for key in os.listxattr(fd)}
    except OSError as error:
        if error.errno == errno.ENOTSUP:
            return {}
        raise


def read_all(fd: int) -> bytes:
    parts: list[bytes] = []
    while True:
        part = os.read(fd, 1 << 20)
        if not part:
            return b"".join(parts)
        parts.append(part)


def remove(folder: int, name: str) -> None:
    """Remove a file or tree of any depth: folders within are moved up to the top, so that two descriptors suffice."""
    mode = os.lstat(name, dir_fd=folder).st_mode
    if not stat.S_ISDIR(mode):
        os.unlink(name, dir_fd=folder)
        return
    os.chmod(name, 0o700, dir_fd=folder)
    top = os.open(name, FOLDER, dir_fd=folder)
    number = 0
    try:
        while True:
            inner = empty(top)
            if not inner:
                break
            for one in inner:
                fd = os.open(one, FOLDER, dir_fd=top)
                try:
                    for deeper in empty(fd):
                        while True:
                            number += 1
                            try:
                                os.rename(deeper, f"{number}", src_dir_fd=fd, dst_dir_fd=top)
                                break
                            except OSError as error:
                                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                                    raise
                finally:
                    os.close(fd)
                os.rmdir(one, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=folder)


def empty(fd: int) -> list[str]:
    """Unlink what is no folder; the folders, opened to their owner."""
    folders = []
    for name in os.listdir(fd):
        if stat.S_ISDIR(os.lstat(name, dir_fd=fd).st_mode):
            os.chmod(name, 0o700, dir_fd=fd)
            folders.append(name)
        else:
            os.unlink(name, dir_fd=fd)
    return folders


# -- the whole ---------------------------------------------------------------------------------------------------------


def main() -> None:
    if os.getpid() != 1:
        sys.exit("the runner kills all processes that it sees, so it runs as PID 1 of a sandbox and nowhere else")
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Python's handler would let anybody interrupt PID 1
    channel = Channel()
    config, program = channel.receive()
    os.environ["PATH"] = config["env"]["PATH"]
    os.umask(0o022)
    os.chdir("/")
    commands = Commands(config, channel)  # opens what a non-dumpable process could not
    prctl(PR_SET_DUMPABLE, 0)
    # Inherited by all commands, which cannot raise them.
    for name, value in config["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    install_filter(program)
    if config["seed"]:
        from shutil import copytree

        copytree(config["seed"], config["workdir"], symlinks=True, dirs_exist_ok=True)
    files = Files(config)
    channel.send({"python": sys.version.split()[0], "pid": os.getpid(), "uid": os.getuid(), "shell": commands.bash})
    while True:
        message, payload = channel.receive()
        answer: dict[str, Any] = {}
        parts: list[bytes] = []
        try:
            op = message["op"]
            if op == "run":
                answer, parts = commands.run(message, payload)
            elif op == "put":
                files.put(message["files"], payload)
            elif op == "get":
                parts = [files.get(message["path"], message["limit"])]
            elif op in ("snapshot", "restore"):
                commands.clear()
                answer = getattr(files, op)(message["name"])
            elif op == "forget":
                files.forget(message["name"])
            else:
                raise Refused("op", f"unknown request {op!r}")
        except Refused as refused:
            answer, parts = {"refused": list(refused.args)}, []
        except Exception as error:  # noqa: BLE001  (the host closes the sandbox, and says this)
            answer, parts = {"broken": f"{type(error).__name__}: {error}"}, []
        channel.send({**answer, "id": message["id"]}, *parts)


if __name__ == "__main__":
    main()
