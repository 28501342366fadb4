"""Credit fidelity: how near the gradient that an assigner gives is to the true one, on exact MDPs.

In every setting all assigners get the same batches of 16 groups. **cos@1** is the mean cosine between one group's
gradient estimate and the exact gradient of J = P(success within H); **cos@16** that of the whole batch's, which shows
bias. Assigners that pool over the batch (GTDP's prior) profit in cos@1 from 16 groups of one task. Two more columns say
how much: **alone** is cos@1 where each group is all that the assigner sees, **mixed** where the batch holds groups of
all the study's worlds, as a trainer's batch does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError
from agentgym.rewards.audit.assigners import Measured
from agentgym.rewards.audit.measures import Curve, Interval, bootstrap, cosine, gradients, noise_share, step_measures
from agentgym.rewards.audit.sample import PROGRESS, Critic, Progress, Sample, View, draw, progress_of
from agentgym.rewards.audit.worlds import Setting
from agentgym.rewards.credit import assigner

__all__ = ["BATCH", "FIGURES", "RIVALS", "CreditStudy", "study"]

Float = npt.NDArray[np.float64]

BATCH = 16
"""Groups a batch."""

CRITIC_ROLLOUTS = 2000
"""What the fitted critic learns from, in every setting."""

RIVALS: tuple[str, ...] = (
    "gtd",
    "gtdp",
    "gigpo",
    "progress-difference",
    "progress-gae",
    "calibrated-progress",
    "fitted-critic",
)
"""What HTD is held against, cell by cell. The fitted critic alone has seen 2,000 other rollouts."""

CONTRASTS: tuple[tuple[str, str], ...] = (
    ("htd", "gtdp"),
    ("htd", "progress-gae"),
    ("htd", "fitted-critic"),
    ("gtdp", "progress-gae"),
    ("gtdp", "gigpo+difference(z_scored=True)"),
    ("gtdp", "calibrated-progress"),
    ("gtd", "gigpo"),
)
"""What is claimed: each against the best of those that are given the same information."""

FIGURES = ("cos@1", "cos@16", "alone", "mixed", "spearman", "sign", "noise", "slope", "intercept", "us/row")
"""What is measured of every assigner in every setting; us/row is CPU microseconds."""


@dataclass(frozen=True, eq=False)
class CreditStudy:
    """What was found.

    Attributes:
        assigners: names, settings: what was measured. reads_progress: of every assigner.
        figures: by name of `FIGURES`, float64[assigners, settings].
        curves: of RLOO, one a setting.
    """

    assigners: tuple[str, ...]
    settings: tuple[Setting, ...]
    figures: dict[str, Float]
    curves: tuple[Curve, ...]
    reads_progress: tuple[bool, ...]

    def mean(self, name: str, figure: str = "cos@1", where: Callable[[Setting], bool] | None = None) -> Interval:
        """Over the settings, with its 95 % cluster-bootstrap interval (clusters: world and success rate)."""
        return self._mean(self._row(name, figure), where)

    def difference(
        self, a: str, b: str, figure: str = "cos@1", where: Callable[[Setting], bool] | None = None
    ) -> Interval:
        """Mean of a - b over the settings, paired, with its interval."""
        return self._mean(self._row(a, figure) - self._row(b, figure), where)

    def multiplier(self, name: str) -> float:
        """How many times RLOO's rollouts give the same mean cos@1; inf beyond the measured curve."""
        points = min(len(c.groups) for c in self.curves)
        mean = Curve(self.curves[0].groups[:points], np.mean([c.cosine[:points] for c in self.curves], axis=0))
        return mean.multiplier(float(self._row(name, "cos@1").mean()))

    def ranking(self) -> list[str]:
        """Names by mean cos@1, best first."""
        order = np.argsort(-self.figures["cos@1"].mean(axis=1), kind="stable")
        return [self.assigners[k] for k in order]

    def rows(self) -> list[dict[str, Any]]:
        """One summary per assigner, in the order of `ranking`."""
        found = []
        for name in self.ranking():
            interval = self.mean(name)
            row: dict[str, Any] = {
                "assigner": name,
                "reads_progress": self.reads_progress[self.assigners.index(name)],
                "cos@1": interval.value,
                "low": interval.low,
                "high": interval.high,
            }
            row |= {figure: float(self._row(name, figure).mean()) for figure in FIGURES[1:]}
            row["rollouts"] = self.multiplier(name)
            found.append(row)
        return found

    def contrasts(self) -> list[dict[str, Any]]:
        """The paired differences of `CONTRASTS`, overall and by kind of record; pairs not measured are left out."""
        pairs = [(a, b) for a, b in CONTRASTS if a in self.assigners and b in self.assigners]
        found = []
        for a, b in pairs:
            for figure in ("cos@1", "mixed", "alone"):
                for kind, where in self._kinds():
                    interval = self.difference(a, b, figure, where)
                    if np.isfinite(interval.value):
                        bounds = {"difference": interval.value, "low": interval.low, "high": interval.high}
                        found.append({"kind": kind, "a": a, "b": b, "figure": figure, **bounds})
        return found

    def margins(
        self,
        name: str = "htd",
        rivals: Sequence[str] = RIVALS,
        figures: Sequence[str] = ("cos@1", "mixed", "alone"),
    ) -> list[dict[str, Any]]:
        """By kind of record and figure: one assigner, the best of its rivals there, and the paired difference.

        The best is chosen on the same settings, which favours it; rivals not measured are left out.
        """
        measured = [rival for rival in rivals if rival in self.assigners and rival != name]
        found = []
        for figure in figures:
            for kind, where in self._kinds():
                means = {rival: self.mean(rival, figure, where).value for rival in measured}
                if not all(np.isfinite(list(means.values()))) or not means:
                    continue
                best = max(means, key=lambda rival: means[rival])
                interval = self.difference(name, best, figure, where)
                row: dict[str, Any] = {"kind": kind, "figure": figure, "value": self.mean(name, figure, where).value}
                row |= {"best": best, "best_value": means[best]}
                found.append(row | {"difference": interval.value, "low": interval.low, "high": interval.high})
        return found

    def by_kind(self, figure: str = "cos@1") -> list[dict[str, Any]]:
        """One row per dilution and progress quality: the mean of every assigner; none where there is but one kind."""
        return [
            {"kind": kind, **{name: self.mean(name, figure, where).value for name in self.assigners}}
            for kind, where in self._kinds()[1:]
        ]

    def _kinds(self) -> list[tuple[str, Callable[[Setting], bool] | None]]:
        """All settings, then those of every (dilution, progress) where there are several."""
        kinds = sorted({(s.dilution, PROGRESS.index(s.progress)) for s in self.settings})
        found: list[tuple[str, Callable[[Setting], bool] | None]] = [("all", None)]
        if len(kinds) > 1:
            found += [(f"x{d} {PROGRESS[p]}", partial(_is_kind, dilution=d, progress=PROGRESS[p])) for d, p in kinds]
        return found

    def cells(self) -> list[dict[str, Any]]:
        """One row per assigner and setting, for a CSV file."""
        return [
            {
                "assigner": name,
                "world": s.world.name,
                "J": s.success_rate,
                "G": s.size,
                "stretch": s.stretch,
                "dilution": s.dilution,
                "progress": s.progress,
                **{figure: float(self.figures[figure][i, j]) for figure in FIGURES},
            }
            for i, name in enumerate(self.assigners)
            for j, s in enumerate(self.settings)
        ]

    def _row(self, name: str, figure: str) -> Float:
        row: Float = self.figures[figure][self.assigners.index(name)]
        return row

    def _mean(self, values: Float, where: Callable[[Setting], bool] | None) -> Interval:
        chosen = np.array([where is None or where(s) for s in self.settings])
        if not chosen.any():
            raise UsageError("no setting of this study is of that kind")
        keys = [(s.world.name, s.success_rate) for s, c in zip(self.settings, chosen, strict=True) if c]
        clusters = np.array([sorted(set(keys)).index(k) for k in keys], dtype=np.int64)
        return bootstrap(values[chosen], clusters)


def study(
    settings: Sequence[Setting],
    assigners: Sequence[Measured],
    *,
    batches: int = 8,
    alone: int = 1,
    seed: int = 0,
    tick: Callable[[int, int], None] | None = None,
) -> CreditStudy:
    """Measure assigners in settings.

    Args:
        settings: at least one.
        assigners: at least one, names distinct.
        batches: of `BATCH` groups, in every setting.
        alone: so many of the batches are also given group by group, and mixed.
        seed: of the rollouts; the same seed gives the same table, but for the CPU time.
        tick: told (settings done, settings).

    Raises:
        UsageError: nothing to measure, or an assigner gives numbers that are not finite or of another length.
    """
    names = tuple(a.name for a in assigners)
    if not settings or not names or len(set(names)) < len(names):
        raise UsageError(f"a study needs settings and distinct assigners, got {len(settings)} settings and {names}")
    if not 1 <= alone <= batches:
        raise UsageError(f"alone must lie in [1, {batches}], got {alone}")
    figures = {figure: np.zeros((len(names), len(settings))) for figure in FIGURES}
    curves: dict[int, Curve] = {}
    for siblings in _siblings(settings):
        drawn = [_drawn(settings[j], place * batches, batches, [seed, j]) for place, j in enumerate(siblings)]
        singles = [[group for sample in samples[:alone] for group in sample.groups()] for samples in drawn]
        for j, samples in zip(siblings, drawn, strict=True):
            rloo = [gradients(s, assigner("rloo")(s.steps)) for s in samples]
            curves[j] = Curve.of(np.concatenate(rloo), samples[0].solution.gradient)
        for i, measured in enumerate(assigners):
            mixed = _mixed(measured, singles)
            for j, samples, lonely, with_others in zip(siblings, drawn, singles, mixed, strict=True):
                for figure, value in _measure(measured, samples).items():
                    figures[figure][i, j] = value
                figures["alone"][i, j] = _mean_cosine(lonely, [measured(s.view) for s in lonely])
                figures["mixed"][i, j] = with_others
        if tick is not None:
            tick(len(curves), len(settings))
    return CreditStudy(
        names,
        tuple(settings),
        figures,
        tuple(curves[j] for j in range(len(settings))),
        tuple(a.reads_progress for a in assigners),
    )


def _is_kind(setting: Setting, *, dilution: int, progress: Progress) -> bool:
    return setting.dilution == dilution and setting.progress == progress


def _siblings(settings: Sequence[Setting]) -> list[list[int]]:
    """Indices of the settings that differ in the world alone; such groups make up mixed batches."""
    found: dict[Any, list[int]] = {}
    for j, s in enumerate(settings):
        found.setdefault((s.success_rate, s.size, s.stretch, s.dilution, s.progress), []).append(j)
    return list(found.values())


def _drawn(setting: Setting, place: int, batches: int, seed: Sequence[int]) -> list[Sample]:
    solution = setting.solution()
    rng = np.random.default_rng(seed)
    others = draw(solution, rng, groups=1, size=CRITIC_ROLLOUTS, dilution=setting.dilution)
    phi, critic = progress_of(solution.mdp, setting.progress), Critic.fit(others.steps)
    return [
        draw(
            solution,
            rng,
            groups=BATCH,
            size=setting.size,
            dilution=setting.dilution,
            progress=phi,
            critic=critic,
            first=(place + b) * BATCH,
        )
        for b in range(batches)
    ]


def _mixed(measured: Measured, singles: Sequence[Sequence[Sample]]) -> list[float]:
    """Mean cos@1 of every world's groups in batches that hold as many groups of each world; NaN for a single world."""
    if len(singles) == 1:
        return [float("nan")]
    share = max(1, round(BATCH / len(singles)))
    found: list[list[float]] = [[] for _ in singles]
    for low in range(0, len(singles[0]) - share + 1, share):
        parts = [group for groups in singles for group in groups[low : low + share]]
        advantage = measured(View.join([part.view for part in parts]))
        split = np.split(advantage, np.cumsum([len(part.steps) for part in parts])[:-1])
        for k in range(len(singles)):
            mine = slice(k * share, (k + 1) * share)
            found[k].append(_mean_cosine(parts[mine], split[mine]))
    return [float(np.mean(values)) for values in found]


def _mean_cosine(groups: Sequence[Sample], advantages: Sequence[Float]) -> float:
    estimates = np.concatenate([gradients(g, a) for g, a in zip(groups, advantages, strict=True)])
    return float(cosine(estimates, groups[0].solution.gradient).mean())


def _measure(measured: Measured, samples: Sequence[Sample]) -> dict[str, float]:
    truth = samples[0].solution.gradient
    began = time.process_time()
    advantages = [measured(s.view) for s in samples]
    spent = time.process_time() - began
    estimates = [gradients(s, a) for s, a in zip(samples, advantages, strict=True)]
    every = np.concatenate(estimates)
    whole = np.stack([e.sum(axis=0) for e in estimates])
    return {
        "cos@1": float(cosine(every, truth).mean()),
        "cos@16": float(cosine(whole, truth).mean()),
        **step_measures(np.concatenate([s.advantage for s in samples]), np.concatenate(advantages)),
        "noise": noise_share(every),
        "us/row": 1e6 * spent / sum(len(s.steps) for s in samples),
    }
