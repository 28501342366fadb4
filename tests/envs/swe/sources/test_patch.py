"""Diffs are applied to the letter, or not at all."""

from __future__ import annotations

import difflib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.envs.swe.sources.patch import BadPatch, apply, parse

LINES = st.lists(st.sampled_from(["a", "b", "", " c", "-d", "+e", "@@ f", "\\ g"]), max_size=12)


def _diff(before: list[str], after: list[str]) -> str:
    return "\n".join(difflib.unified_diff(before, after, "a/f.txt", "b/f.txt", lineterm="")) + "\n"


@given(LINES, LINES)
def test_a_diff_leads_from_one_text_to_the_other(before: list[str], after: list[str]) -> None:
    if before == after:
        return
    text = {"f.txt": "".join(f"{line}\n" for line in before).encode()}
    assert apply(_diff(before, after), text) == {"f.txt": "".join(f"{line}\n" for line in after).encode()}


def test_what_git_writes_is_read(tmp_path: Path) -> None:
    """Changes, a new file, a removed one, a renamed one with a change, missing ends of lines, an empty file, CRLF."""
    before = {
        "a.py": b"one\ntwo\nthree\n" * 5,
        "gone.py": b"x\n",
        "old name.py": b"".join(b"%d\n" % k for k in range(30)),
        "end.txt": b"no end",
        "crlf.txt": b"a\r\nb\r\n",
    }
    after = {
        "a.py": before["a.py"].replace(b"two\nthree\none", b"2\none"),
        "old name.py": None,
        "gone.py": None,
        "src/new name.py": before["old name.py"].replace(b"15\n", b"fifteen\n"),
        "end.txt": b"an end\n",
        "crlf.txt": b"a\r\nc\r\n",
        "new.py": b"made\nwithout end",
        "empty.py": b"",
    }

    def write(files: dict[str, bytes] | dict[str, bytes | None]) -> None:
        for path, data in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            if data is None:
                (tmp_path / path).unlink()
            else:
                (tmp_path / path).write_bytes(data)

    def git(*words: str) -> bytes:
        return subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True).stdout

    git("init", "-q")
    write(before)
    git("add", "-A")
    git("-c", "user.name=x", "-c", "user.email=x@example.org", "commit", "-qm", "one")
    write(after)
    git("add", "-A")
    assert b"rename to" in git("diff", "-M", "HEAD")
    assert apply(git("diff", "-M", "HEAD"), before) == after
    assert apply(git("diff", "--no-renames", "-U1", "HEAD"), before) == after


def test_a_hunk_that_moved_is_found_where_it_stands_once() -> None:
    diff = "--- a/f\n+++ b/f\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n"
    assert apply(diff, {"f": b"new\nx\ny\n"}) == {"f": b"new\nx\nz\n"}
    with pytest.raises(BadPatch, match="stand 2 times"):
        apply(diff, {"f": b"new\nx\ny\nx\ny\n"})


@pytest.mark.parametrize(
    ("diff", "message"),
    [
        ("", "found no file"),
        ("hello", "found no file"),
        ("@@ -1 +1 @@\n-a\n+b\n", "before any file"),
        ("--- a/f\n+++ b/f\n@@ -1 +1 @@\n-other\n+b\n", "hunk 1: does not fit"),
        ("--- a/f\n+++ b/f\n@@ -1,3 +1 @@\n-a\n+b\n", "states 3 old and 1 new"),
        ("--- a/f\n+++ b/f\n@@ what @@\n-a\n+b\n", "hunk's head"),
        ("--- a/g\n+++ b/g\n@@ -1 +1 @@\n-a\n+b\n", "not there"),
        ("--- /dev/null\n+++ b/f\n@@ -0,0 +1 @@\n+b\n", "there already"),
        ("--- a/../f\n+++ b/../f\n@@ -1 +1 @@\n-a\n+b\n", "does not stay inside"),
        ("--- a/.git/config\n+++ b/.git/config\n@@ -1 +1 @@\n-a\n+b\n", "belongs to git"),
        ('--- "a/\\303"\n+++ b/f\n@@ -1 +1 @@\n-a\n+b\n', "quoted"),
        ("diff --git a/p.png b/p.png\nGIT binary patch\nliteral 0\n", "binary"),
        ("diff --git a/f b/f\ndeleted file mode 100644\n--- a/f\n+++ /dev/null\n@@ -1 +0,0 @@\n-a\n", "would stay"),
    ],
)
def test_a_diff_that_does_not_fit_is_refused(diff: str, message: str) -> None:
    with pytest.raises(BadPatch, match=message):
        apply(diff, {"f": b"a\nrest\n"})


def test_a_diff_beyond_all_bounds_is_refused() -> None:
    with pytest.raises(BadPatch, match="at most"):
        parse("x" * (9 << 20))
