"""What wrong labels do to credit: flipped outcomes, and danger bits where there was no danger."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from agentgym.errors import UsageError
from agentgym.rewards.audit.assigners import Measured
from agentgym.rewards.audit.credit import BATCH
from agentgym.rewards.audit.exact import Solution
from agentgym.rewards.audit.measures import cosine, gradients
from agentgym.rewards.audit.sample import View, draw

__all__ = ["disturbed", "robustness"]

Float = npt.NDArray[np.float64]


def disturbed(
    view: View, rng: np.random.Generator, *, flipped: float = 0.0, spurious: float = 0.0, missed: float = 0.0
) -> View:
    """The same rollouts, wrongly labelled.

    Args:
        view: what assigners are given; its truth stays.
        rng: the caller's.
        flipped: probability that a rollout's outcome, and the reward of its last step, is the opposite.
        spurious: probability that a safe step is called dangerous.
        missed: probability that a dangerous step is called safe.
    """
    for name, share in (("flipped", flipped), ("spurious", spurious), ("missed", missed)):
        if not 0.0 <= share <= 1.0:
            raise UsageError(f"{name} must lie in [0, 1], got {share!r}")
    steps = view.steps
    wrong = rng.random(len(steps.starts)) < flipped
    outcome = np.where(wrong, 1.0 - steps.outcome, steps.outcome)
    reward = steps.reward.copy()
    reward[steps.ends[wrong]] = outcome[wrong]
    chance = rng.random(len(steps))
    danger = np.where(steps.danger, chance >= missed, chance < spurious)
    scores = steps.trajectories.outcome.copy()
    scores[steps.trajectory_rows] = outcome
    table = replace(steps.trajectories, outcome=scores, success=scores > 0.5)
    return replace(view, steps=replace(steps, reward=reward, danger=danger, trajectories=table))


def robustness(
    solution: Solution,
    assigners: Sequence[Measured],
    shares: Sequence[float] = (0.0, 0.05, 0.1, 0.2),
    *,
    label: str = "flipped",
    batches: int = 4,
    seed: int = 0,
) -> dict[str, list[float]]:
    """cos@1 of every assigner at every share of wrong labels, on the same rollouts.

    Args:
        solution: a policy and its truth.
        assigners: to measure.
        shares: of wrong labels.
        label: "flipped", "spurious" or "missed", see `disturbed`.
        batches: of 16 groups of 8.
        seed: of rollouts and labels.
    """
    samples = [draw(solution, np.random.default_rng([seed, b]), groups=BATCH, first=b * BATCH) for b in range(batches)]
    found: dict[str, list[float]] = {measured.name: [] for measured in assigners}
    for share in shares:
        views = [
            disturbed(sample.view, np.random.default_rng([seed, b, 1]), **{label: share})
            for b, sample in enumerate(samples)
        ]
        for measured in assigners:
            estimates = [gradients(s, measured(v)) for s, v in zip(samples, views, strict=True)]
            found[measured.name].append(float(cosine(np.concatenate(estimates), solution.gradient).mean()))
    return found
