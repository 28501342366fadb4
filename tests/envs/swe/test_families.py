"""One-function bugs: made by number, really broken, and repaired by the right text alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from agentgym.envs.swe.families import FAMILIES, HIDDEN, Small, make

SEEDS = range(8)


@pytest.mark.parametrize("family", FAMILIES)
def test_instances_are_broken_in_one_line(family: str) -> None:
    for seed in SEEDS:
        small = make(family, seed)
        pairs = zip(small.right.splitlines(), small.wrong.splitlines(), strict=True)
        assert [n for n, (a, b) in enumerate(pairs, 1) if a != b] == [small.fault.line]
        assert small.fail_to_pass
        assert len(small.fail_to_pass) + len(small.pass_to_pass) == HIDDEN


def test_the_same_number_gives_the_same_instance_in_another_process() -> None:
    script = "import sys; from agentgym.envs.swe.families import make; sys.stdout.write(repr(make('depth', 3)))"
    env = os.environ | {"PYTHONHASHSEED": "7"}
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, env=env).stdout
    assert out == repr(make("depth", 3))


@pytest.mark.slow
def test_a_thousand_instances_and_no_text_in_both_parts() -> None:
    made = [make(family, seed) for family in FAMILIES for seed in range(70)]
    parts: dict[str, set[str]] = {"train": set(), "held-out": set()}
    for small in made:
        parts[small.part].add(small.wrong)
    assert len(parts["train"] | parts["held-out"]) >= 1000
    assert not parts["train"] & parts["held-out"]
    assert len(parts["held-out"]) >= 200


def test_every_kind_of_fault_comes_up() -> None:
    kinds = {make(family, seed).fault.kind for family in FAMILIES for seed in SEEDS}
    assert kinds == {"arithmetic", "comparison", "logic", "name", "number"}


def grade(small: Small, text: str, folder: Path) -> set[str]:
    """Names of the hidden tests that pass, by pytest itself."""
    (folder / f"{small.module}.py").write_text(text)
    (folder / "test_hidden.py").write_text(small.hidden)
    command = [
        sys.executable,
        "-B",  # compiled code is told from newer by second and size: two texts may be equal in both
        "-m",
        "pytest",
        "-q",
        "-rA",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        ".",
        "test_hidden.py",
    ]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return {line.split("::")[1] for line in run.stdout.splitlines() if line.startswith("PASSED")}


@pytest.mark.parametrize("family", ["depth", "histogram", "encode_runs"])
def test_pytest_agrees_about_what_fails(family: str, tmp_path: Path) -> None:
    small = make(family, 0)
    assert grade(small, small.wrong, tmp_path) == set(small.pass_to_pass)
    assert grade(small, small.right, tmp_path) == set(small.pass_to_pass + small.fail_to_pass)
