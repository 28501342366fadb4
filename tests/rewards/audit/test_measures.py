"""Each measure on numbers that can be worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.rewards.audit import MDP, behaviour, draw
from agentgym.rewards.audit.measures import Curve, bootstrap, cosine, gradients, noise_share, spearman, step_measures


def test_a_gradient_is_the_sum_over_rows_of_advantage_times_score(hall: MDP) -> None:
    drawn = draw(behaviour(hall, 0.5, 6), np.random.default_rng(0), groups=2, size=3)
    advantage = np.random.default_rng(1).normal(size=len(drawn.steps))
    expected = np.zeros((2, len(hall), hall.actions))
    for row in range(len(drawn.steps)):
        score = -drawn.solution.policy[drawn.state[row]]
        score[drawn.action[row]] += 1.0
        expected[drawn.steps.group[row], drawn.state[row]] += advantage[row] * score
    assert gradients(drawn, advantage) == pytest.approx(expected.reshape(2, -1))


def test_the_expected_gradient_of_true_advantages_is_the_true_one(hall: MDP) -> None:
    found = behaviour(hall, 0.5, 6)
    drawn = draw(found, np.random.default_rng(0), groups=1, size=40_000)
    estimate = gradients(drawn, drawn.advantage)[0].reshape(found.gradient.shape) / 40_000
    assert estimate == pytest.approx(found.gradient, abs=0.003)


def test_cosine() -> None:
    truth = np.array([[1.0, 0.0]])
    rows = np.array([[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0], [1.0, 1.0], [0.0, 0.0]])
    assert cosine(rows, truth) == pytest.approx([1, -1, 0, 0.5**0.5, 0])


def test_noise_share_is_0_for_equal_estimates_1_for_pure_noise() -> None:
    assert noise_share(np.tile([1.0, 2.0], (5, 1))) == pytest.approx(0.0)
    assert noise_share(np.array([[1.0], [-1.0], [1.0], [-1.0]])) == 1.0
    # mean 1, variance 1: half of the mean square is noise
    assert noise_share(np.random.default_rng(0).normal(1, 1, size=(20_000, 1))) == pytest.approx(0.5, abs=0.02)


def test_spearman_takes_ranks_and_shares_ties() -> None:
    assert spearman(np.array([1.0, 2, 3]), np.array([10.0, 100, 1000])) == pytest.approx(1)
    assert spearman(np.array([1.0, 2, 3]), np.array([3.0, 2, 1])) == pytest.approx(-1)
    assert spearman(np.array([1.0, 1, 2]), np.array([1.0, 2, 3])) == pytest.approx(3**0.5 / 2)
    assert spearman(np.array([1.0, 2]), np.array([5.0, 5])) == 0.0


def test_steps_that_matter_are_judged_by_rank_and_sign() -> None:
    truth = np.array([1.0, -1.0, 1.0, -1.0, 0.01])
    found = step_measures(truth, np.array([2.0, -2.0, -2.0, 0.0, 50.0]))
    assert found["sign"] == pytest.approx((1 + 1 + 0 + 0.5) / 4)
    line = step_measures(truth, 3.0 * truth + 0.5)
    assert (line["slope"], line["intercept"], line["sign"]) == pytest.approx((3.0, 0.5, (1 + 1 + 1 + 1) / 4))


def test_the_multiplier_reads_the_curve_backwards() -> None:
    curve = Curve(np.array([1.0, 2, 4]), np.array([0.3, 0.4, 0.5]))
    assert curve.multiplier(0.4) == pytest.approx(2)
    assert 2 < curve.multiplier(0.45) < 4
    assert 0 < curve.multiplier(0.2) < 1
    assert curve.multiplier(-0.1) == 0.0
    assert curve.multiplier(0.6) == float("inf")


def test_an_unbiased_estimate_rises_along_its_curve() -> None:
    estimates = np.random.default_rng(0).normal(1.0, 3.0, size=(512, 10))
    curve = Curve.of(estimates, np.ones(10))
    assert curve.groups.tolist() == [2.0**k for k in range(9)]
    # cos^2 / (1 - cos^2) grows with the number of groups: signal 1 against noise 3 / sqrt(n)
    assert curve.cosine[-1] == pytest.approx(1 / np.sqrt(1 + 9 / 256), abs=0.01)


def test_the_bootstrap_keeps_clusters_whole() -> None:
    same = bootstrap(np.array([0.0, 1.0, 0.0, 1.0]), np.array([0, 0, 1, 1]))
    assert (same.value, same.low, same.high) == (0.5, 0.5, 0.5)
    apart = bootstrap(np.array([0.0, 0.0, 1.0, 1.0]), np.array([0, 0, 1, 1]))
    assert (apart.low, apart.high) == (0.0, 1.0)
