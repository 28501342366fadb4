"""Release pairs, built of two archives made here; the real ones by request."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.cli import main
from agentgym.envs.swe.instance import Region
from agentgym.envs.swe.sources.pairs import PAIRS, Pair, build_pair, load_pair, needs_of, releases
from agentgym.envs.swe.sources.sdist import Sdist
from agentgym.envs.swe.sources.survey import Survey, stable
from agentgym.errors import UsageError
from tests.envs.swe.sources.archives import NEW, OLD, archive

PAIR = Pair("tally", "1.0", "1.1")


@pytest.fixture
def pair(cached: Path) -> Pair:
    archive(cached, "tally", "1.0", OLD)
    archive(cached, "tally", "1.1", NEW)
    return PAIR


def test_a_pair_is_built_and_read_again(pair: Pair, sandboxes: None, cached: Path) -> None:
    made = build_pair(pair, say=lambda _: None)
    assert set(made.fail_to_pass) == {"tests/test_total.py::test_negative", "tests/test_more.py::test_mean"}
    rest = {f"tests/test_total.py::test_{name}" for name in ("total", "nothing", "largest")}
    assert set(made.pass_to_pass) - {"tests/test_total.py::test_by_chance"} == rest
    assert "tests/test_total.py::test_never" not in {*made.fail_to_pass, *made.pass_to_pass}
    # The line with the version is in the repair, and is no fault.
    assert made.faulty == (Region("tally/__init__.py", 9, 10, "total"),)
    assert set(made.gold) == {"tally/__init__.py", "tally/more.py"}
    assert "`total` counts negative numbers, too." in made.statement
    assert "First." not in made.statement
    assert made.visible == ("tests/test_total.py",)
    assert b"test_negative" not in made.tree.files()["tests/test_total.py"]
    assert not made.conftest
    assert made.about["licence"] == "MIT"
    again = load_pair(pair)
    assert again.digest == made.digest
    assert "/" + cached.parts[1] not in (cached.parent / "releases" / f"{pair.id}.json").read_text()


def test_releases_that_differ_in_no_test_are_no_pair(cached: Path, sandboxes: None) -> None:
    same = OLD | {"tally/__init__.py": OLD["tally/__init__.py"].replace(b"Counting", b"Adding")}
    archive(cached, "tally", "1.0", OLD)
    archive(cached, "tally", "1.0.1", same)
    with pytest.raises(UsageError, match="nothing to repair"):
        build_pair(Pair("tally", "1.0", "1.0.1"), say=lambda _: None)


def test_the_same_code_twice_is_refused_at_once(cached: Path) -> None:
    archive(cached, "tally", "1.0", OLD)
    archive(cached, "tally", "1.0.post1", OLD)
    with pytest.raises(UsageError, match="is the same"):
        build_pair(Pair("tally", "1.0", "1.0.post1"), say=lambda _: None)


def test_a_test_that_wavers_is_in_no_list() -> None:
    runs = [Survey({"a": "passed", "b": "passed"}), Survey({"a": "passed", "b": "failed"}), Survey({"a": "passed"})]
    assert stable(runs) == {"a": "passed"}


def test_what_is_not_built_says_how(cached: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="agentgym swe build-pair tally"):
        load_pair(PAIR)
    with pytest.raises(UsageError, match="agentgym swe build releases"):
        releases()
    (cached.parent / "releases").mkdir(parents=True)
    (cached.parent / "releases" / f"{PAIR.id}.json").write_text('{"instance_id": 5}')
    with pytest.raises(UsageError, match="build it again"):
        load_pair(PAIR)
    assert main(["swe", "build-pair", "tally", "1.0"]) == 2
    assert "NAME OLD NEW" in capsys.readouterr().err


def test_what_tests_need_lies_beside_them(cached: Path) -> None:
    made = archive(
        cached, "helper", "2", {"lib/helper/__init__.py": b"x = 1\n", "lib/helper/c.so": b"", "lib/other.py": b""}
    )
    digest = hashlib.sha256(made.read_bytes()).hexdigest()
    pair = Pair("tally", "1.0", "1.1", needs=(("helper", "2", digest, "lib/helper"),))
    assert needs_of(pair) == {"helper/__init__.py": b"x = 1\n"}
    with pytest.raises(UsageError, match="has SHA-256"):
        needs_of(Pair("tally", "1.0", "1.1", needs=(("helper", "2", "0" * 64, "lib/helper"),)))


def test_there_are_eleven_pairs_of_free_packages() -> None:
    assert len({pair.id for pair in PAIRS}) == 11


@pytest.mark.network
@pytest.mark.slow
def test_a_real_pair_has_the_tests_it_should(
    cached: Path, sandboxes: None, need: Callable[[object, str, str], None]
) -> None:
    from agentgym.envs.swe.sources import fetch

    try:
        found: Sdist = fetch("parse", "1.20.1")
    except UsageError as error:
        need(False, "the package index", str(error))
        raise
    assert found.licence == "MIT License"
    made = build_pair(Pair("parse", "1.20.1", "1.20.2"), say=lambda _: None)
    assert (len(made.fail_to_pass), len(made.pass_to_pass)) == (2, 94)
