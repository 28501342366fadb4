"""A seccomp filter as bytes of classic BPF, made in pure Python.

It refuses (with EPERM) the calls by which a process without capabilities still reaches kernel code that it does not
need: namespaces, mounts, tracing, keys, eBPF, performance counters, io_uring, kernel-wide IPC that outlives a process,
sockets outside the network namespace (vsock leads out of a virtual machine), and changes to another process's limits or
priority (PID 1 has the same uid). Calls of another architecture's table are refused with ENOSYS, and so is ``clone3``,
whose flags a filter cannot read: C libraries then fall back to ``clone``.
"""

from __future__ import annotations

import errno
import platform
import struct
from dataclasses import dataclass

from agentgym.errors import UsageError

__all__ = ["DENIED", "filter_program", "numbers"]


@dataclass(frozen=True)
class _Table:
    """Numbers of one architecture: its audit id, and system calls by name."""

    audit: int
    calls: dict[str, int]


# Refused whatever the arguments. Names that an architecture lacks are not in its table.
DENIED: tuple[str, ...] = (
    *("unshare", "setns", "mount", "umount2", "pivot_root", "chroot", "open_tree", "move_mount", "fsopen", "fsconfig"),
    *("fsmount", "fspick", "mount_setattr", "ptrace", "process_vm_readv", "process_vm_writev", "process_madvise"),
    *("pidfd_getfd", "kcmp", "keyctl", "add_key", "request_key", "bpf", "perf_event_open", "userfaultfd"),
    *("io_uring_setup", "io_uring_enter", "io_uring_register", "init_module", "finit_module", "delete_module"),
    *("kexec_load", "kexec_file_load", "reboot", "swapon", "swapoff", "acct", "quotactl", "quotactl_fd", "syslog"),
    *("open_by_handle_at", "name_to_handle_at", "settimeofday", "clock_settime", "clock_adjtime", "adjtimex"),
    *("sethostname", "setdomainname", "iopl", "ioperm", "modify_ldt", "lookup_dcookie", "nfsservctl", "vhangup"),
    *("fanotify_init", "move_pages", "migrate_pages", "mbind", "set_mempolicy", "uselib", "ustat", "sysfs", "_sysctl"),
    # Objects of these live on when their processes have ended: they would carry state past a restore.
    *("shmget", "semget", "msgget", "mq_open"),
)

_X86 = _Table(
    0xC000003E,
    {
        **{"ioctl": 16, "mq_open": 240, "shmget": 29, "semget": 64, "msgget": 68, "socket": 41, "socketpair": 53},
        **{"clone": 56, "clone3": 435, "ptrace": 101, "syslog": 103, "setpriority": 141, "sched_setparam": 142},
        **{"sched_setscheduler": 144, "sched_setaffinity": 203, "sched_setattr": 314, "ioprio_set": 251},
        **{"prlimit64": 302, "uselib": 134, "ustat": 136, "sysfs": 139, "vhangup": 153, "modify_ldt": 154},
        **{"pivot_root": 155, "_sysctl": 156, "adjtimex": 159, "chroot": 161, "acct": 163, "settimeofday": 164},
        **{"mount": 165, "umount2": 166, "swapon": 167, "swapoff": 168, "reboot": 169, "sethostname": 170},
        **{"setdomainname": 171, "iopl": 172, "ioperm": 173, "init_module": 175, "delete_module": 176, "quotactl": 179},
        **{"nfsservctl": 180, "lookup_dcookie": 212, "clock_settime": 227, "mbind": 237, "set_mempolicy": 238},
        **{"kexec_load": 246, "add_key": 248, "request_key": 249, "keyctl": 250, "migrate_pages": 256, "unshare": 272},
        **{"move_pages": 279, "perf_event_open": 298, "fanotify_init": 300, "name_to_handle_at": 303},
        **{"open_by_handle_at": 304, "clock_adjtime": 305, "setns": 308, "process_vm_readv": 310},
        **{"process_vm_writev": 311, "kcmp": 312, "finit_module": 313, "kexec_file_load": 320, "bpf": 321},
        **{"userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
        **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
        **{"pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443},
    },
)
_ARM = _Table(
    0xC00000B7,
    {
        **{"ioctl": 29, "mq_open": 180, "shmget": 194, "semget": 190, "msgget": 186, "socket": 198, "socketpair": 199},
        **{"clone": 220, "clone3": 435, "ptrace": 117, "syslog": 116, "setpriority": 140, "sched_setparam": 118},
        **{"sched_setscheduler": 119, "sched_setaffinity": 122, "sched_setattr": 274, "ioprio_set": 30},
        **{"prlimit64": 261, "vhangup": 58, "pivot_root": 41, "adjtimex": 171, "chroot": 51, "acct": 89},
        **{"settimeofday": 170, "mount": 40, "umount2": 39, "swapon": 224, "swapoff": 225, "reboot": 142},
        **{"sethostname": 161, "setdomainname": 162, "init_module": 105, "delete_module": 106, "quotactl": 60},
        **{"nfsservctl": 42, "lookup_dcookie": 18, "clock_settime": 112, "mbind": 235, "set_mempolicy": 237},
        **{"kexec_load": 104, "add_key": 217, "request_key": 218, "keyctl": 219, "migrate_pages": 238, "unshare": 97},
        **{"move_pages": 239, "perf_event_open": 241, "fanotify_init": 262, "name_to_handle_at": 264},
        **{"open_by_handle_at": 265, "clock_adjtime": 266, "setns": 268, "process_vm_readv": 270},
        **{"process_vm_writev": 271, "kcmp": 272, "finit_module": 273, "kexec_file_load": 294, "bpf": 280},
        **{"userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427},
        **{"open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433},
        **{"pidfd_getfd": 438, "process_madvise": 440, "mount_setattr": 442, "quotactl_fd": 443},
    },
)
_TABLES = {"x86_64": _X86, "aarch64": _ARM}

_NAMESPACES = 0x7E020000  # every CLONE_NEW* that clone takes (time's bit means something else there)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
_DOMAINS = (1, 2, 10, 16)  # AF_UNIX, AF_INET, AF_INET6, AF_NETLINK
_X32 = 0x40000000

# Classic BPF: load a word, compare, return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NR, _ARCH = 0, 4


def _low(argument: int) -> int:
    """Offset of an argument's low 32 bits (both architectures are little-endian)."""
    return 16 + 8 * argument


def filter_program(machine: str | None = None) -> bytes:
    """The filter for one architecture, as an array of ``struct sock_filter``.

    Args:
        machine: what ``uname -m`` says in the sandbox; this machine's when None.

    Raises:
        UsageError: no table for that architecture.
    """
    table = _table(machine or platform.machine())
    code: list[tuple[int, int, int, int]] = []
    deny, missing = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS

    def add(operation: int, value: int, then: int = 0, otherwise: int = 0) -> None:
        code.append((operation, then, otherwise, value))

    def call(names: str, *body: tuple[int, int, int, int]) -> None:
        """If the call is this one: run the body, which must return."""
        for each in names.split():
            if each in table.calls:
                add(_EQUAL, table.calls[each], 0, len(body))
                code.extend(body)

    no, yes = (_RETURN, 0, 0, deny), (_RETURN, 0, 0, _ALLOW)

    add(_LOAD, _ARCH)
    add(_EQUAL, table.audit, 1, 0)
    add(_RETURN, missing)
    add(_LOAD, _NR)
    add(_AT_LEAST, _X32, 0, 1)
    add(_RETURN, missing)
    for each in DENIED:
        call(each, no)
    call("clone3", (_RETURN, 0, 0, missing))
    call("clone", (_LOAD, 0, 0, _low(0)), (_ANY_BIT, 0, 1, _NAMESPACES), no, yes)
    # Terminal input may not be forged. The kernel reads 32 bits, so the upper half does not help an attacker.
    call("ioctl", (_LOAD, 0, 0, _low(1)), (_EQUAL, 1, 0, _TIOCSTI), (_EQUAL, 0, 1, _TIOCLINUX), no, yes)
    domains = [(_EQUAL, len(_DOMAINS) - k, 0, domain) for k, domain in enumerate(_DOMAINS)]
    call("socket socketpair", (_LOAD, 0, 0, _low(0)), *domains, no, yes)
    others = ((_EQUAL, 0, 1, 1), no, yes)  # any process but PID 1
    call("prlimit64 sched_setparam sched_setscheduler sched_setaffinity sched_setattr", (_LOAD, 0, 0, _low(0)), *others)
    call("setpriority", (_LOAD, 0, 0, _low(0)), (_EQUAL, 0, 2, 0), (_LOAD, 0, 0, _low(1)), *others)
    call("ioprio_set", (_LOAD, 0, 0, _low(0)), (_EQUAL, 0, 2, 1), (_LOAD, 0, 0, _low(1)), *others)
    add(_RETURN, _ALLOW)
    return b"".join(struct.pack("<HBBI", *each) for each in code)


def numbers(machine: str) -> dict[str, int]:
    """System calls that the filter looks at, by name; raises as `filter_program`."""
    return dict(_table(machine).calls)


def _table(machine: str) -> _Table:
    if machine not in _TABLES:
        raise UsageError(f"sandboxes know the system calls of {', '.join(_TABLES)}; this machine is {machine}")
    return _TABLES[machine]
