"""``agentgym report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import tyro

from agentgym.cli._output import print_json, require
from agentgym.cli._parse import Flag, parse


@dataclass(frozen=True)
class Command:
    """Write a run as one page of HTML that opens anywhere, without a network.

    Example:
      agentgym report runs/quickstart
      agentgym report runs/mine --out mine.html
    """

    run_folder: tyro.conf.Positional[Path]
    """A run folder."""
    out: Path | None = None
    """The page; report.html in the run folder unless given."""
    json: Flag = False
    """Print where it is as JSON."""

    def run(self) -> int:
        require("pyarrow", "train")
        from agentgym.runs import Run

        run = Run.open(self.run_folder)
        from agentgym.agents.evaluate.report import write_report

        page = write_report(run, self.out)
        print_json({"report": str(page)}) if self.json else print(page)
        return 0


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "report", words).run()
