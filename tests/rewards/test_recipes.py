"""Recipes: a chain by name, checked when made, printed, stored, and run."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import RECIPES, Recipe, Term, recipe
from agentgym.rewards.combine import weighted
from agentgym.rewards.credit import gae, gigpo, grpo, method
from agentgym.rewards.models.companions import Surroundings
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable
from tests.rewards.credit.tables import full_table, rollouts

Need = Callable[[object, str, str], None]


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("seed", range(5))
def test_every_recipe_gives_a_finite_advantage_per_step(name: str, seed: int) -> None:
    chain, steps = recipe(name), full_table(seed=seed)
    if name == "pass@k":  # it pays the best rollout's lead, and two that succeed lead by nothing
        apart = np.linspace(0.0, 1.0, len(steps.trajectories))
        steps = replace(steps, trajectories=replace(steps.trajectories, outcome=apart))
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
    assert "gigpo(gamma=0.5, episode_weight=0.0, batch_weight=1.0)" in text
    assert "1 * progress(gamma=1.0, terminal='keep')" in text


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


def test_the_quickstart_pays_change_of_progress_beside_the_state_and_beside_the_batch() -> None:
    steps, chain = finished(), recipe("quickstart")
    np.testing.assert_array_equal(chain.step_rewards(steps), [0.5, 0.5, 0.0, 0.5])
    returns = np.array([0.75, 0.5, 0.25, 0.5])  # half of what follows counts
    state = gigpo.step_part(steps, [0.5, 0.5, 0.0, 0.5], gamma=0.5)
    batch = (returns - returns.mean()) / (returns.std(ddof=1) + 1e-6)
    np.testing.assert_allclose(chain.advantages(steps), state + batch)


def test_the_quickstart_tells_a_useless_step_though_the_whole_group_takes_it() -> None:
    together = rollouts(
        [0.0, 0.0],
        [0.0, 0.0],
        anchor=np.array([0, 1, 0, 1]),
        progress_before=np.array([0.2, 0.4, 0.2, 0.4]),
        progress=np.array([0.4, 0.2, 0.4, 0.2]),
    )
    assert not recipe("gigpo+progress").advantages(together).any(), "two that agree have nothing to be compared by"
    opened, closed, *_ = recipe("quickstart").advantages(together)
    assert opened > 0 > closed


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
    alone = {name for name in RECIPES if not recipe(name).needs_groups}
    critics = {"calm", "ppo", "pbrs", "mira", "auto-mc", "lare", "oni-retrieval", "oni-classification", "oni-ranking"}
    assert {name for name in RECIPES if recipe(name).needs_critic} == critics
    assert alone == critics | {"spa", "clip-delta", "lanser", "progress"}
    assert not method("return-to-go").needs_groups
    assert recipe("ppr").needs_groups  # its combination compares outcomes


LITERATURE = {
    "GRPO": "grpo",
    "Dr.GRPO": "dr-grpo",
    "pass@k": "pass@k",
    "RLOO": "rloo",
    "REINFORCE++": "reinforce++",
    "GiGPO": "gigpo",
    "HGPO": "hgpo",
    "RewardFlow": "propagation",
    "SPA-RL": "spa",
    "PRIME": "prime",
    "OPRL": "oprl",
    "iStar": "istar",
    "PURE": "pure",
    "SALT": "salt",
    "PORTool": "portool",
    "ArenaRL": "arenarl",
    "GDPO": "gdpo",
    "G-RA": "g-ra",
    "VeRPO": "verpo",
    "PPR / ReNorm": "ppr",
    "Clip and Delta": "clip-delta",
    "PAR": "par",
    "MiRA": "mira",
    "ADCA": "adca",
    "COPO": "copo",
    "duration-aware weighting": "duration",
    "WCO": "wco",
    "UWO": "uwo",
    "LaRe": "lare",
    "ONI, retrieval": "oni-retrieval",
    "ONI, classification": "oni-classification",
    "ONI, ranking": "oni-ranking",
    "CALM": "calm",
    "Auto MC-Reward": "auto-mc",
    "Lanser-CLI": "lanser",
    "OpAgent": "opagent",
    "CM2": "cm2",
    "Lucy-SKG KRC": "krc",
    "potential-based shaping": "pbrs",
    "Lagrangian limit on danger": "lagrangian",
    "BARFI": "barfi",
    "checklists": "checklist",
    "log-probability of a reference answer": "reference-answer",
    "logical AND of log-sigmoids": "logical-and",
    "hierarchical gating": "hierarchical",
    "costs": "cost",
    "GTD": "gtd",
    "GTDP": "gtdp",
    "state-equivalence pooling": "pooling",
}
"""Chains of the field by the names people know them by. Text2Reward, Eureka and EPO-Safe write reward code or
specifications, and WebArbiter trains a judge: none of them is a chain from steps to advantages."""


@pytest.mark.parametrize("known_as", LITERATURE)
def test_every_chain_of_the_field_has_a_name(known_as: str) -> None:
    chain = recipe(LITERATURE[known_as])
    assert chain.source
    assert str(chain).startswith(f"recipe {chain.name}")


@pytest.mark.parametrize("name", RECIPES)
def test_the_columns_a_recipe_reads_are_named_truly(name: str) -> None:
    """With these extras alone it works; without any one of them it refuses and names it."""
    chain, full = recipe(name), full_table(seed=3)
    values = np.linspace(0, 1, len(full)) if chain.needs_critic else None
    bare = StepTable.from_columns(**full.columns(), trajectories=full.trajectories)
    there = {c: full.extras[c] for c in chain.reads}
    assert np.isfinite(chain.advantages(bare.with_extra(**there), values)).all()
    for column in chain.reads:
        fewer = {c: v for c, v in there.items() if c != column}
        with pytest.raises(ValueError, match=f"extra column '{column}'"):
            chain.advantages(bare.with_extra(**fewer), values)


@pytest.mark.parametrize("name", [n for n in RECIPES if RECIPES[n].companion])
def test_a_companion_writes_what_its_recipe_reads(name: str, need: Need) -> None:
    """From the columns it needs, without any that it writes."""
    need(importlib.util.find_spec("torch"), "torch", 'run `pip install -e ".[train]"` in the checkout')
    chain, full = recipe(name), full_table(seed=2)
    bare = StepTable.from_columns(**full.columns(), trajectories=full.trajectories)
    bare = bare.with_extra(**{c: full.extras[c] for c in chain.needs})
    if chain.companion == "implicit":
        with pytest.raises(UsageError, match="starts from a language model"):
            chain.build_companion(Surroundings())
        return  # with a language model: tests/agents/train/test_columns.py
    learner = chain.build_companion(Surroundings(seed=1))
    assert learner is not None
    columns, figures = learner.update(bare, TokenTable.empty())
    state = learner.state_dict()
    learner.close()
    values = np.linspace(0, 1, len(full)) if chain.needs_critic else None
    assert np.isfinite(chain.advantages(bare.with_extra(**columns), values)).all()
    assert all(isinstance(v, float) for v in figures.values())
    one, other = (chain.build_companion(Surroundings(seed=1)) for _ in range(2))
    assert one is not None
    assert other is not None
    one.update(bare, TokenTable.empty())
    other.load_state_dict(state)
    after = [c.update(bare, TokenTable.empty())[0] for c in (one, other)]
    for c in (one, other):
        c.close()
    assert after[0].keys() == after[1].keys()
    assert all((after[0][k] == after[1][k]).all() for k in after[0])


def test_the_price_of_danger_rises_while_the_limit_is_broken() -> None:
    steps = rollouts([0.0], [0.0], danger=np.array([True, False]))
    learner = recipe("lagrangian").build_companion(Surroundings(), limit=0.1, rate=0.2, most=2.0)
    assert learner is not None
    prices = [learner.update(steps, TokenTable.empty())[0]["danger_price"][0] for _ in range(3)]
    np.testing.assert_allclose(prices, 0.05 * np.exp([0.4, 0.8, 1.2]))


def test_companions_are_checked_when_the_recipe_is_made() -> None:
    with pytest.raises(UnknownName, match="companion 'implict'; did you mean 'implicit'"):
        Recipe("mine", (), "prime", companion="implict")
    with pytest.raises(UnknownName, match="option of companion 'implicit' 'bta'"):
        Recipe("mine", (), "prime", companion="implicit", companion_options={"bta": 1.0})
    with pytest.raises(UsageError, match="companion options, but no companion"):
        Recipe("mine", (), "prime", companion_options={"beta": 1.0})
    with pytest.raises(UsageError, match="'blend' goes with 'blended'"):
        Recipe("mine", (Term("outcome"),), "grpo", companion="blend")
    with pytest.raises(UsageError, match="no companion that could take"):
        recipe("grpo").build_companion(Surroundings(), beta=1.0)
    with pytest.raises(UsageError, match="'source' must be"):
        recipe("oni-retrieval").build_companion(Surroundings(), source="tea")


def test_terms_of_one_name_are_told_apart_by_labels() -> None:
    twice = (Term("column", 1.0, {"name": "safe"}, "a"), Term("column", 2.0, {"name": "doubt"}, "b"))
    chain = Recipe("mine", twice, "return-to-go")
    steps = full_table()
    np.testing.assert_allclose(chain.step_rewards(steps), steps.extras["safe"] + 2.0 * steps.extras["doubt"])
    assert "1 * a=column(name='safe')" in str(chain)


def test_a_recipe_without_terms_has_no_step_reward() -> None:
    with pytest.raises(UsageError, match="reads its own columns"):
        recipe("prime").step_rewards(full_table())


def test_the_weighted_sum_refuses_weights_of_nothing() -> None:
    columns = {"a": np.array([1.0, 2.0, 3.0])}
    steps = rollouts([0.0] * 3)
    np.testing.assert_array_equal(weighted.combine(steps, columns, weights={"a": 2.0}), [2.0, 4.0, 6.0])
    with pytest.raises(ValueError, match="'b', but the columns are"):
        weighted.combine(steps, columns, weights={"b": 1.0})
