"""Hand-written bugs: the repository's own tests pass, the hidden ones fail, and the repair passes all."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from agentgym.envs.swe.bugs import BUGS, Bug


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], dict[str, dict[str, bool]]]:
    """All bugs in one run of pytest: (wrong, repaired) x (hidden, visible), each bug in a folder of its own."""
    root = tmp_path_factory.mktemp("bugs")
    for bug in BUGS.values():
        for kind, text in (("wrong", bug.source), ("repaired", bug.repaired)):
            folder = root / kind / bug.name
            folder.mkdir(parents=True)
            (folder / f"{bug.name}.py").write_text(text)
            (folder / f"test_hidden_{bug.name}.py").write_text(bug.hidden)
            (folder / f"test_visible_{bug.name}.py").write_text(bug.visible)
    found: dict[str, dict[str, bool]] = {}
    for kind in ("wrong", "repaired"):
        command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "--rootdir", ".", "."]
        run = subprocess.run(command, cwd=root / kind, capture_output=True, text=True, check=False, timeout=120)
        for line in run.stdout.splitlines():
            word, _, rest = line.partition(" ")
            if word in ("PASSED", "FAILED"):
                path, _, test = rest.split(" - ")[0].partition("::")
                _, name = path.removesuffix(".py").split("/")
                found.setdefault(f"{kind}:{name}", {})[test] = word == "PASSED"
    return lambda name: {
        key.removesuffix(f"_{name}"): tests
        for key, tests in found.items()
        if key.endswith((f"hidden_{name}", f"visible_{name}"))
    }


def test_there_are_two_dozen() -> None:
    assert len(BUGS) >= 24


@pytest.mark.parametrize("bug", BUGS.values(), ids=list(BUGS))
def test_the_hidden_tests_tell_the_repair(bug: Bug, outcomes: Callable[[str], dict[str, dict[str, bool]]]) -> None:
    found = outcomes(bug.name)
    assert all(found["wrong:test_visible"].values())
    assert not all(found["wrong:test_hidden"].values())
    assert any(found["wrong:test_hidden"].values())
    assert all(found["repaired:test_hidden"].values())
    assert all(found["repaired:test_visible"].values())
