"""Advantages from snapshots agree with exact ones where both can be had."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.errors import UsageError
from agentgym.rewards.audit import (
    MonteCarlo,
    enumerate_mdp,
    explorer,
    monte_carlo_advantages,
    monte_carlo_fidelity,
    named,
    softmax,
    solve,
)
from agentgym.rewards.audit.assigners import Measured
from tests.toy import ARRAY_ID, TEXT_ID, register_toys

HORIZON = 14
DRY = {"slip": 0.0, "max_steps": HORIZON}


@pytest.fixture(scope="module", autouse=True)
def toys() -> None:
    register_toys()


@pytest.fixture(scope="module")
def found(toys: None) -> MonteCarlo:
    return monte_carlo_advantages(ARRAY_ID, explorer(0.7), task_seed=1, kwargs=DRY, points=40, continuations=64)


def test_measured_advantages_lie_within_their_errors_of_the_exact_ones(found: MonteCarlo) -> None:
    mdp = enumerate_mdp(ARRAY_ID, seed=1, kwargs=DRY)
    right = mdp.labels.index(1)
    policy = 0.7 * softmax(np.zeros(mdp.allowed.shape), mdp.allowed)
    policy[:, right] += 0.3
    exact = solve(mdp, policy, HORIZON)
    states = {anchor: k for k, anchor in enumerate(mdp.anchor.tolist())}
    steps, rows = found.steps, found.rows
    state = np.array([states[a] for a in steps.anchor[rows].tolist()])
    after = np.array([states[a] for a in steps.next_anchor[rows].tolist()])
    left = HORIZON - steps.t[rows]
    truth = exact.value[left - 1, after] - exact.value[left, state]
    z = (found.advantage - truth) / found.error
    assert np.abs(z).max() < 4.0
    assert 0.5 < np.sqrt(np.mean(z**2)) < 1.5, "the errors are of the right size"
    assert found.value == pytest.approx(exact.value[left, state], abs=0.25)


def test_a_random_world_is_measured_where_it_cannot_be_enumerated() -> None:
    with pytest.raises(UsageError, match="the world is random"):
        enumerate_mdp(ARRAY_ID, seed=1, kwargs={"slip": 0.3})
    wet = monte_carlo_advantages(ARRAY_ID, explorer(0.5), kwargs={"slip": 0.3}, size=2, points=5, continuations=4)
    assert len(wet.rows) == 5
    assert (wet.error > 0).all()


def test_the_same_seed_measures_the_same() -> None:
    runs = [monte_carlo_advantages(TEXT_ID, explorer(0.5), size=2, points=4, continuations=4, seed=3) for _ in range(2)]
    assert np.array_equal(runs[0].advantage, runs[1].advantage)
    assert np.array_equal(runs[0].rows, runs[1].rows)


def test_an_assigner_agrees_with_what_was_measured(found: MonteCarlo) -> None:
    filled = np.zeros(len(found.steps))
    filled[found.rows] = found.advantage
    perfect = monte_carlo_fidelity(found, Measured("measured", lambda view: filled, False))
    assert perfect["spearman"].value == pytest.approx(1.0)
    assert perfect["sign"] == 1.0
    opposite = monte_carlo_fidelity(found, Measured("opposite", lambda view: -filled, False))
    assert opposite["spearman"].value == pytest.approx(-1.0)
    assert opposite["sign"] == 0.0
    assert monte_carlo_fidelity(found, named("progress-difference"))["spearman"].low > 0.0


def test_what_cannot_be_forked_or_explored_is_refused() -> None:
    with pytest.raises(UsageError, match="no ProcessEnv"):
        monte_carlo_advantages("CartPole-v1", explorer(1.0))
    with pytest.raises(UsageError, match="epsilon must lie in"):
        explorer(1.5)
