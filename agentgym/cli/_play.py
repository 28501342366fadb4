"""``agentgym play``."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import tyro
from rich.console import Console
from rich.text import Text

from agentgym.cli._envs import choices
from agentgym.cli._output import at_least, known, make, print_json
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError
from agentgym.process import read_record


@dataclass(frozen=True)
class Command:
    """Act in an environment yourself, or watch its oracle, with the process record beside every step.

    Type an action, or its number where a list is shown; an empty line or q quits. Actions are also read from a pipe,
    one a line.

    Example:
      agentgym play agentgym/Grid-DoorKey-8x8-v0 --seed 3
      agentgym play agentgym/Grid-DoorKey-8x8-v0 --oracle
      agentgym play agentgym/Grid-DoorKey-8x8-v0 --actions left,forward,pickup --json
    """

    id: tyro.conf.Positional[str]
    """Environment id."""
    seed: int = 0
    """Of the episode."""
    view: str | None = None
    """What to observe, where the environment has several views; "text" where it has that."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """More arguments of gymnasium.make, as KEY=VALUE words or one JSON object."""
    actions: str | None = None
    """Take these actions, separated by commas, and stop."""
    oracle: Flag = False
    """Watch the environment's oracle."""
    json: Flag = False
    """Print every step as one JSON line instead."""

    def run(self) -> int:
        if self.oracle and self.actions is not None:
            raise UsageError("--oracle and --actions exclude each other: give one")
        at_least(0, seed=self.seed)
        with warnings.catch_warnings():
            # of a stranger's environment that knows no text pictures; what it lacks besides is said below
            warnings.simplefilter("ignore", UserWarning)
            env = make(self.id, self._kwargs(), render_mode="ansi")
        try:
            return _Session(env, self).play()
        finally:
            env.close()

    def _kwargs(self) -> dict[str, Any]:
        view = self.view
        if view is None and "text" in choices(known(self.id), "view"):
            view = "text"
        return {**({} if view is None else {"view": view}), **self.env_kwargs}


class _Session:
    """One episode at the terminal."""

    def __init__(self, env: gymnasium.Env[Any, Any], options: Command) -> None:
        self.env, self.options = env, options
        self.base: Any = env.unwrapped
        self.out = Console(highlight=False, soft_wrap=True)
        self.t = 0

    def play(self) -> int:
        observation, info = self.env.reset(seed=self.options.seed)
        if "process" not in info:
            raise UsageError(
                f"{self.options.id} does not speak the process contract (its reset info has no 'process'); "
                "wrap it with agentgym.add_process"
            )
        if not self.options.json:
            self.out.print(Text(f"{self.options.id}, seed {self.options.seed}", "bold"))
            self.out.print(Text(f"Goal: {info.get('goal', '')}"))
        self._show(None, observation, info)
        source = self._oracle() if self.options.oracle else self._typed()
        action = next(source, None)
        over = False
        while action is not None and not over:
            observation, _, terminated, truncated, info = self.env.step(action)
            self.t += 1
            over = terminated or truncated
            self._show(action, observation, info, terminated=terminated, truncated=truncated)
            if not over:
                try:
                    action = source.send(observation)
                except StopIteration:
                    action = None
        if over and not self.options.json:
            end = "solved" if info["success"] else "the episode ended" if terminated else "out of steps"
            self.out.print(Text(f"{end} after {self.t} steps", "bold"))
        return 1 if self.options.oracle and self.base.task.has_success and not info["success"] else 0

    # ------------------------------------------------------------------ where actions come from

    def _oracle(self) -> Any:
        actor = self.base.oracle()
        if actor is None:
            raise UsageError(f"{self.options.id} has no oracle to watch; play it yourself, without --oracle")
        return actor

    def _typed(self) -> Any:
        """A generator of actions like an oracle, from ``--actions`` or from stdin."""
        if self.options.actions is not None:
            for word in filter(None, map(str.strip, self.options.actions.split(","))):
                yield self._read(word)
            return
        for line in self._lines():
            try:
                action = self._read(line)
            except UsageError as error:
                if not sys.stdin.isatty():
                    raise
                self.out.print(Text(str(error), "yellow"))
                continue
            yield action

    def _lines(self) -> Iterator[str]:
        while True:
            if sys.stdin.isatty():
                self.out.print("action> ", end="")
            line = sys.stdin.readline().strip()
            if line in ("", "q"):
                return
            yield line

    def _read(self, word: str) -> Any:
        """The action that a word stands for.

        Raises:
            UsageError: the word cannot be an action of this space.
        """
        space, listed = self.env.action_space, self.base.admissible() or ()
        if isinstance(space, gymnasium.spaces.Text):
            by_number = word.isdecimal() and 1 <= int(word) <= len(listed)
            return listed[int(word) - 1] if by_number else word
        try:
            value = json.loads(word)
        except ValueError:
            value = None
        if isinstance(space, gymnasium.spaces.Discrete) and (not isinstance(value, int) or isinstance(value, bool)):
            raise UsageError(f"an action here is a whole number of {space}, got {word!r}")
        if value is None:
            raise UsageError(f"an action here is a member of {space}, written as JSON, got {word!r}")
        return value

    # ------------------------------------------------------------------ what is shown

    def _show(self, action: Any, observation: Any, info: dict[str, Any], **ended: bool) -> None:
        record = read_record(info)
        if self.options.json:
            step = {"t": self.t, "action": action, **record, "success": info["success"], "events": info["events"]}
            print_json({**step, "error": info["error"], **ended})
            return
        if action is not None:
            self.out.print(Text(f"\n{self.t}. {action}", "bold"))
        picture = str(self.env.render())
        if picture != str(observation):  # a world without a picture of its own renders its observation
            self.out.print(Text.from_ansi(picture))
        text = observation.get("text") if isinstance(observation, dict) else observation
        if isinstance(text, str):
            self.out.print(Text(text, "dim"))
        self.out.print(self._record_line(record, info))
        listed = self.base.admissible()
        if listed and not any(ended.values()):
            numbered = isinstance(self.env.action_space, gymnasium.spaces.Text)
            names = [f"{k}) {a}" if numbered else str(a) for k, a in enumerate(listed, 1)]
            self.out.print(Text("actions: " + "  ".join(names)))

    def _record_line(self, record: Any, info: dict[str, Any]) -> Text:
        filled = round(20 * record["progress"])
        line = Text(f"progress [{'#' * filled}{'.' * (20 - filled)}] {record['progress']:.2f} ")
        for k, milestone in enumerate(self.base.task.milestones):
            reached = bool(record["milestones"] >> k & 1)
            line.append(f" [{'x' if reached else ' '}] {milestone.name}", "green" if reached else "")
        if record["danger"]:
            codes = [c.removeprefix("danger:") for c in info["events"] if c.startswith("danger:")]
            line.append(f"  DANGER: {', '.join(codes)}", "bold red")
        if not record["grounded"]:
            line.append(f"  not grounded: {info['error']}", "yellow")
        return line


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "play", words).run()
