"""Step tables for tests: drawn at random, or made from a short description."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from agentgym.steps import StepTable

REWARDS = st.sampled_from([0.0, 1.0, 0.5, -1.0, 0.1]) | st.floats(-100, 100, allow_subnormal=False).map(
    lambda x: round(x, 6)
)
"""Rewards that repeat often, and any others."""


@st.composite
def tables(
    draw: st.DrawFn,
    *,
    min_trajectories: int = 1,
    max_trajectories: int = 6,
    max_length: int = 5,
    comparable: bool = False,
    distinct_outcomes: bool = False,
) -> StepTable:
    """Up to three groups whose trajectories are interleaved, few anchors, so that states repeat inside and across.

    ``comparable``: every group has at least two trajectories, and all extra columns are there.
    """
    least = max(min_trajectories, 2 if comparable else 1)
    lengths = draw(st.lists(st.integers(1, max_length), min_size=least, max_size=max_trajectories))
    n = sum(lengths)
    trajectory = np.repeat(np.arange(len(lengths)) * 3 - 4, lengths)  # ids need neither start at 0 nor be dense
    groups = np.array(draw(st.lists(st.integers(-1, 1), min_size=len(lengths), max_size=len(lengths))))
    if comparable and (np.unique(groups, return_counts=True)[1] < 2).any():
        groups[:] = 0
    group = np.repeat(groups, lengths)
    outcome = column(draw, len(lengths), REWARDS)
    if distinct_outcomes:
        outcome = np.array(draw(st.permutations(range(len(lengths)))), dtype=np.float64) / 7
    last = np.zeros(n, dtype=bool)
    last[np.cumsum(lengths) - 1] = True
    ended = np.array(draw(st.lists(st.booleans(), min_size=n, max_size=n)), dtype=bool)
    milestones = column(draw, n, st.integers(0, 7), np.int64)
    table = StepTable.from_columns(
        trajectory=trajectory,
        group=group.astype(np.int64),
        milestones_before=milestones & column(draw, n, st.integers(0, 7), np.int64),
        milestones=milestones,
        reward=column(draw, n, REWARDS),
        outcome=outcome,
        anchor=column(draw, n, st.sampled_from([0, 1, 2, -(2**62), 2**62]), np.int64),
        next_anchor=column(draw, n, st.sampled_from([0, 1, 2, -(2**62), 2**62]), np.int64),
        action=column(draw, n, st.integers(0, 2), np.int64),
        progress_before=column(draw, n, st.floats(0, 1)),
        progress=column(draw, n, st.floats(0, 1)),
        grounded=column(draw, n, st.booleans(), bool),
        danger=column(draw, n, st.booleans(), bool),
        duration=column(draw, n, st.floats(0, 10)),
        terminated=last & ended,
        truncated=last & ~ended,
    )
    return judged(table) if comparable else table


def column(draw: st.DrawFn, n: int, values: st.SearchStrategy[Any], dtype: Any = np.float64) -> np.ndarray:
    """An array of n drawn values."""
    return np.array(draw(st.lists(values, min_size=n, max_size=n)), dtype=dtype)


def judged(steps: StepTable, seed: int = 0) -> StepTable:
    """The same table with every extra column that a method may read, filled at random."""
    rng = np.random.default_rng(seed)
    n = len(steps)
    tests = np.concatenate([rng.integers(0, 2, size=(n, 3)), np.full((n, 1), -1)], axis=1)
    before = np.roll(tests, 1, axis=0)
    before[steps.starts] = np.array([0, 0, 0, -1])
    return steps.with_extra(
        process_score=rng.uniform(-1, 1, n),
        contribution=rng.normal(size=n),
        good=rng.random(n) < 0.5,
        logprob_model=-rng.random(n),
        logprob_reference=-rng.random(n),
        n_tokens=rng.integers(1, 9, n),
        tests=tests,
        tests_before=before,
        features=rng.normal(size=(n, 4)),
        potential=rng.random(n),
        potential_before=rng.random(n),
        checklist=rng.integers(-1, 2, (n, 3)),
        answer_logprob=-rng.random(n),
        answer_logprob_before=-rng.random(n),
        model_score=rng.normal(size=n),
        reference_scores=rng.normal(size=(n, 2)),
        ensemble_scores=rng.normal(size=(n, 3)),
        intrinsic=rng.random(n),
        message=np.array([f"message {k}" for k in rng.integers(0, 3, n)], dtype=object),
        latent_reward=rng.normal(size=n),
        danger_price=rng.random(n),
        weight_progress=rng.random(n),
        weight_milestone=rng.random(n),
        text=np.array([f"at door {k}" for k in rng.integers(0, 5, n)], dtype=object),
        action_text=np.array(["left", "right", "forward"], dtype=object)[rng.integers(0, 3, n)],
        **{name: rng.normal(size=n) for name in _JUDGED},
    )


_JUDGED = ("sparse_sign", "dense_sign", "diagnostics_fixed", "safe", "doubt", "judge_outcome", "judge_progress")
"""Columns that recipes read as they are."""


def full_table(groups: int = 3, size: int = 6, length: int = 4, seed: int = 0) -> StepTable:
    """Random rollouts in groups of one size, some of them successful, with every extra column."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, length + 1, size=size * groups)
    n, last = int(lengths.sum()), np.cumsum(lengths) - 1
    won = rng.random(size * groups) < 0.4
    end, success = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    end[last], success[last] = True, won
    steps = StepTable.from_columns(
        trajectory=np.repeat(np.arange(size * groups), lengths),
        group=np.repeat(np.arange(size * groups) // size, lengths),
        reward=success.astype(np.float64),
        outcome=won.astype(np.float64),
        anchor=rng.integers(0, 4, n),
        next_anchor=rng.integers(0, 4, n),
        action=rng.integers(0, 2, n),
        progress_before=rng.random(n),
        progress=rng.random(n),
        terminated=success,
        truncated=end & ~success,
        grounded=rng.random(n) < 0.8,
        danger=rng.random(n) < 0.1,
        duration=rng.random(n) + 0.1,
    )
    return judged(steps, seed)


def rollouts(*scores: list[float] | tuple[list[float], int], **columns: Any) -> StepTable:
    """One trajectory per list of step rewards; a tuple says its group too (default 0). The outcome is the sum."""
    rewards, groups = zip(*((s, 0) if isinstance(s, list) else s for s in scores), strict=True)
    lengths = [len(r) for r in rewards]
    return StepTable.from_columns(
        trajectory=np.repeat(np.arange(len(lengths)), lengths),
        group=np.repeat(np.array(groups, dtype=np.int64), lengths),
        reward=np.concatenate([np.asarray(r, dtype=np.float64) for r in rewards]),
        **columns,
    )
