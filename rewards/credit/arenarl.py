"""ArenaRL: advantages from a tournament inside the group (arXiv 2601.06487).

    r_i = 1 - rank_i / (n - 1);   A_i = (r_i - mean) / (sd + 1e-6)        sample sd

The ranking comes from pairwise judgements in one of the brackets of `agentgym.rewards.models.tournament`; the paper's
is single elimination with 2n - 2 calls. Groups are judged one after another: it is the judge that takes the time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName
from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float, extra, finite
from agentgym.rewards.models.tournament import BRACKETS
from agentgym.steps import StepTable

__all__ = ["Comparer", "assign", "standings"]

Comparer = Callable[[int, int], tuple[float, float]]
"""``judge(trajectory id, trajectory id) -> (score, score)``; the first is shown first."""


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    judge: Comparer | str,
    bracket: str = "single_elimination",
    seed: int = 0,
) -> Float:
    """Advantages float64[n] of the ranking, repeated on every trajectory's steps.

    Args:
        steps: n rows; ``group`` says who meets whom.
        rewards: not read; the judge decides.
        judge: compares two trajectories; or the name of a column, whose last value is a trajectory's score.
        bracket: a name in `BRACKETS`.
        seed: of the pairs that a bracket draws.

    Raises:
        UnknownName: there is no such bracket.
        ValueError: a group of one; the judge answers something that is not finite; its column is missing.
    """
    return grpo.assign(steps, score=standings(steps, judge=judge, bracket=bracket, seed=seed), normalise="mean_std")


def standings(steps: StepTable, *, judge: Comparer | str, bracket: str = "single_elimination", seed: int = 0) -> Float:
    """float64[k], in the order of ``steps.starts``: 1 for the first of its group, 0 for the last."""
    if bracket not in BRACKETS:
        raise UnknownName("bracket", bracket, BRACKETS, "agentgym.rewards.models.tournament.BRACKETS lists them")
    if isinstance(judge, str):
        judge = _by_column(steps, judge)
    rng = random.Random(seed)
    reward = np.zeros(len(steps.starts))
    ids = steps.trajectory[steps.starts]
    for group in np.unique(steps.trajectory_group):
        members = np.flatnonzero(steps.trajectory_group == group)
        if len(members) < 2:
            raise ValueError(f"a tournament needs two rollouts, group {group} has one; drop the group")
        names = ids[members].tolist()

        def ask(i: int, j: int, names: list[int] = names, judge: Comparer = judge) -> tuple[float, float]:
            return judge(names[i], names[j])

        reward[members] = BRACKETS[bracket](len(members), ask, rng).reward
    return reward


def _by_column(steps: StepTable, name: str) -> Comparer:
    """A judge that reads a trajectory's score in its last row."""
    column = steps.columns().get(name)
    given = extra(steps, name, "ArenaRL's judge") if column is None else column
    values = finite(name, given, (len(steps),))[steps.ends]
    scores = dict(zip(steps.trajectory[steps.starts].tolist(), values.tolist(), strict=True))
    return lambda first, second: (scores[first], scores[second])
