"""Rules that join terms: gates, geometric means, tamed process scores, tests, and a limit on danger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.errors import UnknownName
from agentgym.rewards.combine import (
    RULES,
    blended,
    clip_delta,
    gated,
    hierarchical,
    krc,
    lagrangian,
    logical_and,
    renorm,
    rule,
    stack,
    verpo,
)
from agentgym.steps import StepTable
from tests.rewards.credit.tables import full_table, judged, rollouts, tables

OPTIONS = {
    "gated": {"order": ["b", "a"]},
    "hierarchical": {"levels": [["b"], ["a"]], "thresholds": {"b": 0.5}},
    "lagrangian": {"multiplier": 0.5},
    "blended": {"primary": "a", "prefix": "potential_"},
}


@pytest.mark.parametrize("name", RULES)
def test_every_rule_gives_finite_rewards_of_the_terms(name: str) -> None:
    steps = full_table()
    steps = steps.with_extra(potential_b=np.ones(len(steps)))
    columns = {"a": steps.reward, "b": steps.progress}
    combined = rule(name).combine(steps, columns, **OPTIONS.get(name, {}))
    assert combined.shape[:1] == (len(steps),)
    assert np.isfinite(combined).all()
    nothing = judged(StepTable.empty()).with_extra(potential_b=np.zeros(0))
    empty = {"a": nothing.reward, "b": nothing.progress}
    assert rule(name).combine(nothing, empty, **OPTIONS.get(name, {})).shape[:1] == (0,)


@pytest.mark.parametrize("name", RULES)
def test_every_rule_names_a_bad_column(name: str) -> None:
    steps = full_table().with_extra(potential_b=np.ones(len(full_table())))
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
    state = lagrangian.DangerLimit(limit=0.4, rate=0.2, smoothing=0.0, multiplier=1.0)
    dearer = state.updated(risky)
    assert dearer.multiplier == pytest.approx(np.exp(0.2 * 0.25)), "half of the rollouts, a quarter above the limit"
    assert dearer.updated(safe).multiplier == pytest.approx(np.exp(0.2 * 0.25 - 0.2))
    assert state.updated(StepTable.empty()) == state
    np.testing.assert_allclose(lagrangian.combine(risky, {}, multiplier=0.4), [-0.4, -0.4, 0.0])


def test_a_price_keeps_to_its_bounds_and_comes_down_as_fast_as_it_went_up() -> None:
    risky = rollouts([0.0], danger=np.array([True]))
    safe = rollouts([0.0])
    state = lagrangian.DangerLimit(limit=0.01, rate=0.5, smoothing=0.0, most=1.0, lowest=0.05, highest=2.0)
    up = [state := state.updated(risky) for _ in range(9)]
    assert [s.multiplier for s in up[:2]] == pytest.approx([0.05 * np.exp(0.5), 0.05 * np.exp(1.0)]), "at most exp(1/2)"
    assert up[-1].multiplier == 2.0
    down = [state := state.updated(safe) for _ in range(9)]
    assert down[0].multiplier == pytest.approx(2.0 * np.exp(-0.5))
    assert down[-1].multiplier == 0.05


def test_the_danger_rate_is_smoothed_over_batches() -> None:
    risky, safe = rollouts([0.0], danger=np.array([True])), rollouts([0.0])
    state = lagrangian.DangerLimit(limit=0.5, smoothing=0.75).updated(risky)
    assert state.seen == 1.0, "the first batch is all there is"
    assert state.updated(safe).seen == pytest.approx(0.75)


@pytest.mark.parametrize("options", [{"limit": 0.0}, {"limit": 0.1, "highest": 0.01}, {"limit": 0.1, "smoothing": 1.0}])
def test_a_limit_that_makes_no_sense_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        lagrangian.DangerLimit(**options)


def test_an_unknown_rule_names_the_nearest() -> None:
    with pytest.raises(UnknownName, match="did you mean 'gated'"):
        rule("gate")


def test_a_level_opens_when_the_one_above_is_reached_and_never_pays_for_the_past() -> None:
    steps = rollouts([0.0] * 4, [0.0] * 2)
    columns = {"key": np.array([0.0, 1.0, 0.0, 0.0, 0.0, 0.0]), "speed": np.ones(6)}
    combined = hierarchical.combine(steps, columns, levels=[["key"], ["speed"]], thresholds={"key": 1.0})
    np.testing.assert_array_equal(combined, [0.0, 2.0, 1.0, 1.0, 0.0, 0.0])
    with pytest.raises(ValueError, match="must name every column once"):
        hierarchical.combine(steps, columns, levels=[["key"]], thresholds={})
    with pytest.raises(ValueError, match="which is no column"):
        hierarchical.combine(steps, columns, levels=[["key"], ["speed"]], thresholds={"tea": 1.0})


def test_nothing_below_an_unsafe_step_is_earned_any_more() -> None:
    steps = rollouts([0.0] * 3)
    columns = {"danger": np.array([0.0, -1.0, 0.0]), "pay": np.ones(3)}
    combined = hierarchical.combine(steps, columns, levels=[["danger"], ["pay"]], thresholds={"danger": 0.0})
    np.testing.assert_array_equal(combined, [1.0, -1.0, 0.0])


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=5))
def test_the_and_is_at_most_its_worst_part(totals: list[float]) -> None:
    """It is the log of a product of probabilities: below each of them, and above them all only by the sum."""
    steps = rollouts([0.0, 0.0])
    columns = {str(k): np.array([v / 2, v / 2]) for k, v in enumerate(totals)}
    both = logical_and.combine(steps, columns)
    parts = [logical_and.combine(steps, {k: c})[1] for k, c in columns.items()]
    assert both[0] == 0.0
    assert both[1] <= min(parts) + 1e-12
    np.testing.assert_allclose(both[1], sum(parts), atol=1e-9)


def test_one_failure_cannot_be_paid_for() -> None:
    steps = rollouts([0.0])
    good = logical_and.combine(steps, {"a": np.array([1.0]), "b": np.array([1.0])})
    failed = logical_and.combine(steps, {"a": np.array([1000.0]), "b": np.array([0.0])})
    assert good[0] > -0.1
    assert failed[0] < -4.9
    with pytest.raises(ValueError, match="no columns"):
        logical_and.combine(steps, {})


def test_the_price_of_danger_may_be_a_column() -> None:
    steps = rollouts([1.0, 1.0], danger=np.array([True, False])).with_extra(price=np.array([3.0, 3.0]))
    np.testing.assert_array_equal(lagrangian.combine(steps, {"a": steps.reward}, multiplier="price"), [-2.0, 1.0])
    with pytest.raises(ValueError, match="'price' must be at least 0, row 1 is -1"):
        lagrangian.combine(steps.with_extra(price=np.array([0.0, -1.0])), {}, multiplier="price")
    with pytest.raises(ValueError, match="extra column 'tea'"):
        lagrangian.combine(steps, {}, multiplier="tea")


def test_two_actions_of_one_state_pull_apart_or_together() -> None:
    """The gradient by hand: p = (1/2, 1/2), so g = (A_0 - A_1) / 2 times (1, -1) for each reward."""
    steps = rollouts([0.0], [0.0], action=np.array([0, 1]))
    assert blended.cosine(steps, [3.0, 1.0], [1.0, 0.0]) == pytest.approx(1.0)
    assert blended.cosine(steps, [0.0, 5.0], [1.0, 0.0]) == pytest.approx(-1.0)
    assert blended.cosine(steps, [2.0, 2.0], [1.0, 0.0]) == 0.0, "alike for both actions: no gradient"


@given(tables(), st.integers(0, 9))
def test_the_cosine_is_one_with_itself_and_symmetric(steps: StepTable, seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = rng.normal(size=(2, len(steps)))
    own = blended.cosine(steps, a, a)
    assert own == 0.0 or own == pytest.approx(1.0)
    assert blended.cosine(steps, a, b) == pytest.approx(blended.cosine(steps, b, a))
    assert blended.cosine(steps, 7.0 * a, -b) == pytest.approx(-blended.cosine(steps, a, b))


def test_a_helpful_reward_gains_weight_and_a_misleading_one_loses_all() -> None:
    steps = rollouts([1.0], [0.0], action=np.array([0, 1]))
    state = blended.Blend({"help": 0.5, "mislead": 0.5}, rate=0.2)
    for _ in range(5):
        state = state.updated(steps, [1.0, -1.0], {"help": [2.0, 0.0], "mislead": [0.0, 2.0]})
    assert state.weights == {"help": 1.0, "mislead": 0.0}
    rows = steps.with_extra(weight_help=np.ones(2), weight_mislead=np.zeros(2))
    columns = {"outcome": steps.reward, "help": np.array([2.0, 0.0]), "mislead": np.array([0.0, 9.0])}
    np.testing.assert_array_equal(blended.combine(rows, columns), [3.0, 0.0])
    with pytest.raises(ValueError, match="'others' must name"):
        state.updated(steps, [1.0, -1.0], {"help": [2.0, 0.0]})
    with pytest.raises(ValueError, match="extra column 'weight_help'"):
        blended.combine(steps, columns)
    with pytest.raises(ValueError, match="'primary' must be one of"):
        blended.combine(rows, columns, primary="tea")
