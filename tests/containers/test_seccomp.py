"""The filter's bytes, run by a small interpreter of classic BPF: which calls pass, which are refused, and how."""

from __future__ import annotations

import errno
import struct

import pytest

from agentgym.containers.seccomp import DENIED, filter_program, numbers
from agentgym.errors import UsageError

ALLOW, ERRNO = 0x7FFF0000, 0x00050000
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}


def run(program: bytes, arch: int, number: int, arguments: tuple[int, ...] = ()) -> int:
    """What the kernel would answer: 0 when the call passes, else the error number."""
    data = struct.pack("<IIQ6Q", number, arch, 0, *(arguments + (0,) * 6)[:6])
    code = list(struct.iter_unpack("<HBBI", program))
    at, value = 0, 0
    while True:
        operation, then, otherwise, constant = code[at]
        at += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, constant)
        elif operation == 0x06:
            if constant == ALLOW:
                return 0
            assert constant & 0xFFFF0000 == ERRNO
            return constant & 0xFFFF
        else:
            test = {0x15: value == constant, 0x35: value >= constant, 0x45: bool(value & constant)}[operation]
            at += then if test else otherwise


@pytest.mark.parametrize("machine", AUDIT)
def test_every_denied_call_is_refused_and_others_pass(machine: str) -> None:
    program, table, arch = filter_program(machine), numbers(machine), AUDIT[machine]
    assert len(program) % 8 == 0
    assert len(program) // 8 < 4096  # the kernel's bound
    refused = {name for name, number in table.items() if run(program, arch, number) == errno.EPERM}
    assert {name for name in DENIED if name in table} <= refused
    free = next(n for n in range(500) if n not in table.values())
    assert run(program, arch, free) == 0
    assert run(program, arch, table["clone3"]) == errno.ENOSYS
    assert run(program, 0x40000003, 1) == errno.ENOSYS  # i386
    assert run(program, arch, 0x40000000 | 39) == errno.ENOSYS


@pytest.mark.parametrize("machine", AUDIT)
@pytest.mark.parametrize(
    ("call", "arguments", "answer"),
    [
        ("clone", (17,), 0),
        ("clone", (0x10000000 | 17,), errno.EPERM),
        ("clone", (0x40000000,), errno.EPERM),
        ("socket", (1, 1, 0), 0),
        ("socket", (2, 1, 0), 0),
        ("socket", (10, 1, 0), 0),
        ("socket", (16, 3, 0), 0),
        ("socket", (40, 1, 0), errno.EPERM),
        ("socket", (17, 3, 0), errno.EPERM),
        ("ioctl", (0, 0x5413), 0),
        ("ioctl", (0, 0x5412), errno.EPERM),
        ("ioctl", (0, 0x5412 | 1 << 32), errno.EPERM),
        ("ioctl", (0, 0x541C), errno.EPERM),
        ("prlimit64", (0, 7), 0),
        ("prlimit64", (55, 7), 0),
        ("prlimit64", (1, 7), errno.EPERM),
        ("prlimit64", (1 | 1 << 32, 7), errno.EPERM),
        ("setpriority", (0, 0, 5), 0),
        ("setpriority", (0, 1, 5), errno.EPERM),
        ("setpriority", (1, 0, 5), errno.EPERM),
        ("setpriority", (2, 0, 5), errno.EPERM),
        ("ioprio_set", (1, 0, 5), 0),
        ("ioprio_set", (1, 1, 5), errno.EPERM),
        ("ioprio_set", (3, 0, 5), errno.EPERM),
        ("sched_setaffinity", (0,), 0),
        ("sched_setaffinity", (1,), errno.EPERM),
    ],
)
def test_calls_are_judged_by_their_arguments(machine: str, call: str, arguments: tuple[int, ...], answer: int) -> None:
    assert run(filter_program(machine), AUDIT[machine], numbers(machine)[call], arguments) == answer


def test_an_architecture_without_a_table_is_refused() -> None:
    with pytest.raises(UsageError, match="riscv64"):
        filter_program("riscv64")
