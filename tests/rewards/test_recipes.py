"""Recipes: a chain by name, checked when made, printed, stored, and run."""

from __future__ import annotations

import json

import numpy as np
import pytest

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import RECIPES, Recipe, Term, recipe
from agentgym.rewards.combine import weighted
from agentgym.rewards.credit import gae, gigpo, grpo, method
from agentgym.steps import StepTable
from tests.rewards.credit.tables import full_table, rollouts


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seed", range(5))
def test_every_recipe_gives_a_finite_advantage_per_step(name: str, seed: int) -> None:
    chain, steps = recipe(name), full_table(seed=seed)
    advantages = chain.advantages(steps, np.linspace(0, 1, len(steps)) if chain.needs_critic else None)
    assert advantages.dtype == np.float64
    assert advantages.shape == (len(steps),)
    assert np.isfinite(advantages).all()
    assert advantages.any()


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_json(name: str) -> None:
    chain = recipe(name)
    assert Recipe.from_json(json.loads(json.dumps(chain.to_json()))) == chain


def test_a_recipe_prints_what_it_does() -> None:
    text = str(recipe("quickstart"))
    assert "gigpo(gamma=0.95, normalise='mean_std')" in text
    assert "1 * outcome + 1 * progress(gamma=1.0, terminal='keep')" in text


def finished() -> StepTable:
    """Two rollouts of one task: one solves it in two steps, one stops half-way."""
    return rollouts(
        [0.0, 1.0],
        [0.0, 0.0],
        anchor=np.array([0, 1, 0, 0]),
        progress_before=np.array([0.0, 0.5, 0.0, 0.0]),
        progress=np.array([0.5, 1.0, 0.0, 0.5]),
        terminated=np.array([False, True, False, False]),
        truncated=np.array([False, False, False, True]),
    )


def test_the_quickstart_compares_episodes_by_success_and_progress_and_steps_by_progress() -> None:
    steps, chain = finished(), recipe("quickstart")
    np.testing.assert_array_equal(chain.trajectory_scores(steps), [2.0, 0.5])
    np.testing.assert_array_equal(chain.step_rewards(steps), [0.5, 0.5, 0.0, 0.5])
    expected = gigpo.assign(steps, [0.5, 0.5, 0.0, 0.5], score=[2.0, 0.5], gamma=0.95)
    np.testing.assert_array_equal(chain.advantages(steps), expected)


def test_outcome_recipes_read_the_outcome_not_the_sum_of_rewards() -> None:
    steps = rollouts([0.0, 5.0], [0.0, 0.0], outcome=[0.0, 1.0])
    np.testing.assert_array_equal(recipe("grpo").advantages(steps), grpo.assign(steps))
    assert recipe("grpo").advantages(steps)[0] < 0


def test_a_critic_is_asked_for_and_used() -> None:
    steps = finished()
    with pytest.raises(UsageError, match="needs `critic_values`"):
        recipe("ppo").advantages(steps)
    with pytest.raises(UsageError, match="has no critic"):
        recipe("grpo").advantages(steps, np.zeros(4))
    values, last = [0.1, 0.2, 0.3, 0.4], [9.0, 0.5]
    np.testing.assert_array_equal(
        recipe("ppo").advantages(steps, values, last_values=last),
        gae.assign(steps, [0.0, 1.0, 0.0, 0.0], values=values, last_values=last, gamma=0.99, lam=0.95),
    )


def test_a_recipe_with_a_name_that_does_not_exist_is_refused_when_made() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gigpo'"):
        recipe("gigp0")
    with pytest.raises(UnknownName, match="reward term 'progres'"):
        Recipe("mine", (Term("progres"),), "grpo")
    with pytest.raises(UnknownName, match="credit method 'grop'"):
        Recipe("mine", (Term("outcome"),), "grop")
    with pytest.raises(UnknownName, match="combination rule"):
        Recipe("mine", (Term("outcome"),), "grpo", combine="sum")
    with pytest.raises(UnknownName, match=r"option of credit method 'grpo' 'gama'"):
        Recipe("mine", (Term("outcome"),), "grpo", {"gama": 1.0})


def test_parts_that_do_not_fit_are_refused_when_made() -> None:
    with pytest.raises(UsageError, match="each term once"):
        Recipe("mine", (Term("outcome"), Term("outcome")), "grpo")
    with pytest.raises(UsageError, match="does not score trajectories"):
        Recipe("mine", (Term("outcome"),), "gae", score=(Term("outcome"),))
    with pytest.raises(UsageError, match=r"missing: \['credit'\]"):
        Recipe.from_json({"name": "mine", "terms": []})


def test_which_recipes_do_without_groups() -> None:
    alone = [name for name in RECIPES if not recipe(name).needs_groups]
    assert alone == ["progress", "calm", "ppo", "spa", "clip-delta"]
    assert not method("return-to-go").needs_groups
    assert recipe("ppr").needs_groups  # its combination compares outcomes


def test_a_recipe_without_terms_has_no_step_reward() -> None:
    with pytest.raises(UsageError, match="reads its own columns"):
        recipe("prime").step_rewards(full_table())


def test_the_weighted_sum_refuses_weights_of_nothing() -> None:
    columns = {"a": np.array([1.0, 2.0, 3.0])}
    steps = rollouts([0.0] * 3)
    np.testing.assert_array_equal(weighted.combine(steps, columns, weights={"a": 2.0}), [2.0, 4.0, 6.0])
    with pytest.raises(ValueError, match="'b', but the columns are"):
        weighted.combine(steps, columns, weights={"b": 1.0})
