"""``agentgym compare``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from agentgym.cli._output import print_json, require, show
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError


@dataclass(frozen=True)
class Command:
    """Compare two runs on the tasks that both have, episode against episode: differences with 95 % intervals.

    Episodes are paired by environment, task and seed. One run can be compared with itself, before and after training.

    Example:
      agentgym compare runs/random runs/mine
      agentgym compare runs/train runs/train --where label=before --where-b label=after
    """

    a: tyro.conf.Positional[Path]
    """A run folder."""
    b: tyro.conf.Positional[Path]
    """Another; differences are b - a."""
    where: dict[str, Any] = field(default_factory=dict)
    """Only what was stored with these tags, e.g. phase=test."""
    where_b: dict[str, Any] = field(default_factory=dict)
    """Tags for b, where they differ."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        require("pyarrow", "train")
        from agentgym.agents.evaluate import compare
        from agentgym.runs import Run

        a, b = Run.open(self.a), Run.open(self.b)
        for run, where in ((a, self.where), (b, self.where_b or self.where)):
            if not any(shard.matches(where) for shard in run.shards):
                tags = " with " + ", ".join(f"{k}={v}" for k, v in where.items()) if where else ""
                raise UsageError(f"{run.path} holds no episodes{tags}; name a run of `agentgym eval` or `rollout`")
        found = compare(a, b, where=self.where, where_b=self.where_b or None)
        print_json(found.as_dict()) if self.json else show(found.table())
        return 0


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "compare", words).run()
