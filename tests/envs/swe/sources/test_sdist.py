"""Source distributions: read, never built, and never trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.envs.swe.sources import cache, fetch
from agentgym.envs.swe.sources import sdist as module
from agentgym.errors import UsageError
from tests.envs.swe.sources.archives import NEW, OLD, archive, bomb, hostile, sdist


def test_a_package_is_taken_apart(tmp_path: Path) -> None:
    found = sdist(tmp_path, "tally", "1.1", NEW)
    assert found.root == "."
    assert sorted(found.code) == ["tally/__init__.py", "tally/more.py"]
    assert sorted(found.tests) == ["tests/test_more.py", "tests/test_total.py"]
    assert found.licence == "MIT"
    assert len(found.sha256) == 64


@pytest.mark.parametrize("folder", ["src", "lib"])
def test_code_may_lie_deeper(tmp_path: Path, folder: str) -> None:
    files = {(f"{folder}/{path}" if path.startswith("tally/") else path): data for path, data in OLD.items()}
    files |= {f"{folder}/tally/tests/test_inner.py": b"", f"{folder}/tally/data.txt": b""}
    found = sdist(tmp_path, "tally", "1.0", files)
    assert found.root == folder
    assert sorted(found.code) == [f"{folder}/tally/__init__.py", f"{folder}/tally/data.txt"]


def test_a_package_may_be_one_module(tmp_path: Path) -> None:
    assert list(sdist(tmp_path, "Tally-Ho", "1.0", {"tally_ho.py": b"", "setup.py": b""}).code) == ["tally_ho.py"]


def test_what_lacks_code_or_tests_is_refused(tmp_path: Path) -> None:
    found = sdist(tmp_path, "tally", "1.0", {"README": b"", "tests/data.txt": b""})
    with pytest.raises(UsageError, match="no package or module"):
        _ = found.code
    with pytest.raises(UsageError, match="no folder of tests"):
        _ = found.tests


def test_a_hostile_archive_gives_its_honest_files_alone(tmp_path: Path) -> None:
    hostile(tmp_path / "tally-1.tar.gz")
    # An absolute path is one inside, like any other; nothing is ever written.
    assert dict(fetch("tally", "1", folder=tmp_path).files) == {"tally.py": b"x = 1\n", "etc/out.py": b"x = 1\n"}
    assert [p.name for p in tmp_path.iterdir()] == ["tally-1.tar.gz"]


def test_an_archive_that_is_another_one_is_refused(tmp_path: Path) -> None:
    archive(tmp_path, "tally", "1.0", OLD)
    with pytest.raises(UsageError, match="has SHA-256"):
        fetch("tally", "1.0", sha256="0" * 64, folder=tmp_path)


@pytest.mark.parametrize(
    ("data", "message"), [(b"no archive", "no gzip file"), (None, "grows beyond")], ids=["garbage", "bomb"]
)
def test_a_download_that_cannot_be_read_is_not_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes | None, message: str
) -> None:
    monkeypatch.setattr(module, "MAX_UNPACKED", 4 << 20)
    given = bomb(tmp_path / "bomb", 8 << 20).read_bytes() if data is None else data
    monkeypatch.setattr(module, "_download", lambda name, version: (f"{name}-{version}.tar.gz", given))
    with pytest.raises(UsageError, match=message):
        fetch("tally", "1.0", folder=tmp_path / "archives")
    assert not (tmp_path / "archives").exists()


@pytest.mark.parametrize(
    ("name", "version"), [("", "1"), ("../x", "1"), ("-r", "1"), ("a b", "1"), ("tally", "1; x"), ("tally", "--pre")]
)
def test_words_that_are_no_package_go_nowhere(name: str, version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.subprocess, "run", None)
    with pytest.raises(UsageError, match="expected"):
        fetch(name, version)


def test_the_cache_has_one_place(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache() == cached.parent
    monkeypatch.delenv("AGENTGYM_CACHE")
    monkeypatch.setenv("HOME", "/somewhere")
    assert cache() == Path("/somewhere/.cache/agentgym/swe")


@pytest.mark.network
def test_a_package_is_fetched_from_the_index_and_nothing_of_it_runs(
    cached: Path, need: Callable[[object, str, str], None]
) -> None:
    try:
        found = fetch("parse", "1.20.2")
    except UsageError as error:
        need(False, "the package index", str(error))
        raise
    assert found.path == cached / "parse-1.20.2.tar.gz"
    assert found.sha256 == "b41d604d16503c79d81af5165155c0b20f6c8d6c559efa66b4b695c3e5a0a0ce"
    assert list(found.code) == ["parse.py"]
    assert sorted(p.name for p in cached.iterdir()) == ["parse-1.20.2.tar.gz"]
    with pytest.raises(UsageError, match="no source distribution"):
        fetch("parse", "0.0.0.1")
