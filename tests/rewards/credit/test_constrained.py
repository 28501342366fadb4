"""Credit under a limit: two advantages at a price, and danger blamed on the step that brought it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.rewards.credit import constrained, gigpo, gtd
from agentgym.steps import StepTable, TrajectoryTable
from tests.rewards.credit.tables import tables

A, B, C, LAVA, GOAL = range(5)


def wade_and_walk() -> StepTable:
    """One rollout wades from B through lava to the goal; another walks round by C. Both arrive."""
    return StepTable.from_columns(
        trajectory=np.array([0, 0, 0, 1, 1, 1]),
        group=np.zeros(6, dtype=np.int64),
        t=np.array([0, 1, 2, 0, 1, 2], dtype=np.int32),
        anchor=np.array([A, B, LAVA, A, B, C]),
        next_anchor=np.array([B, LAVA, GOAL, B, C, GOAL]),
        action=np.array([0, 1, 0, 0, 2, 0]),
        reward=np.array([0.0, 0, 1, 0, 0, 1]),
        danger=np.array([False, True, False, False, False, False]),
        terminated=np.array([False, False, True, False, False, True]),
        trajectories=TrajectoryTable.from_columns(
            id=np.arange(2), outcome=np.ones(2), success=np.ones(2, dtype=bool), horizon=np.full(2, 1000)
        ),
    )


def test_the_step_that_brought_the_danger_is_blamed_and_no_other() -> None:
    blame = constrained.danger_advantage(wade_and_walk(), kappa=1e-9)
    assert blame[1] == pytest.approx(0.5, abs=1e-3), "half of what is done in B is unsafe"
    assert blame[4] == pytest.approx(-0.5, abs=1e-3), "so the other half is the safer"
    np.testing.assert_allclose(blame[[0, 2, 3, 5]], 0.0, atol=1e-3)
    advantage = constrained.assign(wade_and_walk(), price=3.0)
    assert advantage[1] < 0.0 < advantage[4], "both succeed, so danger alone decides"


@given(tables(comparable=True), st.sampled_from([0.0, 0.5, 8.0]))
def test_two_advantages_at_a_price(steps: StepTable, price: float) -> None:
    cost = gtd.assign(steps, steps.danger.astype(float), lam=0.0, kappa=1.0)
    expected = (gigpo.assign(steps) - price * cost) / (1.0 + price)
    np.testing.assert_allclose(constrained.assign(steps, price=price), expected)
    told = steps.with_extra(danger_price=np.full(len(steps), price))
    np.testing.assert_allclose(constrained.assign(told), expected)


@given(tables())
def test_without_danger_a_price_changes_only_the_scale(steps: StepTable) -> None:
    safe = StepTable.from_columns(
        **{**steps.columns(), "danger": np.zeros(len(steps), dtype=bool)}, outcome=steps.outcome
    )
    np.testing.assert_allclose(constrained.assign(safe, price=4.0), gigpo.assign(safe) / 5.0, atol=1e-12)


def test_a_price_must_be_there_and_be_no_reward() -> None:
    steps = wade_and_walk()
    with pytest.raises(ValueError, match="danger_price"):
        constrained.assign(steps)
    with pytest.raises(ValueError, match="must lie in"):
        constrained.assign(steps, price=-1.0)
    with pytest.raises(ValueError, match=r"row 2 is -1\.0; danger is never paid for"):
        constrained.assign(steps.with_extra(danger_price=np.array([0.0, 0, -1, 0, 0, 0])))
