"""Terms read the process record and give one number per step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import UnknownName
from agentgym.rewards.terms import (
    TERMS,
    checklist,
    columns_of,
    cost,
    danger,
    grounded,
    milestone,
    outcome,
    potential,
    progress,
    reference,
    subgoals,
    term,
)
from agentgym.rewards.terms import (
    judged as judged_terms,
)
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


@pytest.mark.parametrize("name", TERMS)
def test_the_columns_a_term_reads_are_named_truly(name: str) -> None:
    """Without any one of them it refuses, with them alone it works."""
    options = {"weights": 0.5} if name == "subgoals" else {}
    steps = judged(rollouts([0.0, 0.0], [0.0]))
    named = columns_of(name, options)
    bare = rollouts([0.0, 0.0], [0.0]).with_extra(**{c: steps.extras[c] for c in named})
    assert term(name)(bare, **options).shape == (3,)
    for left_out in named:
        fewer = {c: steps.extras[c] for c in named if c != left_out}
        with pytest.raises(ValueError, match=f"extra column '{left_out}'"):
            term(name)(rollouts([0.0, 0.0], [0.0]).with_extra(**fewer), **options)


def test_a_checklist_is_the_share_that_holds_or_what_was_added() -> None:
    steps = rollouts([0.0, 0.0], [0.0]).with_extra(checklist=np.array([[1, 0, -1], [1, 1, -1], [-1, -1, -1]]))
    np.testing.assert_allclose(checklist.term(steps), [0.5, 1.0, 0.0])
    np.testing.assert_allclose(checklist.term(steps, gain=True), [0.5, 0.5, 0.0])
    np.testing.assert_allclose(checklist.term(steps, weights=[3.0, 1.0, 1.0]), [0.75, 1.0, 0.0])
    with pytest.raises(ValueError, match="row 1 is"):
        checklist.term(steps.with_extra(checklist=np.array([[1], [2], [0]])))
    with pytest.raises(ValueError, match="not all 0"):
        checklist.term(steps, weights=[0.0, 0.0, 0.0])


def test_a_cost_is_paid() -> None:
    steps = rollouts([0.0, 0.0], duration=np.array([2.0, 3.0])).with_extra(used=np.array([[1, 10], [0, 20]]))
    assert cost.term(steps).tolist() == [-2.0, -3.0]
    assert cost.term(steps, name="used", weights=[1.0, 0.1]).tolist() == [-2.0, -2.0]
    with pytest.raises(ValueError, match="at least 0, row 1"):
        cost.term(steps.with_extra(used=np.array([0.0, -1.0])), name="used")
    with pytest.raises(ValueError, match="is paid, not earned"):
        cost.term(steps, weights=[-1.0])


@given(st.lists(st.floats(-9, 0), min_size=2, max_size=6), st.sampled_from(["log", "probability"]))
def test_gains_of_a_reference_answer_sum_to_last_minus_first(levels: list[float], form: str) -> None:
    steps = rollouts([0.0] * (len(levels) - 1)).with_extra(
        answer_logprob=np.array(levels[1:]), answer_logprob_before=np.array(levels[:-1])
    )
    size = np.exp if form == "probability" else np.asarray
    total = reference.term(steps, form=form).sum()  # type: ignore[arg-type]
    np.testing.assert_allclose(total, size(levels[-1]) - size(levels[0]), atol=1e-9)
    level = reference.term(steps, form=form, paid="level")  # type: ignore[arg-type]
    np.testing.assert_allclose(level, [0.0] * (len(levels) - 2) + [size(levels[-1])])


def test_a_log_probability_above_zero_is_named() -> None:
    steps = rollouts([0.0]).with_extra(answer_logprob=np.array([0.5]), answer_logprob_before=np.array([-1.0]))
    with pytest.raises(ValueError, match=r"'answer_logprob' must be at most 0, row 0 is 0.5"):
        reference.term(steps)


def test_a_judged_score_counts_once_for_a_rollout() -> None:
    steps = rollouts([0.0, 0.0], [0.0]).with_extra(
        model_score=np.array([9.0, 1.0, 0.0]), reference_scores=np.array([[0.0], [1.0], [0.0]])
    )
    assert judged_terms.par_term(steps).tolist() == [0.0, 0.5, 0.5]
    worst = judged_terms.ensemble_term(steps.with_extra(ensemble_scores=np.array([[1, 2], [3, 0], [5, 5]])), rule="wco")
    assert worst.tolist() == [1.0, 0.0, 5.0]


def test_any_column_is_a_potential() -> None:
    steps = rollouts([0.0, 0.0], terminated=np.array([False, True])).with_extra(
        potential=np.array([0.5, 1.0]), potential_before=np.array([0.0, 0.5])
    )
    assert potential.term(steps).tolist() == [0.5, -0.5]
    assert potential.term(steps, terminal="keep").tolist() == [0.5, 0.5]


def test_one_weight_for_all_subgoals_is_taken_as_it_is() -> None:
    steps = rollouts([0.0, 0.0], milestones_before=np.array([0, 1]), milestones=np.array([1, 3]))
    np.testing.assert_allclose(subgoals.term(steps, weights=0.25), [0.25, 0.25])
    with pytest.raises(ValueError, match="'weights' must lie in"):
        subgoals.term(steps, weights=0.0)
