"""Dynamic programming against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.errors import UsageError
from agentgym.rewards.audit import MDP, behaviour, corridor, draw, shortest, softmax, solve


def enumerated(mdp: MDP, policy: np.ndarray, state: int, left: int) -> float:
    """Probability of success by following every branch."""
    if mdp.over[state] or left == 0:
        return float(mdp.success[state])
    return sum(
        float(policy[state, a] * mdp.probability[state, a, k])
        * enumerated(mdp, policy, int(mdp.target[state, a, k]), left - 1)
        for a in range(mdp.actions)
        for k in range(mdp.target.shape[2])
        if policy[state, a] * mdp.probability[state, a, k] > 0
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 5))
def test_values_are_those_of_every_branch_followed(seed: int, horizon: int) -> None:
    mdp = corridor(4)
    policy = softmax(np.random.default_rng(seed).normal(size=(4, 3)), mdp.allowed)
    found = solve(mdp, policy, horizon)
    for left in range(horizon + 1):
        for state in range(4):
            assert found.value[left, state] == pytest.approx(enumerated(mdp, policy, state, left))


def test_values_with_slips_and_death_are_those_of_every_branch_followed(trap: MDP) -> None:
    policy = softmax(np.random.default_rng(0).normal(size=(3, 3)), trap.allowed)
    found = solve(trap, policy, 3)
    assert found.success_rate == pytest.approx(enumerated(trap, policy, 1, 3))
    assert found.value[:, 0].tolist() == [0, 0, 0, 0]


def test_values_are_the_frequencies_of_rollouts(trap: MDP) -> None:
    found = behaviour(trap, 0.4, 4)
    drawn = draw(found, np.random.default_rng(0), groups=1, size=40_000)
    assert drawn.steps.outcome.mean() == pytest.approx(found.success_rate, abs=0.01)


def test_advantages_average_to_zero_under_the_policy(trap: MDP) -> None:
    found = behaviour(trap, 0.4, 4)
    assert (found.policy * found.advantage).sum(axis=2) == pytest.approx(np.zeros((5, 3)))


@pytest.mark.parametrize("name", ["hall", "trap"])
def test_the_gradient_is_that_of_finite_differences(name: str, request: pytest.FixtureRequest) -> None:
    mdp: MDP = request.getfixturevalue(name)
    logits = np.random.default_rng(3).normal(size=(len(mdp), mdp.actions))
    gradient = solve(mdp, softmax(logits, mdp.allowed), 6).gradient
    for s in range(len(mdp)):
        for a in range(mdp.actions):
            nudge = np.zeros_like(logits)
            nudge[s, a] = 1e-5
            up = solve(mdp, softmax(logits + nudge, mdp.allowed), 6).success_rate
            down = solve(mdp, softmax(logits - nudge, mdp.allowed), 6).success_rate
            assert gradient[s, a] == pytest.approx((up - down) / 2e-5, abs=1e-8)


@pytest.mark.parametrize("rate", [0.05, 0.3, 0.6, 0.9])
def test_the_behaviour_succeeds_as_often_as_wanted(hall: MDP, rate: float) -> None:
    assert behaviour(hall, rate, 3 * shortest(hall)).success_rate == pytest.approx(rate, abs=1e-3)


def test_a_rate_that_cannot_be_reached_is_refused(trap: MDP) -> None:
    with pytest.raises(UsageError, match=r"no policy of this family succeeds at 0\.99"):
        behaviour(trap, 0.99, 1)
