"""Rollouts drawn from exact tasks are ordinary step tables."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.errors import UsageError
from agentgym.rewards.audit import MDP, Sample, behaviour, draw, progress_of
from agentgym.rewards.audit.sample import Critic, View


@pytest.fixture(scope="module")
def drawn(hall: MDP) -> Sample:
    return draw(behaviour(hall, 0.5, 8), np.random.default_rng(0), groups=20, size=4)


def test_rollouts_follow_the_tables(hall: MDP, drawn: Sample) -> None:
    steps = drawn.steps
    after = hall.target[drawn.state, drawn.action, 0]
    assert np.array_equal(steps.progress_before, hall.progress[drawn.state])
    assert np.array_equal(steps.progress, hall.progress[after])
    assert np.array_equal(steps.terminated, hall.over[after])
    assert np.array_equal(steps.reward, hall.success[after].astype(float))
    inner = np.setdiff1d(np.arange(len(steps)), steps.ends)
    assert np.array_equal(steps.next_anchor[inner], steps.anchor[inner + 1])
    assert (drawn.state[steps.starts] == hall.start).all()


def test_a_rollout_ends_with_success_or_at_the_horizon(drawn: Sample) -> None:
    steps = drawn.steps
    assert np.array_equal(steps.terminated[steps.ends], steps.outcome == 1.0)
    assert (steps.lengths[steps.truncated[steps.ends]] == 8).all()
    assert not (steps.terminated & steps.truncated).any()


def test_milestones_are_latched(drawn: Sample) -> None:
    steps = drawn.steps
    assert ((steps.milestones & steps.milestones_before) == steps.milestones_before).all()
    assert (steps.milestones[steps.ends[steps.outcome == 1.0]] == 3).all()
    assert (steps.milestones_before[steps.starts] == 0).all()


def test_the_advantage_is_that_of_the_steps_left(drawn: Sample) -> None:
    left = 8 - drawn.steps.t
    assert np.array_equal(drawn.advantage, drawn.solution.advantage[left, drawn.state, drawn.action])


def test_dilution_splits_anchors_and_leaves_the_rest(hall: MDP) -> None:
    found = behaviour(hall, 0.5, 8)
    plain = draw(found, np.random.default_rng(0), groups=50)
    split = draw(found, np.random.default_rng(0), groups=50, dilution=16)
    assert len(np.unique(plain.steps.anchor)) == 4
    assert len(np.unique(split.steps.anchor)) == 4 * 16
    inner = np.setdiff1d(np.arange(len(split.steps)), split.steps.ends)
    assert np.array_equal(split.steps.next_anchor[inner], split.steps.anchor[inner + 1])


def test_the_same_seed_draws_the_same(hall: MDP, drawn: Sample) -> None:
    again = draw(drawn.solution, np.random.default_rng(0), groups=20, size=4)
    for name, column in drawn.steps.columns().items():
        assert np.array_equal(column, again.steps.columns()[name])


def test_progress_is_1_exactly_when_solved_whatever_its_quality(hall: MDP) -> None:
    for kind in ("exact", "noisy", "manhattan", "reversed", "none"):
        phi = progress_of(hall, kind)  # type: ignore[arg-type]  # a loop over the literal's values
        assert np.array_equal(phi == 1.0, hall.success)
        assert ((phi >= 0) & (phi <= 1)).all()
    assert progress_of(hall, "reversed").tolist() == pytest.approx([1, 0.75, 0.5, 0.25, 1])


def test_an_unknown_progress_is_refused(hall: MDP) -> None:
    with pytest.raises(UsageError, match="progress must be one of"):
        progress_of(hall, "good")  # type: ignore[arg-type]  # the point of the test


def test_the_critic_knows_the_mean_outcome_of_every_anchor(drawn: Sample) -> None:
    critic = Critic.fit(drawn.steps)
    steps = drawn.steps
    here = steps.anchor == steps.anchor[5]
    outcomes = steps.outcome[steps.segment[here]]
    expected = (outcomes.sum() + steps.outcome.mean()) / (here.sum() + 1)
    assert critic(steps.anchor[5:6])[0] == pytest.approx(expected)
    assert critic(np.array([123456789]))[0] == steps.outcome.mean()


def test_views_are_joined_in_order(hall: MDP) -> None:
    found = behaviour(hall, 0.5, 8)
    a = draw(found, np.random.default_rng(0), groups=2)
    b = draw(found, np.random.default_rng(1), groups=2, first=2)
    both = View.join([a.view, b.view])
    assert np.array_equal(both.steps.anchor, np.concatenate([a.steps.anchor, b.steps.anchor]))
    assert np.unique(both.steps.group).tolist() == [0, 1, 2, 3]
    assert both.critic is None
