"""Rules that join terms: gates, geometric means, tamed process scores, tests, and a limit on danger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import recipe
from agentgym.rewards.combine import RULES, clip_delta, gated, krc, lagrangian, renorm, rule, stack, verpo
from agentgym.steps import StepTable
from tests.rewards.credit.tables import full_table, judged, rollouts, tables

OPTIONS = {"gated": {"order": ["b", "a"]}, "lagrangian": {"multiplier": 0.5}}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_finite_rewards_of_the_terms(name: str) -> None:
    steps = full_table()
    columns = {"a": steps.reward, "b": steps.progress}
    combined = rule(name).combine(steps, columns, **OPTIONS.get(name, {}))
    assert combined.shape[:1] == (len(steps),)
    assert np.isfinite(combined).all()
    nothing = judged(StepTable.empty())
    empty = {"a": nothing.reward, "b": nothing.progress}
    assert rule(name).combine(nothing, empty, **OPTIONS.get(name, {})).shape[:1] == (0,)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_names_a_bad_column(name: str) -> None:
    steps = full_table()
    with pytest.raises(ValueError, match=r"'b' .*row 0"):
        rule(name).combine(steps, {"a": steps.reward, "b": np.full(len(steps), np.nan)}, **OPTIONS.get(name, {}))


@pytest.mark.parametrize("name", [n for n in RULES if RULES[n].stepwise])
@given(steps=tables())
def test_a_stepwise_rule_reads_one_row_at_a_time(name: str, steps: StepTable) -> None:
    columns = {"a": steps.reward, "b": steps.progress}
    whole = rule(name).combine(steps, columns, **OPTIONS.get(name, {}))
    for row in range(len(steps)):
        part = {k: v[row : row + 1] for k, v in columns.items()}
        assert rule(name).combine(steps[row : row + 1], part, **OPTIONS.get(name, {}))[0] == whole[row]


def test_a_gate_closes_what_has_lower_priority_in_the_whole_rollout() -> None:
    steps = rollouts([0.0, 0.0], [0.0, 0.0])
    columns = {"patch": np.array([0.0, 1.0, 0.0, 0.0]), "steps": np.ones(4)}
    combined = gated.combine(steps, columns, order=["patch", "steps"], thresholds={"patch": 1.0})
    np.testing.assert_array_equal(combined, [1.0, 2.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="must name every column once"):
        gated.combine(steps, columns, order=["patch"])


@given(st.lists(st.tuples(st.floats(-10, 10), st.floats(-10, 10)), min_size=1, max_size=8))
def test_krc_is_the_signed_geometric_mean(pairs: list[tuple[float, float]]) -> None:
    a, b = np.array(pairs).T
    sign = np.where((a < 0) | (b < 0), -1.0, 1.0)
    np.testing.assert_allclose(
        krc.combine(rollouts([0.0] * len(a)), {"a": a, "b": b}), sign * np.sqrt(abs(a * b)), rtol=1e-9, atol=1e-150
    )


def test_two_bad_components_stay_bad_under_krc() -> None:
    assert krc.combine(rollouts([0.0]), {"a": np.array([-1.0]), "b": np.array([-4.0])}).tolist() == [-2.0]


@given(tables(), st.booleans(), st.integers(0, 9))
def test_delta_telescopes_to_the_first_score(steps: StepTable, clip: bool, seed: int) -> None:
    steps = judged(steps, seed)
    shaped = clip_delta.combine(steps, {}, clip=clip)
    p = steps.extras["process_score"]
    first = np.minimum(p - np.quantile(p, 0.9), 0.0) if clip else p
    np.testing.assert_allclose(np.add.reduceat(shaped, steps.starts), first[steps.starts], atol=1e-12)


def test_clipping_leaves_most_good_steps_nothing() -> None:
    steps = rollouts([0.0] * 4).with_extra(process_score=np.array([0.9, 0.9, 0.1, 0.9]))
    np.testing.assert_allclose(clip_delta.combine(steps, {}, delta=False), [0.0, 0.0, -0.8, 0.0])


@given(tables(), st.integers(0, 9))
def test_renorm_leaves_the_total_to_the_outcome(steps: StepTable, seed: int) -> None:
    steps = judged(steps, seed)
    outcome = np.zeros(len(steps))
    outcome[steps.ends] = steps.outcome
    with_process = renorm.combine(steps, {"outcome": outcome}, beta=0.5)
    without = renorm.combine(steps, {"outcome": outcome}, beta=0.0)
    np.testing.assert_allclose(
        np.add.reduceat(with_process, steps.starts), np.add.reduceat(without, steps.starts), atol=1e-9
    )
    assert np.abs(with_process - without).max() <= 0.5 + 1e-12


def with_tests(*rollout: list[list[int]]) -> StepTable:
    """One list of test results per state, the first before the first step."""
    steps = rollouts(*([0.0] * (len(states) - 1) for states in rollout))
    return steps.with_extra(
        tests_before=np.array([row for states in rollout for row in states[:-1]]),
        tests=np.array([row for states in rollout for row in states[1:]]),
    )


def test_a_rare_pass_is_worth_more() -> None:
    steps = with_tests([[0, 0], [1, 0], [1, 1]], [[0, 0], [1, 0], [1, 0]])
    dense = verpo.combine(steps, {})
    common, rare = dense[0], dense[1]
    assert rare > 100 * common > 0
    assert common + rare == pytest.approx(1.0)
    np.testing.assert_allclose(dense[2:], [common, 0.0])


def test_a_rollout_that_breaks_a_passing_test_keeps_nothing() -> None:
    steps = with_tests([[1, 0], [1, 1], [0, 1]], [[1, 0], [1, 1], [1, 1]])
    dense = verpo.combine(steps, {"outcome": np.full(4, 0.5)})
    np.testing.assert_allclose(dense[:2], 0.5)
    assert dense[2] > 0.5


def test_a_test_that_a_task_lacks_weighs_nothing() -> None:
    np.testing.assert_allclose(verpo.combine(with_tests([[0, -1], [1, -1]]), {}), [1.0])
    with pytest.raises(ValueError, match=r"1 \(passes\), 0 \(fails\) or -1"):
        verpo.combine(with_tests([[0, 2], [1, 2]]), {})


def test_terms_can_stay_apart() -> None:
    assert stack.combine(rollouts([0.0]), {"a": np.array([1.0]), "b": np.array([2.0])}).tolist() == [[1.0, 2.0]]


def test_danger_grows_dearer_above_the_limit_and_cheaper_below() -> None:
    risky = rollouts([0.0, 0.0], [0.0], danger=np.array([True, True, False]))
    safe = rollouts([0.0], [0.0])
    state = lagrangian.DangerLimit(limit=0.1)
    dearer = state.updated(risky)
    assert dearer.multiplier == pytest.approx(0.4)
    assert dearer.updated(safe).multiplier == pytest.approx(0.3)
    assert state.updated(safe).multiplier == 0.0
    assert state.updated(StepTable.empty()) == state
    np.testing.assert_allclose(lagrangian.combine(risky, {}, multiplier=0.4), [-0.4, -0.4, 0.0])


def test_a_recipe_carries_its_price_as_a_value() -> None:
    risky = rollouts([0.0, 0.0], [1.0], danger=np.array([True, False, False]))
    free = recipe("lagrangian")
    options = free.combine_options
    dear = free.updated(risky)
    assert free.state == {"multiplier": 0.0}
    assert dear.state["multiplier"] == pytest.approx(options["rate"] * (0.5 - options["limit"]))
    assert (free.step_rewards(risky) - dear.step_rewards(risky)).tolist() == [dear.state["multiplier"], 0.0, 0.0]
    assert free.with_state(dear.state) == dear, "what a checkpoint keeps is enough"
    with pytest.raises(UsageError, match="multiplier"):
        free.with_state({"price": 1.0})
    plain = recipe("gigpo")
    assert plain.updated(risky) is plain
    assert plain.with_state({}) is plain


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gated'"):
        rule("gate")
