"""Compare two runs on the same tasks, pair by pair."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from agentgym.agents.evaluate.scores import METRICS, Scores, declared, score
from agentgym.agents.evaluate.stats import Interval, holm, paired_bootstrap, sign_flip_test
from agentgym.errors import UsageError
from agentgym.runs import Run, Tag

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["Comparison", "Difference", "compare", "compare_scores", "scores_of"]

ALPHA = 0.05


@dataclass(frozen=True)
class Difference:
    """One metric in two runs.

    Attributes:
        a, b: means over the pairs. difference: b - a, with its stratified bootstrap interval (95 %, this metric alone).
        p: of a two-sided sign-flip test. p_holm: corrected for all metrics compared together.
    """

    a: float
    b: float
    difference: Interval
    p: float
    p_holm: float

    @property
    def significant(self) -> bool:
        """``p_holm`` is below 0.05."""
        return self.p_holm < ALPHA


@dataclass(frozen=True)
class Comparison:
    """Two runs, episode against episode of the same environment, task and seed.

    Attributes:
        a, b: names of the runs. pairs: number of episodes that both have.
        only_a, only_b: episodes without a partner, left out.
        broken: pairs of which a world broke in either, left out.
        metrics: metric -> difference; metrics that no pair has are missing.
    """

    a: str
    b: str
    pairs: int
    only_a: int
    only_b: int
    broken: int
    metrics: Mapping[str, Difference]

    def as_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "a": self.a,
            "b": self.b,
            "pairs": self.pairs,
            "only_a": self.only_a,
            "only_b": self.only_b,
            "broken": self.broken,
            "metrics": {
                k: {
                    "a": d.a,
                    "b": d.b,
                    "difference": d.difference.value,
                    "low": d.difference.low,
                    "high": d.difference.high,
                    "n": d.difference.n,
                    "p": d.p,
                    "p_holm": d.p_holm,
                }
                for k, d in self.metrics.items()
            },
        }

    def to_json(self) -> str:
        """`as_dict` as one line of strict JSON."""
        return json.dumps(self.as_dict(), allow_nan=False)

    def table(self) -> Table:
        """For the terminal (rich)."""
        from rich.table import Table
        from rich.text import Text

        table = Table(title=f"{self.pairs} pairs of episodes, 95 % intervals", title_justify="left")
        for name in ("metric", self.a, self.b, "difference", "p (Holm)"):
            table.add_column(Text(name), justify="left" if name == "metric" else "right")
        for name, d in self.metrics.items():
            i = d.difference
            better = METRICS[name].better
            style = ""
            if d.significant and better:
                style = "green" if i.value * better > 0 else "red"
            table.add_row(
                name.replace("_", " "),
                f"{d.a:.3f}",
                f"{d.b:.3f}",
                Text(f"{i.value:+.3f} [{i.low:+.3f}, {i.high:+.3f}]", style=style),
                f"{d.p_holm:.3f}" if d.p_holm >= 0.001 else "< 0.001",
            )
        left_out = ((self.only_a, f"only in {self.a}"), (self.only_b, f"only in {self.b}"), (self.broken, "broken"))
        notes = [f"{n} {what}" for n, what in left_out if n]
        if notes:
            table.caption = Text("left out: " + ", ".join(notes))
        return table


def scores_of(run: Run, where: Mapping[str, Tag] | None = None) -> Scores:
    """The scored episodes of a run (see `Run.steps` for ``where``)."""
    steps = run.steps(where)
    made = {env: declared(env) for env in dict.fromkeys(steps.trajectories.env.tolist())}
    milestones = {env: len(found.milestones) for env, found in made.items()}
    return score(steps, run.tokens(where), milestones, {env: len(found.dangers) for env, found in made.items()})


def compare(
    a: Run,
    b: Run,
    *,
    where: Mapping[str, Tag] | None = None,
    where_b: Mapping[str, Tag] | None = None,
    seed: int = 0,
) -> Comparison:
    """Pair the episodes of two runs by environment, task and seed, and say what differs.

    Args:
        a, b: the runs; one and the same with two ``where`` compares before and after.
        where: tags of the appends to compare, e.g. ``{"phase": "test", "label": "after"}``; where_b: of ``b``, when
            they differ.
        seed: of bootstrap and test.

    Raises:
        UsageError: the two have no pair.
    """
    names = [a.path.name, b.path.name]
    if names[0] == names[1]:
        names = [f"{names[0]} (a)", f"{names[1]} (b)"]
    rng = np.random.default_rng(seed)
    return compare_scores(scores_of(a, where), scores_of(b, where if where_b is None else where_b), rng, names=names)


def compare_scores(a: Scores, b: Scores, rng: np.random.Generator, *, names: list[str] | None = None) -> Comparison:
    """`compare` on scored episodes. Several episodes of one task and seed are paired in the order of their numbers."""
    left, right = (names or ["a", "b"])[:2]
    rows_a, rows_b, only_a, only_b = _pairs(a, b)
    if not len(rows_a):
        raise UsageError(
            f"{left} and {right} share no (environment, task, seed): {left} has {_seen(a)}, {right} has {_seen(b)}; "
            "evaluate both on one suite"
        )
    whole = a.ok[rows_a] & b.ok[rows_b]
    x, y = a[rows_a[whole]], b[rows_b[whole]]
    found: dict[str, tuple[float, float, Interval, float]] = {}
    for name in METRICS:
        have = ~np.isnan(x.values[name]) & ~np.isnan(y.values[name])
        if not have.any():
            continue
        u, v = x.values[name][have], y.values[name][have]
        difference = paired_bootstrap(u, v, rng, strata=x.env[have].astype(str))
        found[name] = float(u.mean()), float(v.mean()), difference, sign_flip_test(v - u, rng)
    corrected = holm([p for *_, p in found.values()])
    return Comparison(
        left,
        right,
        pairs=int(whole.sum()),
        only_a=only_a,
        only_b=only_b,
        broken=int((~whole).sum()),
        metrics={k: Difference(*v, float(q)) for (k, v), q in zip(found.items(), corrected, strict=True)},
    )


def _keys(scores: Scores) -> dict[tuple[str, str, int, int], int]:
    """(environment, task, seed, how many of them came before) -> row."""
    count: Counter[tuple[str, str, int]] = Counter()
    out = {}
    for row, key in enumerate(zip(scores.env.tolist(), scores.task.tolist(), scores.seed.tolist(), strict=True)):
        out[(*key, count[key])] = row
        count[key] += 1
    return out


def _pairs(a: Scores, b: Scores) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int, int]:
    in_a, in_b = _keys(a), _keys(b)
    both = [k for k in in_a if k in in_b]
    rows = [np.array([found[k] for k in both], dtype=np.int64) for found in (in_a, in_b)]
    return rows[0], rows[1], len(in_a) - len(both), len(in_b) - len(both)


def _seen(scores: Scores) -> str:
    if not len(scores):
        return "no episodes"
    seeds: dict[str, list[int]] = defaultdict(list)
    for env, seed in zip(scores.env.tolist(), scores.seed.tolist(), strict=True):
        seeds[env].append(seed)
    env, some = next(iter(seeds.items()))
    return f"{env} (seeds {min(some)} to {max(some)})" + (f" and {len(seeds) - 1} more" if len(seeds) > 1 else "")
