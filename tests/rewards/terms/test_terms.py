"""Terms read the process record and give one number per step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import UnknownName
from agentgym.rewards.terms import TERMS, danger, grounded, milestone, outcome, progress, subgoals, term
from agentgym.steps import StepTable
from tests.rewards.credit.tables import judged, rollouts, tables


def test_the_outcome_is_paid_on_the_last_step() -> None:
    steps = rollouts([0.0, 0.0], [0.0], outcome=[0.7, -1.0])
    np.testing.assert_array_equal(outcome.term(steps), [0.0, 0.7, -1.0])


def test_an_outcome_that_is_not_finite_names_its_trajectory() -> None:
    with pytest.raises(ValueError, match="trajectory 1 has nan"):
        outcome.term(rollouts([0.0, 0.0], [0.0], outcome=[0.7, np.nan]))


def test_a_milestone_is_paid_on_the_step_that_reaches_it() -> None:
    steps = rollouts([0.0] * 4, milestones_before=np.array([0, 1, 1, 7]), milestones=np.array([1, 1, 7, 7]))
    np.testing.assert_array_equal(milestone.term(steps), [1.0, 0.0, 2.0, 0.0])
    np.testing.assert_array_equal(milestone.term(steps, weights=[0.5, 0.25, 8.0]), [0.5, 0.0, 8.25, 0.0])


def test_a_milestone_without_a_weight_is_named() -> None:
    steps = rollouts([0.0, 0.0], milestones=np.array([0, 4]))
    with pytest.raises(ValueError, match=r"sets bit 2 in row 1; give one weight per milestone"):
        milestone.term(steps, weights=[1.0, 1.0])


def test_the_highest_milestone_bit_is_paid() -> None:
    assert milestone.term(rollouts([0.0], milestones=np.array([1 << 61]))).tolist() == [1.0]


def walk(levels: list[float], *, terminated: bool) -> StepTable:
    """One trajectory through these values of progress."""
    n = len(levels) - 1
    end = np.zeros(n, dtype=bool)
    end[-1] = True
    return rollouts(
        [0.0] * n,
        progress_before=np.array(levels[:-1]),
        progress=np.array(levels[1:]),
        terminated=end & terminated,
        truncated=end & (not terminated),
    )


LEVELS = st.lists(st.floats(0, 1), min_size=2, max_size=10)


@given(LEVELS, st.sampled_from([1.0, 0.9, 0.5]))
def test_shaping_with_a_zero_terminal_potential_prefers_no_policy(levels: list[float], gamma: float) -> None:
    shaped = progress.term(walk(levels, terminated=True), gamma=gamma)
    discounted = (gamma ** np.arange(len(shaped)) * shaped).sum()
    assert discounted == pytest.approx(-levels[0], abs=1e-9)


@given(LEVELS, st.sampled_from([1.0, 0.9, 0.5]))
def test_a_time_out_keeps_the_potential(levels: list[float], gamma: float) -> None:
    for terminal in ("zero", "keep"):
        shaped = progress.term(walk(levels, terminated=False), gamma=gamma, terminal=terminal)
        discounted = (gamma ** np.arange(len(shaped)) * shaped).sum()
        assert discounted == pytest.approx(gamma ** len(shaped) * levels[-1] - levels[0], abs=1e-9)


@given(LEVELS, st.booleans())
def test_kept_potential_without_discount_earns_the_progress_made(levels: list[float], terminated: bool) -> None:
    shaped = progress.term(walk(levels, terminated=terminated), terminal="keep")
    assert shaped.sum() == pytest.approx(levels[-1] - levels[0], abs=1e-9)


def test_progress_refuses_options_out_of_range() -> None:
    with pytest.raises(ValueError, match="'zero' or 'keep', got 'drop'"):
        progress.term(StepTable.empty(), terminal="drop")
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\], got 1.1"):
        progress.term(StepTable.empty(), gamma=1.1)


def test_subgoals_are_a_potential_of_milestones() -> None:
    steps = rollouts([0.0] * 3, milestones_before=np.array([0, 1, 1]), milestones=np.array([1, 1, 3]))
    np.testing.assert_allclose(subgoals.term(steps, weights=[1.0, 3.0]), [0.25, 0.0, 0.75])
    with pytest.raises(ValueError, match="not all 0"):
        subgoals.term(steps, weights=[0.0, 0.0])


def test_grounding_is_a_bonus_and_danger_a_cost() -> None:
    steps = rollouts([0.0, 0.0], grounded=np.array([True, False]), danger=np.array([False, True]))
    np.testing.assert_array_equal(grounded.term(steps), [1.0, 0.0])
    np.testing.assert_array_equal(danger.term(steps), [0.0, -1.0])


@pytest.mark.parametrize("name", TERMS)
def test_every_term_gives_one_float64_per_row(name: str) -> None:
    options = {"weights": [1.0, 2.0, 3.0]} if name == "subgoals" else {}

    @given(tables())
    def check(steps: StepTable) -> None:
        values = term(name)(judged(steps), **options)
        assert values.dtype == np.float64
        assert values.shape == (len(steps),)
        assert np.isfinite(values).all()

    check()
    assert term(name)(judged(StepTable.empty()), **options).shape == (0,)


def test_an_unknown_term_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'progress'"):
        term("progres")
