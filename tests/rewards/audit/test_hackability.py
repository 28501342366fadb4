"""Rewards that can be farmed are found out, and those that cannot are not accused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import agentgym  # registers the environments
from agentgym.errors import UsageError
from agentgym.rewards import Recipe, Term, recipe
from agentgym.rewards.audit import (
    MDP,
    SHAPED,
    best_return,
    corridor,
    cycle_gain,
    enumerate_mdp,
    farming,
    slippery,
    starc_distance,
    transition_rewards,
    true_rewards,
)

assert agentgym


def test_a_planted_loop_is_found(hall: MDP) -> None:
    """Left from cell 3 to cell 2 pays 0.6, and back costs 0.1: half a point every two steps."""
    reward = true_rewards(hall)
    reward[3, 0, 0], reward[2, 1, 0] = 0.6, -0.1
    assert cycle_gain(hall, reward) == pytest.approx(0.25)


def test_the_longest_loop_is_found_too() -> None:
    """Going all the way left and back: only the far left pays, so the loop is 2 * 6 steps of a 12-cell corridor."""
    mdp = corridor(8)
    reward = np.where(true_rewards(mdp) > 0, 1.0, -1.0)
    reward[1, 0, 0] = 0.0
    assert cycle_gain(mdp, reward) == pytest.approx(-0.5)


def test_a_loop_that_cannot_be_reached_does_not_count(hall: MDP) -> None:
    alone = replace(hall, allowed=np.array([[False, False, False], *[[True] * 3] * 4]))
    alone = replace(alone, probability=alone.allowed[:, :, None].astype(float))
    assert cycle_gain(alone, np.ones(hall.target.shape)) == float("-inf")


def test_paying_for_gains_or_levels_is_farmed_paying_for_potential_is_not(hall: MDP) -> None:
    gains = {name: cycle_gain(hall, reward(hall)) for name, reward in SHAPED.items()}
    assert gains["outcome"] == gains["outcome + change"] == 0.0
    assert gains["outcome + potential"] <= 0.0
    assert gains["outcome + gains only"] == pytest.approx(0.25 / 2)  # one cell forth for 1/4, one back for nothing
    assert gains["outcome + level"] == pytest.approx(0.75)  # stand before the goal


def test_failing_pays_where_the_level_is_paid(hall: MDP) -> None:
    found = farming(hall, SHAPED["outcome + level"](hall), horizon=12)
    assert found.solving == pytest.approx(1 + 0.25 + 0.5 + 0.75 + 1.0)
    assert found.failing == pytest.approx(0.25 + 0.5 + 10 * 0.75)
    honest = farming(hall, SHAPED["outcome"](hall), horizon=12)
    assert (honest.failing, honest.solving, honest.starc) == (0.0, 1.0, 0.0)


def test_the_best_return_is_that_of_every_way_tried() -> None:
    mdp = corridor(3)
    reward = np.random.default_rng(0).normal(size=mdp.target.shape)

    def ways(state: int, left: int, total: float) -> list[tuple[bool, float]]:
        if mdp.over[state] or not left:
            return [(bool(mdp.success[state]), total)]
        return [w for a in range(3) for w in ways(int(mdp.target[state, a, 0]), left - 1, total + reward[state, a, 0])]

    for succeed in (True, False):
        best = max(total for solved, total in ways(0, 5, 0.0) if solved == succeed)
        assert best_return(mdp, reward, 5, succeed=succeed) == pytest.approx(best)


@pytest.mark.parametrize("name", ["outcome", "outcome + potential"])
def test_potential_based_shaping_has_distance_0_to_the_truth(name: str, hall: MDP, trap: MDP) -> None:
    for mdp in (hall, trap, enumerate_mdp("agentgym/Grid-LavaCrossing-S9N1-v0", 1)):
        assert starc_distance(mdp, SHAPED[name](mdp), true_rewards(mdp)) == pytest.approx(0.0, abs=1e-9)


def test_distance_does_not_see_scale_and_is_1_for_the_opposite(trap: MDP) -> None:
    true = true_rewards(trap)
    assert starc_distance(trap, 5.0 * true, true) == pytest.approx(0.0, abs=1e-12)
    assert starc_distance(trap, -true, true) == pytest.approx(1.0)
    assert starc_distance(trap, np.zeros_like(true), true) == pytest.approx(0.5)
    a, b = SHAPED["outcome + level"](trap), SHAPED["outcome + gains only"](trap)
    assert starc_distance(trap, a, b) == pytest.approx(starc_distance(trap, b, a))


def test_a_recipe_pays_what_it_pays_on_steps(hall: MDP) -> None:
    change = Recipe("change", (Term("outcome"), Term("progress", options={"terminal": "keep"})), "return-to-go")
    assert transition_rewards(hall, change) == pytest.approx(SHAPED["outcome + change"](hall))
    assert transition_rewards(slippery(hall, 0.2), recipe("ppo"))[3, 1].tolist() == [0, 1, 0]


def test_a_latched_milestone_cannot_be_earned_in_a_loop(hall: MDP) -> None:
    paid = Recipe("milestones", (Term("milestone"),), "return-to-go")
    assert cycle_gain(hall, transition_rewards(hall, paid)) == 0.0


def test_a_recipe_over_whole_trajectories_is_refused(hall: MDP) -> None:
    with pytest.raises(UsageError, match="whole trajectories"):
        transition_rewards(hall, recipe("clip-delta"))
