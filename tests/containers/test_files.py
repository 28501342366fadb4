"""Files in and out, snapshots, and bringing them back."""

from __future__ import annotations

import os

import pytest

from agentgym.containers import MIB, FileRefused, Limits, Sandbox
from agentgym.containers.sandbox import Session
from tests.containers.conftest import Make


def test_put_and_get_are_inverse(shared: Sandbox) -> None:
    data = bytes(range(256)) * 1000
    shared.put("deep/er/file.bin", data, mode=0o755)
    assert shared.get("deep/er/file.bin") == shared.get(f"{Session().workdir}/deep/er/file.bin") == data
    assert shared.exec("stat -c '%a %u' deep/er/file.bin").out.text == "755 1000\n"
    shared.put("deep/er/file.bin", b"")
    assert shared.get("deep/er/file.bin") == b""


def test_many_files_in_one_request(shared: Sandbox) -> None:
    files = {f"many/{k}/{k}.txt": os.urandom(k) for k in range(300)}
    shared.put_many(files)
    assert all(shared.get(path) == data for path, data in list(files.items())[::50])
    assert shared.exec("find many -type f | wc -l").out.text == "300\n"


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("nowhere", "missing"),
        ("../etc/passwd", "outside"),
        ("/etc/passwd", "outside"),
        ("/workshop", "outside"),
        ("", "outside"),
        ("a\0b", "outside"),
        ("link", "link"),
        ("folderlink/passwd", "link"),
        ("file/inner", "link"),
        ("folder", "kind"),
        ("fifo", "kind"),
        ("x" * 300, "path"),
    ],
)
def test_get_refuses(shared: Sandbox, path: str, kind: str) -> None:
    shared.exec("mkdir -p folder; ln -sfn /etc/passwd link; ln -sfn /etc folderlink; echo > file; mkfifo fifo")
    with pytest.raises(FileRefused) as caught:
        shared.get(path)
    assert caught.value.kind == kind
    assert "\0" not in str(caught.value)


def test_sizes_are_bounded(make: Make) -> None:
    box = make(limits=Limits(transfer=1000, disk=4 * MIB))
    box.exec("head -c 2000 /dev/zero > large; head -c 900 /dev/zero > small")
    with pytest.raises(FileRefused, match="at most 1000") as caught:
        box.get("large")
    assert caught.value.kind == "size"
    with pytest.raises(FileRefused, match="at most 800"):
        box.get("small", limit=800)
    with pytest.raises(FileRefused, match="at most 1000"):
        box.put("x", bytes(1001))
    assert len(box.get("small")) == 900


def test_a_full_disk_refuses_and_the_sandbox_goes_on(make: Make) -> None:
    box = make(limits=Limits(disk=2 * MIB))
    with pytest.raises(FileRefused) as caught:
        box.put("large", bytes(3 * MIB))
    assert caught.value.kind == "full"
    assert box.exec("ls -A").out.text == ""  # no half of a file is left
    assert box.exec("head -c 9000000 /dev/zero > fill").code != 0
    with pytest.raises(FileRefused):
        box.put("small", bytes(1 * MIB))
    assert box.exec("rm fill; echo on").out.text == "on\n"


def test_restore_brings_back_exactly_what_was(box: Sandbox) -> None:
    box.put_many({"a": b"one", "b/c": b"two", "b/d/e": b"three"})
    box.exec(
        "ln -s a link; ln b/c hard; mkfifo fifo; chmod 640 a; touch -d 2001-01-01 a b; echo x > /tmp/t; mkdir empty"
    )
    tell = (
        "cd /; find work tmp dev/shm ! -type d | sort | xargs stat -c '%n %F %a %s %h %Y'; cat work/b/d/e;"
        "find work tmp dev/shm -type d | sort | xargs stat -c '%n %a %Y'; readlink work/link"
    )
    before = box.exec(tell).out.text
    name = box.snapshot()
    assert box.exec(tell).out.text == before
    box.exec("echo changed > a; rm -r b; mkdir b; echo > b/new; rm link; ln -s b link; rm fifo; touch fifo")
    box.exec("chmod 777 empty")
    box.exec("echo y > /tmp/t; echo z > /tmp/u; echo > /dev/shm/v; rm hard; mkdir -p hard/x; rmdir empty; touch empty")
    assert box.exec(tell).out.text != before
    box.restore(name)
    assert box.exec(tell).out.text == before
    box.restore(name)  # again, with nothing to do
    assert box.exec(tell).out.text == before


def test_snapshots_are_independent(box: Sandbox) -> None:
    box.put("a", b"1")
    first = box.snapshot()
    box.put("a", b"2")
    second = box.snapshot()
    box.restore(first)
    assert box.get("a") == b"1"
    box.restore(second)
    assert box.get("a") == b"2"
    box.forget(second)
    with pytest.raises(FileRefused, match="no snapshot") as caught:
        box.restore(second)
    assert caught.value.kind == "missing"
    box.restore(first)
    assert box.get("a") == b"1"


def test_empty_and_large_files_are_kept(make: Make) -> None:
    box = make(limits=Limits(file_size=2 * MIB))
    box.put("empty", b"")
    first = box.snapshot()
    files = {f"large{k}": bytes([k]) * (2 * MIB) for k in range(3)}
    box.put_many(files)
    second = box.snapshot()
    box.exec("rm *")
    box.restore(second)
    assert all(box.get(path) == data for path, data in files.items())
    box.restore(first)
    assert box.exec("wc -c *").out.text == "0 empty\n"
    with pytest.raises(FileRefused) as caught:
        box.put("larger", bytes(2 * MIB + 1))
    assert caught.value.kind == "size"


def test_snapshots_have_a_bound(make: Make) -> None:
    box = make(limits=Limits(disk=4 * MIB))
    box.put("a", bytes(3 * MIB))
    first = box.snapshot()
    with pytest.raises(FileRefused) as caught:
        box.snapshot()
    assert caught.value.kind == "full"
    box.forget(first)
    box.snapshot()


def test_a_snapshot_ends_the_shell(make: Make) -> None:
    box = make(shell=True)
    box.exec("x=1; (while :; do date > tick; done) & until [ -s tick ]; do :; done")
    name = box.snapshot()
    assert box.exec("echo $x").fresh_shell
    box.exec("rm tick")
    box.restore(name)
    assert box.exec("ls").out.text == "tick\n"


def test_a_seed_folder_is_copied_to_the_working_folder(make: Make) -> None:
    box = make(seed="/usr/share/doc/bash" if make().exec("test -d /usr/share/doc/bash").ok else "/usr/share/base-files")
    assert box.exec("ls | wc -l").out.text.strip() != "0"
    assert box.exec("touch mine").ok
