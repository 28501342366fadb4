"""The shape of the checkout: fixed names at the top, four rooms linked into one package, no host of anyone's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.house.checkout import ROOMS, ROOT, project_files

TOP = {
    *("agentgym", *ROOMS, "tests", "benchmarks", "docs", "examples"),
    *("pyproject.toml", "README.md", "Makefile", "LICENSE", "CHANGELOG.md", "constraints.txt"),
}
# Spelt in two halves, so that this file may be searched like any other.
REGISTRY_HOSTS = tuple(
    name + ending
    for name, ending in [
        ("pypi", ".org"),
        ("pythonhosted", ".org"),
        ("download.pytorch", ".org"),
        ("anaconda", ".org"),
        ("npmjs", ".org"),
        ("npmjs", ".com"),
        ("proxy.golang", ".org"),
        ("crates", ".io"),
        ("deb.debian", ".org"),
    ]
)


def text_of(file: Path) -> str:
    """Contents of a text file; nothing for a link or a binary file."""
    path = ROOT / file
    if path.is_symlink():
        return ""
    data = path.read_bytes()
    return "" if b"\0" in data[:8192] else data.decode("utf-8", errors="replace")


def test_the_top_level_holds_the_fixed_names_and_no_others() -> None:
    found = {file.parts[0] for file in project_files() if not file.parts[0].startswith(".")}
    assert found <= TOP, f"not a place at the top level: {sorted(found - TOP)}; put them into one of {sorted(TOP)}"


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_is_linked_into_the_package_by_a_relative_path(room: str) -> None:
    link = ROOT / "agentgym" / room
    assert link.is_symlink()
    assert os.readlink(link) == f"../{room}"
    assert (ROOT / room / "__init__.py").is_file()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_under_its_bare_name_is_refused_with_advice(room: str) -> None:
    """`agents` and `envs` are other people's packages too: a wrong import must not half work."""
    done = subprocess.run([sys.executable, "-c", f"import {room}"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 1
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("ImportError")
    assert f"import agentgym.{room}" in last


def test_no_file_names_a_package_registry() -> None:
    """Where packages come from is the business of each machine's own configuration."""
    found = [f"{file}: {host}" for file in project_files() for host in REGISTRY_HOSTS if host in text_of(file)]
    assert not found


def test_nobody_is_told_to_install_the_other_project_of_this_name() -> None:
    advice = re.compile(r"pip install (-\S+ )*agentgym\b")
    assert not [str(file) for file in project_files() if advice.search(text_of(file))]
