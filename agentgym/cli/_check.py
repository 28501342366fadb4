"""``agentgym check``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import tyro

from agentgym.cli._output import known
from agentgym.cli._parse import Flag, parse


@dataclass(frozen=True)
class Command:
    """Prove that environments keep the contract: one line a rule. Exit code 1 if a rule fails.

    Example:
      agentgym check agentgym/Grid-DoorKey-5x5-v0
      agentgym check --all --family grid --seeds 1
      agentgym check my_module:me/MyTask-v0
    """

    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """Environment ids; module:id imports the module first."""
    all: Flag = False
    """Every id there is, instead."""
    family: str | None = None
    """With --all: only this family."""
    seeds: int = 3
    """Seeds that every policy plays."""
    json: Flag = False
    """Print one JSON list."""

    def run(self) -> int:
        from agentgym.check import command

        return command(
            [known(id) for id in self.ids], all=self.all, family=self.family, seeds=self.seeds, json=self.json
        )


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "check", words).run()
