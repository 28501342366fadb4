"""``agentgym rollout``, and what it shares with ``agentgym eval``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentgym.cli._output import at_least, from_here, known, print_json, progress, require, sweep, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import AgentGymError, RunError, UsageError

if TYPE_CHECKING:
    from agentgym.agents.evaluate import EvalResult, Suite
    from agentgym.agents.evaluate.stats import Interval
    from agentgym.runs import Run


@dataclass(frozen=True)
class Playing:
    """Options of both commands.

    A policy is named by: random, oracle, offender:NAME, endpoint:URL#MODEL (an OpenAI-compatible server), module:name
    (your own), or a folder or hub id of a Hugging Face causal language model.
    """

    policy: str
    """Who plays (see above)."""
    policy_options: dict[str, Any] = field(default_factory=dict)
    """For the policy, e.g. temperature=0.5, as KEY=VALUE words or one JSON object."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of gymnasium.make, e.g. view=text, as KEY=VALUE words or one JSON object."""
    repeats: int = 1
    """Episodes of every task seed."""
    seed: int = 0
    """Of the policy's randomness."""
    greedy: Flag = False
    """Take the policy's most probable action."""
    slots: int = 16
    """Episodes in flight."""
    workers: int = 0
    """Processes that host environments; 0 steps them in this one."""
    out: Path | None = None
    """Run folder that keeps every step; nothing is kept without it."""
    resume: Flag = False
    """Go on with the run in --out; what it holds is not played again."""
    json: Flag = False
    """Print the result as JSON."""

    def config(self) -> dict[str, Any]:
        """What decides the result, as a run folder keeps it."""
        names = ("policy", "policy_options", "env_kwargs", "repeats", "seed", "greedy")
        return {name: getattr(self, name) for name in names}

    def play(self, kind: str, suite: Suite, config: Mapping[str, Any]) -> int:
        """Play a suite and print how it went.

        Everything that can be refused is refused before the run folder is made.
        """
        from agentgym.agents.evaluate import evaluate
        from agentgym.agents.policy.simple import load_policy

        for item in suite.items:
            known(item.env)
        at_least(1, repeats=self.repeats, slots=self.slots)
        at_least(0, workers=self.workers, seed=self.seed)
        with ExitStack() as stack:
            from_here()
            policy = load_policy(self.policy, **self.policy_options)
            if hasattr(policy, "close"):
                stack.enter_context(closing(policy))  # type: ignore[type-var]  # has the one method that is asked for
            run = self._run(kind, {**self.config(), **config})
            total, done = len(suite) * self.repeats, 0
            tick = stack.enter_context(progress(f"{self.policy} on {suite.name}"))

            def on_episode(_: object) -> None:
                nonlocal done
                done += 1
                tick(done, total)

            try:
                result = evaluate(
                    policy,
                    suite,
                    repeats=self.repeats,
                    run=run,
                    greedy=self.greedy,
                    seed=self.seed,
                    slots=self.slots,
                    workers=self.workers,
                    on_episode=on_episode,
                )
            except AgentGymError:
                if self.out is not None and not self.resume:
                    sweep(self.out)
                raise
        self._print(result)
        return 1 if result.errors else 0

    def _run(self, kind: str, config: Mapping[str, Any]) -> Run | None:
        if self.out is None:
            if self.resume:
                raise UsageError("--resume needs --out, the run to go on with")
            return None
        require("pyarrow", "train")
        from agentgym.runs import Run

        if not self.resume and (self.out / "run.json").exists():
            raise RunError(f"{self.out} holds a run already; go on with it by --resume, or name another --out")
        return Run.create(self.out, kind, config, exist_ok=self.resume)

    def _print(self, result: EvalResult) -> None:
        if self.json:
            print_json(result.as_dict() | {"policy": self.policy, "out": None if self.out is None else str(self.out)})
            return
        if len(result.by_env) > 1:
            columns = ("environment", "success", "", "", "progress", "danger", "steps")
            table(columns, [_summary(env, found) for env, found in result.by_env.items()])
            print()
        rows = [(name, i.value, i.low, i.high, i.n) for name, i in result.metrics.items()]
        table(("metric", "mean", "95 % from", "to", "episodes"), rows, title=result.suite)
        if result.errors:
            reasons = "; ".join(f"{n} x {why}" for why, n in result.errors.items())
            print(f"{sum(result.errors.values())} of {result.episodes} episodes broke and are left out: {reasons}")
        if self.out is not None:
            print(f"kept in {self.out}; `agentgym report {self.out}` shows it")


def _summary(env: str, found: Mapping[str, Interval]) -> tuple[Any, ...]:
    """An environment in one row: success with its interval, and the means of what matters besides."""
    success = found.get("success")
    interval = (success.value, f"[{success.low:.2f},", f"{success.high:.2f}]") if success else ("", "", "")
    means = (found[name].value if name in found else "" for name in ("progress", "danger_rate", "steps"))
    return (env, *interval, *means)


@dataclass(frozen=True, kw_only=True)
class Command(Playing):
    """Let a policy play episodes of one environment, and keep what happened.

    A policy is named by: random, oracle, offender:NAME, endpoint:URL#MODEL (an OpenAI-compatible server), module:name
    (your own), or a folder or hub id of a Hugging Face causal language model. Exit code 1 if an episode broke.

    Example:
      agentgym rollout --env agentgym/Grid-DoorKey-5x5-v0 --policy oracle --episodes 20 --out runs/oracle
    """

    env: str
    """Environment id."""
    episodes: int = 10
    """Task seeds, one episode each."""
    first_seed: int = 0
    """The first task seed; the others follow."""

    def run(self) -> int:
        from agentgym.agents.evaluate import Item, Suite

        at_least(1, episodes=self.episodes)
        at_least(0, first_seed=self.first_seed)
        seeds = tuple(range(self.first_seed, self.first_seed + self.episodes))
        suite = Suite(self.env, (Item(self.env, seeds, self.env_kwargs),))
        config = {"env": self.env, "episodes": self.episodes, "first_seed": self.first_seed}
        return self.play("rollout", suite, config)


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "rollout", words).run()
