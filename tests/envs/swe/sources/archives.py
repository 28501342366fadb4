"""Source distributions made on the spot: a small package, its next release, and what hostile archives do."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

from agentgym.envs.swe.sources import Sdist, fetch

OLD = {
    "PKG-INFO": b"Metadata-Version: 2.1\nName: tally\nVersion: 1.0\nLicense: MIT\n",
    "tally/__init__.py": b'''"""Counting."""

__version__ = "1.0"


def total(numbers):
    result = 0
    for number in numbers:
        if number > 0:
            result += number
    return result


def largest(numbers):
    best = numbers[0]
    for number in numbers:
        if number > best:
            best = number
    return best


def unused(a, b):
    return a - b
''',
    "tests/test_total.py": b"""from tally import largest, total


def test_total():
    assert total([1, 2]) == 3


def test_nothing():
    assert total([]) == 0


def test_largest():
    assert largest([1, 3, 2]) == 3
""",
}
NEW = OLD | {
    "PKG-INFO": OLD["PKG-INFO"].replace(b"1.0", b"1.1"),
    "tally/__init__.py": OLD["tally/__init__.py"]
    .replace(b'"1.0"', b'"1.1"')
    .replace(b"        if number > 0:\n            result += number\n", b"        result += number\n"),
    "tally/more.py": b"def mean(numbers):\n    return sum(numbers) / len(numbers)\n",
    "CHANGES.md": b"# Changes\n\n## 1.1 (2026)\n\n- `total` counts negative numbers, too.\n\n## 1.0\n\n- First.\n",
    "tests/test_total.py": OLD["tests/test_total.py"]
    + b"""

def test_negative():
    assert total([3, -1]) == 2


def test_by_chance():
    import os

    assert os.urandom(1)[0] % 8 == 0  # seldom, so that three times in a row is next to never


def test_never():
    assert total([1]) == 2
""",
    "tests/test_more.py": b"from tally.more import mean\n\n\ndef test_mean():\n    assert mean([1, 3]) == 2\n",
}


def archive(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Path:
    """Write an archive where `fetch` looks for it."""
    path = folder / f"{name.lower()}-{version}.tar.gz"
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as made:
        for inside, data in files.items():
            member = tarfile.TarInfo(f"{name}-{version}/{inside}")
            member.size = len(data)
            made.addfile(member, io.BytesIO(data))
    return path


def sdist(folder: Path, name: str, version: str, files: Mapping[str, bytes]) -> Sdist:
    """The same, opened."""
    archive(folder, name, version, files)
    return fetch(name, version, folder=folder)


def hostile(path: Path) -> Path:
    """An archive with paths that leave it, links, a device, and one honest file."""
    with tarfile.open(path, "w:gz") as made:
        for name in ("tally-1/../../out.py", "/etc/out.py", "tally-1/.git/config", "tally-1/tally.py"):
            member = tarfile.TarInfo(name)
            member.size = 6
            made.addfile(member, io.BytesIO(b"x = 1\n"))
        for name, kind, target in (
            ("tally-1/link.py", tarfile.SYMTYPE, "/etc/passwd"),
            ("tally-1/hard.py", tarfile.LNKTYPE, "tally-1/tally.py"),
            ("tally-1/device", tarfile.CHRTYPE, ""),
        ):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            made.addfile(member)
    return path


def bomb(path: Path, size: int) -> Path:
    """A small file that grows."""
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb") as file:
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))
    return path
