"""``agentgym quickstart``."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agentgym.cli._output import print_json, require, sweep
from agentgym.cli._parse import Flag, parse
from agentgym.errors import AgentGymError

if TYPE_CHECKING:
    from agentgym.agents.train.config import TrainConfig

_OWN = 8
"""Environments that a training has beside those it plays in: to look up tasks, words and layouts."""


@dataclass(frozen=True)
class Command:
    """Train a small policy on DoorKey-8x8, on process rewards and on outcomes alone; write a report.

    With --in-containers the training runs in a container of the image agentgym/train, its environments in another of
    agentgym/serve; neither has a network, and they share one socket. The result is the same, number for number.

    Example:
      agentgym quickstart --seed 1 --out runs/seed1
      agentgym quickstart --in-containers
    """

    seed: int | None = None
    """Of everything random; that of the settings when not given."""
    out: Path = Path("runs/quickstart")
    """Run folder; one from an earlier time is moved aside."""
    config: Path | None = None
    """Settings from a JSON or TOML file, in place of the quickstart's own."""
    in_containers: Flag = False
    """Train in a container, with the environments in another."""
    json: Flag = False
    """Print the summary as JSON."""
    until_eof: Flag = False
    """End at once when standard input closes: whoever started this is gone."""

    def run(self) -> int:
        from agentgym.agents.train.config import TrainConfig, load_config
        from agentgym.agents.train.quickstart import CONFIG

        given = {} if self.config is None else load_config(self.config)
        given |= {} if self.seed is None else {"seed": self.seed}
        config = TrainConfig.from_dict(CONFIG.to_dict() | given)
        return self._in_containers(config) if self.in_containers else self._here(config)

    def _here(self, config: TrainConfig) -> int:
        for package in ("torch", "transformers", "pyarrow"):
            require(package, "train")
        from agentgym.agents.train.quickstart import quickstart

        if self.until_eof:
            threading.Thread(target=_leave_at_eof, daemon=True).start()
        began = time.monotonic()
        try:
            summary = quickstart(self.out, config=config, quiet=self.json)
        except AgentGymError:
            sweep(self.out)
            raise
        if self.json:
            print_json(summary | {"wall_seconds": round(time.monotonic() - began, 1)})
        return 0

    def _in_containers(self, config: TrainConfig) -> int:
        require("docker", "swe")
        from agentgym.agents.train.quickstart import set_aside
        from agentgym.containers import training

        out = set_aside(self.out.resolve())
        words = ["quickstart", "--config", training.SETTINGS, "--out", str(out), "--until-eof"]
        words += ["--json"] if self.json else []
        settings = config.served(training.URL).to_dict()
        return training.train(words, settings, out, env=config.env, environments=config.slots + _OWN)


def _leave_at_eof() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os._exit(1)  # with the container's first process go all others


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "quickstart", words).run()
