"""Losses, tournaments, ensembles and estimators beside the golden files: what must hold for any input."""

from __future__ import annotations

import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.rewards.models import contribution, implicit, par
from agentgym.rewards.models.ensemble import ensemble
from agentgym.rewards.models.tournament import BRACKETS, single_elimination
from tests.rewards.credit.tables import full_table

NUMBERS = st.floats(-50, 50, allow_subnormal=False)


@pytest.mark.parametrize("bracket", BRACKETS)
@given(n=st.integers(2, 12), seed=st.integers(0, 99))
def test_a_bracket_crowns_the_strongest_of_distinct_players(bracket: str, n: int, seed: int) -> None:
    strength = random.Random(seed).sample(range(100), n)
    result = BRACKETS[bracket](n, lambda i, j: (float(strength[i]), float(strength[j])), random.Random(seed))
    best = int(np.argmax(strength))
    if bracket != "swiss":  # too few rounds to tell the winner from the runner-up, but never beaten
        assert result.reward.argmax() == best
    assert result.reward[best] >= 0.5
    assert result.reward.min() >= 0.0
    assert result.reward.max() <= 1.0


@given(st.integers(2, 33))
def test_single_elimination_asks_twice_per_player_but_two(n: int) -> None:
    assert len(single_elimination(n, lambda i, j: (float(i), float(j))).calls) == 2 * n - 2


@pytest.mark.parametrize("bracket", BRACKETS)
def test_a_tournament_of_one_is_refused(bracket: str) -> None:
    with pytest.raises(ValueError, match="at least two players"):
        BRACKETS[bracket](1, lambda i, j: (0.0, 0.0), random.Random(0))


def test_a_judge_that_answers_no_number_is_named() -> None:
    with pytest.raises(ValueError, match=r"judge of \(1, 0\)"):
        single_elimination(2, lambda i, j: (float("nan"), 0.0))


@given(st.lists(st.lists(NUMBERS, min_size=3, max_size=3), min_size=2, max_size=5))
def test_an_ensemble_trusts_no_more_than_its_mean(scores: list[list[float]]) -> None:
    mean = ensemble(scores, rule="mean")
    assert (ensemble(scores, rule="wco") <= mean + 1e-9).all()
    assert (ensemble(scores, rule="uwo") <= mean + 1e-9).all()
    np.testing.assert_allclose(ensemble(scores, rule="uwo", coefficient=0.0), mean)


def test_the_sample_variance_of_one_model_is_refused() -> None:
    with pytest.raises(ValueError, match="two models or use ddof=0"):
        ensemble([[1.0, 2.0]])
    np.testing.assert_array_equal(ensemble([[1.0, 2.0]], ddof=0), [1.0, 2.0])


@given(st.lists(NUMBERS, min_size=1, max_size=5), st.floats(-20, 20))
def test_par_is_bounded_and_blind_to_a_shift_of_all_rewards(rewards: list[float], shift: float) -> None:
    r, references = np.array(rewards), np.zeros((len(rewards), 2))
    shaped = par.shaped(r, references)
    assert ((shaped >= 0) & (shaped <= 1)).all()
    np.testing.assert_allclose(par.shaped(r + shift, references + shift), shaped, atol=1e-9)


def test_par_charges_long_answers() -> None:
    np.testing.assert_allclose(par.length_penalty([100, 300, 350]), [0.0, 0.0, -0.5])
    with pytest.raises(ValueError, match="give `references`"):
        par.shaped([1.0])


def test_a_better_implicit_model_loses_less() -> None:
    outcome, group = np.array([1.0, 0.0, 1.0, 0.0]), np.array([0, 0, 1, 1])
    right, wrong = np.array([5.0, -5.0, 4.0, -4.0]), np.array([-5.0, 5.0, -4.0, 4.0])
    for loss in (
        lambda q: implicit.cross_entropy(q, outcome, beta=1.0),
        lambda q: implicit.preference(group, q, outcome, beta=1.0),
        lambda q: implicit.detached_preference(group, q, outcome, beta=1.0),
        lambda q: -implicit.pair_accuracy(group, q, outcome),
        lambda q: -implicit.absolute_accuracy(q, outcome),
    ):
        assert loss(right) < loss(np.zeros(4)) <= loss(wrong)
    assert implicit.preference(group, right, np.ones(4)) == 0.0


def test_the_contribution_estimator_recovers_what_made_the_outcome() -> None:
    steps = full_table(groups=40, seed=1)
    true = np.array([1.0, -2.0, 0.5, 0.0])
    made = np.add.reduceat(steps.extras["features"] @ true + 0.25, steps.starts)
    taught = type(steps).from_columns(**steps.columns(), extras=dict(steps.extras), outcome=made)
    model = contribution.LinearContribution.fit(taught, ridge=1e-6)
    np.testing.assert_allclose(model.weight, true, atol=1e-3)
    np.testing.assert_allclose(np.add.reduceat(model.contributions(taught), steps.starts), made, atol=1e-2)
