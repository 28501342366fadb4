"""Play a policy on a suite and say how it went, with intervals; stored and resumable where a run is given."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentgym.agents.evaluate.scores import METRICS, Scores, declared, score
from agentgym.agents.evaluate.stats import Interval, bootstrap, iqm, wilson
from agentgym.agents.evaluate.suites import Suite
from agentgym.agents.evaluate.suites import suite as find_suite
from agentgym.agents.loop import Collector, Ended, Job, Rollouts
from agentgym.agents.policy.types import Policy
from agentgym.errors import EndpointError, PolicyError, RunError, UsageError
from agentgym.runs import Run, Tag
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

if TYPE_CHECKING:
    from rich.console import Group

__all__ = ["EvalResult", "evaluate", "jobs_of", "summarise"]


@dataclass(frozen=True)
class EvalResult:
    """How a policy did on a suite.

    Episodes whose world broke have no result of the policy's: they are left out of every metric, counted in ``errors``,
    and `success_at_worst` takes each of them for a failure.

    Attributes:
        suite: its name. episodes: number played, broken ones included.
        errors: why worlds broke -> how many.
        metrics: metric -> estimate with its interval; those that no episode has are missing. ``progress_iqm`` is the
            interquartile mean of progress.
        by_env: environment -> the same.
        success_at_worst: success if every broken episode had failed.
        scores: the episodes.
    """

    suite: str
    episodes: int
    errors: Mapping[str, int]
    metrics: Mapping[str, Interval]
    by_env: Mapping[str, Mapping[str, Interval]]
    success_at_worst: Interval
    scores: Scores = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Plain values; numbers that are not finite are None."""
        return {
            "suite": self.suite,
            "episodes": self.episodes,
            "errors": dict(self.errors),
            "metrics": {k: _plain(v) for k, v in self.metrics.items()},
            "success_at_worst": _plain(self.success_at_worst),
            "by_env": {env: {k: _plain(v) for k, v in found.items()} for env, found in self.by_env.items()},
        }

    def to_json(self) -> str:
        """`as_dict` as one line of strict JSON."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def table(self) -> Group:
        """For the terminal (rich): the metrics of the suite, then every environment in a line."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        whole = Table(title=f"{self.suite}: {self.episodes} episodes", title_justify="left")
        for column in ("metric", "mean", "95 % interval"):
            whole.add_column(column, justify="left" if column == "metric" else "right")
        for name, found in self.metrics.items():
            whole.add_row(name.replace("_", " "), *_cells(name, found))
        if self.errors:
            reasons = "; ".join(f"{n} x {why}" for why, n in self.errors.items())
            worst = " within ".join(_cells("success", self.success_at_worst))
            whole.caption = Text(
                f"{sum(self.errors.values())} of {self.episodes} episodes broke and are left out ({reasons[:300]}); "
                f"success if all of them had failed: {worst}"
            )
            whole.caption_justify = "left"
        by_env = Table(title="by environment", title_justify="left")
        by_env.add_column("environment", overflow="fold")
        for column in ("episodes", "success", "95 % interval", "progress", "danger rate", "steps"):
            by_env.add_column(column, justify="right")
        for env, figures in self.by_env.items():
            success = figures.get("success")
            by_env.add_row(
                Text(env.removeprefix("agentgym/")),
                str(success.n if success else 0),
                *(_cells("success", success) if success else ("-", "-")),
                *(_cells(k, figures[k])[0] if k in figures else "-" for k in ("progress", "danger_rate", "steps")),
            )
        return Group(whole, by_env)


def evaluate(
    policy: Policy,
    suite: str | Suite,
    *,
    episodes: int | None = None,
    repeats: int = 1,
    run: Run | None = None,
    tags: Mapping[str, Tag] | None = None,
    first_trajectory: int = 0,
    greedy: bool = False,
    seed: int = 0,
    slots: int = 16,
    workers: int = 0,
    deterministic: bool = False,
    on_episode: Callable[[Ended], object] | None = None,
) -> EvalResult:
    """Play every (environment, seed) of a suite and summarise.

    Args:
        policy: anything with `act` and `end`.
        suite: a suite or its name (or JSON file).
        episodes: at most so many seeds of each environment.
        repeats: episodes of each seed.
        run: stores steps (with the texts of observations and actions) and tokens; what it holds already is not played
            again, so an evaluation that was stopped goes on when called again with the same arguments. When the policy
            fails for good, or on Ctrl-C, the episodes that had ended are stored before that is raised.
        tags: given to `Run.append`; by default ``phase="test"``.
        first_trajectory: number of the first episode, for a run that holds others too.
        greedy: take the policy's most probable action.
        seed: of the policy's randomness and of the intervals.
        slots, workers, deterministic, on_episode: see `agentgym.agents.loop.Collector`.

    Raises:
        RunError: the run holds other episodes under these numbers.
        UsageError: unknown suite or environment, or a policy that does not fit it.
        PolicyError: the policy failed for good (an endpoint that is gone: EndpointError). Whatever stops an evaluation,
            the episodes that had come to an end are in the run, and the same call goes on from there.
    """
    stored_as: dict[str, Tag] = {"phase": "test", **(tags or {})}
    chosen = suite if isinstance(suite, Suite) else find_suite(suite)
    if episodes is not None:
        chosen = chosen.first(episodes)
    jobs = jobs_of(chosen, repeats=repeats, first=first_trajectory, greedy=greedy)
    done = _done(run, jobs)
    parts = [done] if len(done.steps.trajectories) else []
    left = [job for job in jobs if job.trajectory not in set(done.steps.trajectories.id.tolist())]
    size = max(64, 4 * slots)
    finished, under_way = len(done.steps.trajectories), 0

    def keep(part: Rollouts, cut: Sequence[Job] = ()) -> None:
        nonlocal finished, under_way
        finished, under_way = finished + len(part.steps.trajectories), len(cut)
        if run is not None:
            run.append(part, None, **stored_as)
        parts.append(part)

    with Collector(slots=slots, workers=workers) as collector:
        for start in range(0, len(left), size):
            try:
                part = collector.collect(
                    policy,
                    left[start : start + size],
                    deterministic=deterministic,
                    seed=seed,
                    on_episode=on_episode,
                    keep=("text", "action", "said", "error") if run is not None else (),
                    rescue=keep,
                )
            except PolicyError as error:
                kind = EndpointError if isinstance(error, EndpointError) else PolicyError
                raise kind(f"{error}; {_left_off(run, len(jobs), finished, under_way)}") from error
            keep(part)
    made = {item.env: declared(item.env, item.kwargs) for item in chosen.items}
    milestones = {env: len(found.milestones) for env, found in made.items()}
    dangers = {env: len(found.dangers) for env, found in made.items()}
    table = StepTable.concat(p.steps for p in parts)
    scores = score(table, TokenTable.concat(p.tokens for p in parts), milestones, dangers)
    labels = dict(zip((job.trajectory for job in jobs), _labels(chosen, repeats), strict=True))
    result = summarise(
        scores, np.random.default_rng(seed), name=chosen.name, labels=[labels[k] for k in scores.trajectory.tolist()]
    )
    if run is not None and not tags:
        run.write_summary(result.as_dict())
    return result


def jobs_of(suite: Suite, *, repeats: int = 1, first: int = 0, greedy: bool = False) -> list[Job]:
    """The episodes of a suite, numbered from ``first`` in its order; those of one (environment, seed) are a group."""
    if repeats < 1:
        raise UsageError(f"repeats must be at least 1, got {repeats}")
    jobs: list[Job] = []
    for item in suite.items:
        for seed in item.seeds:
            group = first + len(jobs) // repeats
            jobs += [
                Job(item.env, seed, first + len(jobs) + k, group, item.kwargs, greedy=greedy) for k in range(repeats)
            ]
    return jobs


def summarise(
    scores: Scores,
    rng: np.random.Generator,
    *,
    name: str = "",
    labels: Sequence[str] | None = None,
    resamples: int = 2000,
) -> EvalResult:
    """Estimates and 95 % intervals of scored episodes.

    Args:
        scores: from `score`. rng: for the bootstrap.
        name: of the suite. labels: stratum of every episode; the environment by default.

    Intervals come from the bootstrap stratified by environment. Where all episodes agree on a share (all succeed, none
    is dangerous) it says nothing about the next episode, so a share then has Wilson's interval of the pooled count.
    """
    strata = np.array(scores.env if labels is None else labels, dtype=object)

    def estimate(metric: str, rows: npt.NDArray[np.bool_]) -> Interval:
        values = scores.values[metric][rows]
        found = bootstrap(values, rng, strata=strata[rows].astype(str), resamples=resamples)
        if metric in ("success", "danger_episodes") and found.low == found.high and found.n:
            low, high = wilson(float(values.sum()), found.n)
            return Interval(found.value, float(low), float(high), found.n, "wilson")
        return found

    def estimates(rows: npt.NDArray[np.bool_]) -> dict[str, Interval]:
        have = {m: rows & ~np.isnan(v) for m, v in scores.values.items()}
        return {m: estimate(m, measured) for m, measured in have.items() if measured.any()}

    ok = scores.ok
    metrics = estimates(ok)
    played = ok & ~np.isnan(scores.values["progress"])
    if played.any():
        progress = scores.values["progress"][played]
        labels_played = strata[played].astype(str)
        metrics["progress_iqm"] = bootstrap(progress, rng, strata=labels_played, statistic=iqm, resamples=resamples)
    won = float(scores.values["success"][ok].sum())
    low, high = wilson(won, len(scores))
    return EvalResult(
        suite=name,
        episodes=len(scores),
        errors=dict(Counter(str(e).splitlines()[0] for e in scores.error[~ok]).most_common()),
        metrics=metrics,
        by_env={env: estimates(ok & (strata == env)) for env in dict.fromkeys(strata.tolist())},
        success_at_worst=Interval(
            won / len(scores) if len(scores) else math.nan, float(low), float(high), len(scores), "wilson"
        ),
        scores=scores,
    )


def _labels(suite: Suite, repeats: int) -> list[str]:
    """The stratum of every job: its environment, with the arguments where one environment stands there twice."""
    count = Counter(item.env for item in suite.items)
    out: list[str] = []
    for item in suite.items:
        arguments = ", ".join(f"{k}={v}" for k, v in item.kwargs.items())
        out += [item.env if count[item.env] == 1 else f"{item.env} ({arguments})"] * (len(item.seeds) * repeats)
    return out


def _done(run: Run | None, jobs: Sequence[Job]) -> Rollouts:
    """The episodes of these jobs that the run holds."""
    if run is None:
        return Rollouts(StepTable.empty(), TokenTable.empty())
    wanted = {job.trajectory: job for job in jobs}
    steps, tokens = [], []
    for shard in run.shards:
        some = sorted(shard.ids & wanted.keys())
        if some:
            steps.append(shard.steps().only(some))
            tokens.append(shard.tokens().only(some))
    table = StepTable.concat(steps)
    heads = table.trajectories
    for k, env, seed in zip(heads.id.tolist(), heads.env, heads.seed.tolist(), strict=True):
        job = wanted[k]
        if (env, seed) != (job.env, job.seed):
            raise RunError(
                f"{run.path} holds {env} with seed {seed} as trajectory {k}, expected {job.env} with seed {job.seed}: "
                "it is of another suite; name another folder or another first_trajectory"
            )
    return Rollouts(table, TokenTable.concat(tokens))


def _left_off(run: Run | None, episodes: int, finished: int, under_way: int) -> str:
    """What has become of an evaluation that was stopped."""
    if run is None:
        return f"{finished} of {episodes} episodes had been played and are lost: evaluate into a run to keep them"
    return (
        f"{finished} of {episodes} episodes are kept in {run.path}, {under_way} that were under way are not: "
        f"the same evaluation of this run (--resume) plays the {episodes - finished} that are left"
    )


def _plain(interval: Interval) -> dict[str, Any]:
    numbers = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {
        **{k: v if math.isfinite(v) else None for k, v in numbers.items()},
        "n": interval.n,
        "method": interval.method,
    }


def _cells(metric: str, found: Interval) -> tuple[str, str]:
    """A figure and its interval in words."""
    share = METRICS[metric.removesuffix("_iqm")].share
    digits = 1 if share or abs(found.high) >= 10 else 3
    value, low, high = (f"{v * 100 if share else v:.{digits}f}" for v in (found.value, found.low, found.high))
    return value + (" %" if share else ""), f"{low} to {high}"
