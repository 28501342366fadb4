"""docs/cli.md names every command and every option, and no others."""

from __future__ import annotations

import dataclasses
import importlib
import re

import pytest

from agentgym.cli import COMMANDS
from tests.house.checkout import ROOT

PAGE = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = {part.split("\n", 1)[0].strip(): part for part in PAGE.split("\n## ")[1:]}


def test_every_command_has_a_section_in_the_order_of_the_help() -> None:
    assert list(SECTIONS) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_section_lists_exactly_the_options_there_are(command: str) -> None:
    module = importlib.import_module(f"agentgym.cli._{command}")
    options = dataclasses.fields(getattr(module, "Command", None) or module._Options)
    named = {f"--{f.name.replace('_', '-')}" if "Positional" not in str(f.type) else f.name.upper() for f in options}
    rows = [line.split("|")[1] for line in SECTIONS[command].splitlines() if re.match(r"\| `", line)]
    assert {name for row in rows for name in re.findall(r"`([^`]+)`", row)} == named
