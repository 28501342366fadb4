"""Return-to-go, GAE, GRPO, Dr.GRPO, RLOO, REINFORCE++ and GiGPO against plain Python, and the laws they obey."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.rewards.credit import dr_grpo, gae, gigpo, grpo, reinforce_pp, return_to_go, rloo
from agentgym.steps import StepTable
from tests.rewards.credit import reference
from tests.rewards.credit.tables import REWARDS, column, rollouts, tables

OVER = st.sampled_from(["trajectories", "rows"])
SINGLE = st.sampled_from(["raw", "zero"])
NORMALISE = st.sampled_from(["mean", "mean_std"])
GAMMA = st.sampled_from([0.0, 0.5, 0.95, 1.0])


def close(ours: np.ndarray, theirs: list[float]) -> None:
    """Equal up to rounding, which a tiny spread over a large mean magnifies."""
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@given(tables(), GAMMA)
def test_return_to_go_is_the_discounted_sum_of_what_follows(steps: StepTable, gamma: float) -> None:
    close(return_to_go.assign(steps, gamma=gamma), reference.return_to_go(steps, gamma))


@given(tables(max_length=40, max_trajectories=3), GAMMA, GAMMA, st.data())
def test_gae_equals_the_recursion(steps: StepTable, gamma: float, lam: float, data: st.DataObject) -> None:
    values = column(data.draw, len(steps), REWARDS)
    last = column(data.draw, len(steps.starts), REWARDS)
    ours = gae.assign(steps, values=values, last_values=last, gamma=gamma, lam=lam)
    close(ours, reference.gae(steps, values.tolist(), last.tolist(), gamma, lam))


@given(tables(), GAMMA)
def test_gae_without_a_critic_is_return_to_go(steps: StepTable, gamma: float) -> None:
    ours = gae.assign(steps, values=np.zeros(len(steps)), gamma=gamma, lam=1.0)
    np.testing.assert_allclose(ours, return_to_go.assign(steps, gamma=gamma), atol=1e-9)


@given(tables(), NORMALISE, OVER, SINGLE)
def test_grpo(steps: StepTable, normalise: str, over: str, single: str) -> None:
    ours = grpo.assign(steps, normalise=normalise, over=over, single=single)
    close(ours, reference.grpo(steps, normalise, over, single))


@given(tables(comparable=True, distinct_outcomes=True))
def test_pass_at_k_credits_the_lead_of_the_best(steps: StepTable) -> None:
    close(grpo.assign(steps, pass_at_k=True, normalise="mean"), reference.pass_at_k(steps))


@given(tables(), OVER, SINGLE)
def test_dr_grpo_is_grpo_without_division(steps: StepTable, over: str, single: str) -> None:
    close(dr_grpo.assign(steps, over=over, single=single), reference.grpo(steps, "mean", over, single))


@given(tables(), OVER, SINGLE)
def test_rloo_compares_with_the_mean_of_the_others(steps: StepTable, over: str, single: str) -> None:
    close(rloo.assign(steps, over=over, single=single), reference.rloo(steps, over, single))


@given(tables(min_trajectories=2), OVER, SINGLE)
def test_reinforce_pp_whitens_the_batch(steps: StepTable, over: str, single: str) -> None:
    ours = reinforce_pp.assign(steps, over=over, single=single)
    np.testing.assert_allclose(ours, reference.reinforce_pp(steps, over, single), rtol=1e-5, atol=1e-5)


@given(tables(), GAMMA, st.sampled_from([0.0, 1.0, -0.5]), NORMALISE, OVER, SINGLE)
def test_gigpo(steps: StepTable, gamma: float, weight: float, normalise: str, over: str, single: str) -> None:
    ours = gigpo.assign(steps, gamma=gamma, step_weight=weight, normalise=normalise, over=over, single=single)
    close(ours, reference.gigpo(steps, gamma, weight, normalise, over, single))


METHODS = {
    "grpo": grpo.assign,
    "dr-grpo": dr_grpo.assign,
    "rloo": rloo.assign,
    "gigpo": gigpo.assign,
    "gigpo, rows": lambda s, **k: gigpo.assign(s, over="rows", **k),
}
methods = pytest.mark.parametrize("assign", METHODS.values(), ids=METHODS)


@methods
@given(steps=tables())
def test_what_a_group_is_called_does_not_matter(assign, steps: StepTable) -> None:
    other = relabelled(steps, group=7 - 5 * steps.group, anchor=steps.anchor ^ 12345)
    np.testing.assert_allclose(assign(other), assign(steps), rtol=1e-7, atol=1e-9)


@methods
@given(steps=tables(max_length=3))
def test_the_order_of_trajectories_does_not_matter(assign, steps: StepTable) -> None:
    backwards = np.concatenate([np.arange(a, b + 1) for a, b in zip(steps.starts[::-1], steps.ends[::-1], strict=True)])
    other = StepTable.from_columns(
        trajectory=np.repeat(np.arange(len(steps.starts)), steps.lengths[::-1]),
        outcome=steps.outcome[::-1],
        **{k: v[backwards] for k, v in steps.columns().items() if k not in ("trajectory", "t")},
    )
    np.testing.assert_allclose(assign(other), assign(steps)[backwards], rtol=1e-6, atol=1e-7)


@methods
@given(steps=tables(), shift=st.floats(-10, 10))
def test_adding_a_constant_to_all_scores_changes_nothing_but_groups_of_one(
    assign, steps: StepTable, shift: float
) -> None:
    options = {"single": "zero"}
    other = assign(steps, score=steps.outcome + shift, **options)
    np.testing.assert_allclose(other, assign(steps, score=steps.outcome, **options), rtol=1e-4, atol=1e-4)


@given(tables(), st.floats(0.1, 10))
def test_without_division_advantages_scale_with_the_rewards(steps: StepTable, scale: float) -> None:
    for assign in (dr_grpo.assign, rloo.assign):
        np.testing.assert_allclose(
            assign(steps, score=scale * steps.outcome), scale * assign(steps), rtol=1e-9, atol=1e-9
        )


@methods
@pytest.mark.parametrize("value", [0.1, 0.3, 1 / 3, 1e6 + 0.1, -7e-5])
def test_a_group_of_equal_scores_is_exactly_zero(assign, value: float) -> None:
    steps = rollouts(*([[0.3, 0.0, value]] * 7), anchor=np.tile([0, 1, 2], 7))
    assert not assign(steps, score=np.full(7, value)).any()


def test_scores_that_differ_by_rounding_count_as_equal() -> None:
    steps = rollouts([0.1 + 0.2], [0.3], [0.3])
    assert steps.outcome[0] != steps.outcome[1]
    assert not grpo.assign(steps).any()


@given(tables())
def test_finite_rewards_of_any_size_give_finite_advantages(steps: StepTable) -> None:
    huge = np.where(steps.reward > 0, 1e100, -1e100)
    for assign in (grpo.assign, rloo.assign, dr_grpo.assign, gigpo.assign, return_to_go.assign):
        assert np.isfinite(assign(steps, huge)).all()


def test_rewards_given_make_the_score_unless_scores_are_given_too() -> None:
    steps = rollouts([0.0, 1.0], [0.0])
    flipped = np.array([0.0, 0.0, 1.0])
    np.testing.assert_array_equal(dr_grpo.assign(steps), [0.5, 0.5, -0.5])
    np.testing.assert_array_equal(dr_grpo.assign(steps, flipped), [-0.5, -0.5, 0.5])
    np.testing.assert_array_equal(dr_grpo.assign(steps, flipped, score=steps.outcome), [0.5, 0.5, -0.5])


def test_long_trajectories_weigh_more_over_rows() -> None:
    steps = rollouts([0.0, 0.0, 1.0], [0.0])
    np.testing.assert_array_equal(dr_grpo.assign(steps), [0.5, 0.5, 0.5, -0.5])
    np.testing.assert_array_equal(dr_grpo.assign(steps, over="rows"), [0.25, 0.25, 0.25, -0.75])


def test_a_state_seen_once_has_no_step_advantage() -> None:
    steps = rollouts([0.0, 1.0], [0.0, 0.0], anchor=np.array([0, 1, 2, 3]))
    assert not gigpo.step_part(steps).any()


@given(tables())
def test_gigpos_parts_are_weighed_one_by_one(steps: StepTable) -> None:
    only = {"episode_weight": 0.0, "step_weight": 0.0}
    episode, state = gigpo.episode_part(steps), gigpo.step_part(steps)
    batch = gigpo.assign(steps, **only, batch_weight=1.0)
    np.testing.assert_allclose(
        gigpo.assign(steps, episode_weight=2.0, step_weight=3.0, batch_weight=4.0), 2 * episode + 3 * state + 4 * batch
    )
    assert not gigpo.assign(steps, **only).any(), "beside the batch only when asked for"
    assert abs(batch.sum()) <= 1e-6 * max(1, len(steps))


def test_equal_anchors_in_two_groups_are_two_states() -> None:
    steps = rollouts([1.0], ([0.0], 1), anchor=np.zeros(2, dtype=np.int64))
    assert gigpo.state_groups(steps).count == 2


def test_similar_texts_join_the_first_cluster_they_fit() -> None:
    texts = np.array(["a red door", "a red floor", "a key", "a red door"], dtype=object)
    steps = rollouts([0.0, 0.0], [0.0, 1.0], extras={"observation": texts})
    assert gigpo.state_groups(steps, similarity=0.8).code.tolist() == [0, 0, 1, 0]
    assert gigpo.state_groups(steps, similarity=0.99).code.tolist() == [0, 1, 2, 0]


@given(tables(), st.sampled_from([0.3, 0.6, 0.9]), st.data())
def test_similarity_is_greedy_first_fit(steps: StepTable, threshold: float, data: st.DataObject) -> None:
    texts = data.draw(st.lists(st.text("abc", max_size=6), min_size=len(steps), max_size=len(steps)))
    steps = steps.with_extra(observation=np.array([*texts, None], dtype=object)[:-1])
    groups = gigpo.state_groups(steps, similarity=threshold)
    assert groups.code.tolist() == reference.similar(steps, texts, threshold)


def test_an_ungrounded_step_pays_alone() -> None:
    steps = rollouts(
        [0.0, 1.0], [0.0, 1.0], anchor=np.zeros(4, dtype=np.int64), grounded=np.array([True, False, True, True])
    )
    plain, charged = (
        gigpo.step_part(steps, normalise="mean"),
        gigpo.step_part(steps, normalise="mean", invalid_penalty=0.1),
    )
    change = charged - plain
    assert change[1] < 0
    np.testing.assert_allclose(np.delete(change, 1), 0.025)  # the mean fell, their own returns did not


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e200])
def test_a_bad_reward_is_named_by_column_and_row(bad: float) -> None:
    steps = rollouts([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match=r"'rewards' .*row 1"):
        gigpo.assign(steps, [0.0, bad, 0.0])
    with pytest.raises(ValueError, match=r"'score' .*row 0"):
        grpo.assign(steps, score=[bad, 0.0])
    with pytest.raises(ValueError, match=r"'values' .*row 2"):
        gae.assign(steps, values=[0.0, 0.0, bad])


def test_lengths_that_differ_are_refused() -> None:
    steps = rollouts([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match=r"'rewards' must have shape \(3,\), got \(2,\)"):
        rloo.assign(steps, [0.0, 1.0])
    with pytest.raises(ValueError, match=r"'score' must have shape \(2,\), got \(3,\)"):
        rloo.assign(steps, score=[0.0, 1.0, 2.0])


def test_options_that_do_not_exist_are_refused_with_those_that_do() -> None:
    steps = rollouts([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match=r"'normalise' must be one of \['mean', 'mean_std'\], got 'zscore'"):
        grpo.assign(steps, normalise="zscore")
    with pytest.raises(ValueError, match=r"'gamma' must lie in \[0, 1\], got 1.5"):
        gigpo.assign(steps, gamma=1.5)
    with pytest.raises(ValueError, match=r"'similarity' must lie in \(0, 1\), got 1.0"):
        gigpo.assign(steps, similarity=1.0)


def test_a_missing_extra_is_answered_with_how_to_add_it() -> None:
    steps = rollouts([0.0, 1.0], [0.0])
    with pytest.raises(ValueError, match=r"'observation'.*with_extra\(observation="):
        gigpo.assign(steps, similarity=0.9)
    with pytest.raises(ValueError, match="'n_tokens'"):
        reinforce_pp.assign(steps, whiten_over="tokens")


def test_what_cannot_be_compared_is_refused() -> None:
    alone = rollouts([1.0], ([0.5, 0.5], 4))
    with pytest.raises(ValueError, match=r"at least two entries per group, group 0 \(row 0\)"):
        grpo.assign(alone, pass_at_k=True)
    with pytest.raises(ValueError, match="at least two entries"):
        reinforce_pp.assign(rollouts([1.0]))


@pytest.mark.parametrize(
    "assign", [return_to_go.assign, grpo.assign, dr_grpo.assign, rloo.assign, reinforce_pp.assign, gigpo.assign]
)
def test_an_empty_table_has_no_advantages(assign) -> None:
    assert assign(StepTable.empty()).shape == (0,)


def relabelled(steps: StepTable, **columns: np.ndarray) -> StepTable:
    return StepTable.from_columns(**{**steps.columns(), **columns}, outcome=steps.outcome)
