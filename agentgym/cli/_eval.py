"""``agentgym eval``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agentgym.cli._output import table
from agentgym.cli._parse import Flag, parse
from agentgym.cli._rollout import Playing
from agentgym.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Command(Playing):
    """Measure a policy on a suite: success, progress, milestones, danger and more, with 95 % intervals.

    A policy is named by: random, oracle, offender:NAME, endpoint:URL#MODEL (an OpenAI-compatible server), module:name
    (your own), or a folder or hub id of a Hugging Face causal language model. Exit code 1 if an episode broke.

    Example:
      agentgym eval --policy random --suite quick
      agentgym eval --policy endpoint:http://localhost:8000/v1#my-model --suite quick --out runs/mine
      agentgym eval --policy oracle --env agentgym/Grid-DoorKey-5x5-v0 --episodes 50
      agentgym eval --list
    """

    policy: str = ""
    """Who plays (see above)."""
    suite: str | None = None
    """Name of a suite, or a JSON file with one."""
    env: str | None = None
    """One environment instead of a suite."""
    episodes: int | None = None
    """At most so many task seeds of every environment (with --env: 50 unless given)."""
    list: Flag = False
    """List the suites by name, and leave."""

    def run(self) -> int:
        from agentgym.agents.evaluate import Item, Suite, suite, suite_names
        from agentgym.agents.evaluate.suites import FIRST_SEED

        if self.list:
            suites = [suite(name) for name in suite_names()]
            table(("suite", "episodes", "description"), [(s.name, len(s), s.description) for s in suites])
            return 0
        if not self.policy:
            raise UsageError("say who plays: --policy random, --policy oracle, ...; see `agentgym eval --help`")
        if (self.suite is None) == (self.env is None):
            raise UsageError("say on what to measure, by either --suite or --env; `agentgym eval --list` lists suites")
        if self.episodes is not None and self.episodes < 1:
            raise UsageError(f"--episodes must be at least 1, got {self.episodes}")
        if self.env is not None:
            count = 50 if self.episodes is None else self.episodes
            chosen = Suite(self.env, (Item(self.env, tuple(range(FIRST_SEED, FIRST_SEED + count))),))
        else:
            chosen = suite(self.suite or "")
            if self.episodes is not None:
                chosen = chosen.first(self.episodes)
        return self.play(
            "eval", chosen.with_kwargs(**self.env_kwargs), {"suite": chosen.name, "episodes": self.episodes}
        )


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "eval", words).run()
