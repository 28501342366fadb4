"""``agentgym train``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from agentgym.cli._output import bars, make, print_json, require, sweep, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import AgentGymError, RunError, UsageError


@dataclass(frozen=True)
class _Options:
    """Train a policy: demonstrations by the oracle, then policy gradient on rollouts in groups.

    Settings come from --config first; options given here override them. Ctrl-C finishes the update in hand, saves, and
    leaves; --resume goes on from there, with the settings of the run.

    Example:
      agentgym train --recipe gigpo --env agentgym/Grid-DoorKey-5x5-v0 --env-kwargs view=memory --out runs/gigpo
      agentgym train --config settings.toml --lr 3e-4 --out runs/low
      agentgym train --resume --out runs/low
    """

    config: Path | None = None
    """Settings from a JSON or TOML file."""
    out: Path = Path("runs/train")
    """Run folder."""
    resume: Flag = False
    """Go on with the run in --out from its newest checkpoint."""
    json: Flag = False
    """Print the summary as JSON."""


def main(words: Sequence[str]) -> int:
    """Run the command."""
    from agentgym.agents.train.config import TrainConfig, load_config

    first = _first_pass(words)
    settings: dict[str, Any] = {}
    if first.resume:
        settings = _stored(first.out)
    if first.config is not None:
        settings |= load_config(first.config)
    command = _with_settings(TrainConfig)
    options: Any = parse(command, "train", words, default=command(settings=TrainConfig.from_dict(settings)))
    if not options.resume and (options.out / "run.json").exists():
        raise RunError(f"{options.out} holds a run already; go on with it by --resume, or name another --out")
    if options.resume and (summary := _finished(options.out)):
        return _print(summary, options)
    for package in ("torch", "transformers", "pyarrow"):
        require(package, "train")
    from agentgym.rewards import recipe

    recipe(options.settings.recipe)
    make(options.settings.env, options.settings.env_kwargs).close()
    from transformers.utils import logging

    from agentgym.agents.train.trainer import train

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # its bar for every checkpoint would tear ours
    with bars() as progress:
        try:
            summary = train(options.settings, options.out, resume=options.resume, progress=progress)
        except AgentGymError:
            if not options.resume:
                sweep(options.out)
            raise
    return _print(summary, options)


def _print(summary: Mapping[str, Any], options: Any) -> int:
    if options.json:
        print_json({**summary, "out": str(options.out)})
        return 0
    scores = [(name, summary[name]) for name in ("before", "after", "greedy") if summary.get(name)]
    columns = ("success", "low", "high", "progress", "danger_rate", "steps", "episodes")
    table(("test", *columns), [(name, *(s[c] for c in columns)) for name, s in scores], title=str(options.out))
    return 0


def _finished(out: Path) -> dict[str, Any]:
    """The summary of a run that has nothing left to do; else {}."""
    from agentgym.runs import Run

    return Run.open(out).summary()


def _with_settings(config: Any) -> type[Any]:
    """The options with every setting beside them, as one flat list."""
    flat = Annotated[config, tyro.conf.OmitArgPrefixes, tyro.conf.arg(name="")]
    made = make_dataclass(
        "Command", [("settings", flat, field(default_factory=config))], bases=(_Options,), frozen=True
    )
    made.__doc__ = _Options.__doc__
    return made


def _first_pass(words: Sequence[str]) -> _Options:
    """What decides the defaults of all the rest: --config, --out and --resume."""
    given: dict[str, str | None] = {"config": None, "out": None}
    for k, word in enumerate(words):
        name, equals, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in given:
            given[name] = value if equals else next(iter(words[k + 1 : k + 2]), None)
    out = Path(given["out"]) if given["out"] else _Options.out
    return _Options(Path(given["config"]) if given["config"] else None, out, "--resume" in words)


def _stored(out: Path) -> dict[str, Any]:
    from agentgym.runs import Run

    run = Run.open(out)
    if run.kind != "train":
        raise UsageError(f"{out} is a run of kind {run.kind!r}; --resume goes on with one of kind 'train'")
    return dict(run.config)
