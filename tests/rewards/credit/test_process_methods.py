"""Methods that read process scores, labels, trees or durations, against plain Python and against their own claims."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.rewards.credit import (
    METHODS,
    adca,
    assigner,
    cm2,
    copo,
    duration,
    gdpo,
    grpo,
    gtd,
    istar,
    pooling,
    portool,
    prime,
    propagation,
    pure,
    salt,
    spa,
)
from agentgym.steps import StepTable
from tests.rewards.credit import reference_process as reference
from tests.rewards.credit.tables import REWARDS, column, full_table, judged, rollouts, tables

SCORES = st.floats(-1, 1).map(lambda x: round(x, 3))


def close(ours: np.ndarray, theirs: list[float]) -> None:
    assert np.isfinite(ours).all()
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@given(tables(), st.integers(0, 2))
def test_salt_averages_equal_edges(steps: StepTable, history: int) -> None:
    close(salt.assign(steps, history=history), reference.salt(steps, history))


def test_a_missing_past_is_not_a_past_in_state_zero() -> None:
    steps = rollouts([1.0], [0.0, 0.0], anchor=np.array([5, 0, 5]), next_anchor=np.array([6, 5, 6]))
    base = grpo.assign(steps)
    assert salt.assign(steps)[0] == pytest.approx(0.0)
    np.testing.assert_array_equal(salt.assign(steps, history=1), base)


@given(tables(), st.sampled_from(["verl", "trl"]), st.data())
def test_gdpo_normalises_every_reward_on_its_own(steps: StepTable, version: str, data: st.DataObject) -> None:
    scores = np.stack([column(data.draw, len(steps.starts), REWARDS) for _ in range(2)], axis=1)
    ours = gdpo.assign(steps, score=scores, weights=[1.0, 0.5], version=version, batch_normalise=False)
    close(ours, reference.gdpo(steps, scores.tolist(), [1.0, 0.5], version))


def test_gdpo_sums_step_rewards_over_trajectories() -> None:
    steps, rng = full_table(), np.random.default_rng(0)
    rewards = rng.normal(size=(len(steps), 3))
    np.testing.assert_allclose(
        gdpo.assign(steps, rewards), gdpo.assign(steps, score=np.add.reduceat(rewards, steps.starts))
    )


@given(tables(comparable=True), st.sampled_from(["token", "step", "none"]), st.sampled_from([0.0, 1.0]), st.data())
def test_pure(steps: StepTable, baseline: str, verifiable: float, data: st.DataObject) -> None:
    p = column(data.draw, len(steps), SCORES)
    ours = pure.assign(steps, p, temperature=0.5, baseline=baseline, verifiable=verifiable)
    close(ours, reference.pure(steps, p.tolist(), 0.5, baseline, verifiable))


@given(st.lists(SCORES, min_size=1, max_size=6))
def test_pures_cold_limit_is_the_worst_step(scores: list[float]) -> None:
    shaped = pure.weighted(rollouts(scores), temperature=1e-4)
    assert shaped.sum() == pytest.approx(min(scores), abs=1e-3)


@given(tables(comparable=True))
def test_prime(steps: StepTable) -> None:
    q = prime.log_ratio(steps)
    close(prime.assign(steps, whiten=False), reference.prime(steps, q.tolist()))


@given(tables(), st.sampled_from(["rloo", "grpo", "mean"]), st.sampled_from([0.0, 0.5]), st.data())
def test_istar(steps: StepTable, variant: str, weight: float, data: st.DataObject) -> None:
    step = column(data.draw, len(steps), SCORES)
    ours = istar.assign(steps, step, variant=variant, step_weight=weight)
    close(ours, reference.istar(steps, step.tolist(), variant, weight))


@given(tables(comparable=True))
def test_spas_released_code(steps: StepTable) -> None:
    close(spa.redistributed(steps, mode="code"), reference.spa_code(steps))


@given(tables(), st.data())
def test_spas_contributions_can_be_made_to_sum_to_a_completion(steps: StepTable, data: st.DataObject) -> None:
    c, target = column(data.draw, len(steps), SCORES), column(data.draw, len(steps.starts), SCORES)
    reward = spa.redistributed(steps, c, beta=0.0, completion=target)
    np.testing.assert_allclose(np.add.reduceat(reward, steps.starts), target, atol=1e-9)


def test_spas_ppo_weights_leave_nothing_to_the_last_step() -> None:
    steps = rollouts([1.0, 1.0, 1.0])
    np.testing.assert_array_equal(spa.assign(steps, [1.0, 1.0, 1.0], beta=0.0, ppo_weights=True), [3.0, 1.0, 0.0])


@given(
    tables(),
    st.sampled_from(["decouple", "allocation"]),
    st.sampled_from(["trajectories", "rows"]),
    st.sampled_from(["last_step", "all_steps"]),
)
def test_adca(steps: StepTable, scheme: str, over: str, outcome_on: str) -> None:
    steps = judged(steps)
    ours = adca.assign(steps, scheme=scheme, over=over, outcome_on=outcome_on, alpha=0.3)
    close(ours, reference.adca(steps, scheme, over, outcome_on, 0.3))


@given(tables(), st.integers(0, 3), st.booleans())
def test_cm2_compares_turns_of_one_position(steps: StepTable, small: int, divide: bool) -> None:
    close(cm2.assign(steps, small=small, divide=divide), reference.cm2(steps, small, divide))


def test_a_failed_rollout_leaves_cm2s_statistics() -> None:
    steps = rollouts([1.0], [0.0], [5.0]).with_extra(failed=np.array([False, False, True]))
    np.testing.assert_array_equal(cm2.assign(steps, small=0), [0.5, -0.5, 0.0])


@given(tables())
def test_copo_blends_by_how_much_a_group_agrees(steps: StepTable) -> None:
    close(copo.assign(steps), reference.copo(steps))


def test_copo_pushes_a_group_that_always_succeeds_up() -> None:
    steps = rollouts([1.0], [1.0], ([0.0], 1), ([0.0], 1))
    assert copo.assign(steps)[0] > 0 > copo.assign(steps)[2]
    assert not grpo.assign(steps).any()


@given(tables(), st.sampled_from([0.0, 0.5, 0.95]))
def test_propagation(steps: StepTable, decay: float) -> None:
    close(propagation.assign(steps, decay=decay), reference.propagation(steps, decay))


def test_a_failed_rollout_learns_where_it_left_the_way() -> None:
    steps = rollouts(
        [0.0, 1.0],
        [0.0, 0.0],
        anchor=np.array([0, 1, 0, 1]),
        next_anchor=np.array([1, 9, 1, 5]),
        terminated=np.array([False, True, False, False]),
    )
    advantage = propagation.assign(steps, decay=0.5)
    assert advantage[2] == advantage[0] > 0
    assert advantage[3] < 0


def test_long_actions_weigh_more() -> None:
    steps = rollouts([1.0], [0.0], [0.5], duration=np.array([4.0, 1.0, 1.0]))
    np.testing.assert_allclose(duration.assign(steps, normalise="mean"), [1.0, -0.25, 0.0])
    with pytest.raises(ValueError, match="'duration' must be at least 0"):
        duration.assign(rollouts([1.0], [0.0]))


def test_pooled_states_are_equal_in_milestones_and_progress() -> None:
    steps = rollouts(
        [0.0, 0.0, 0.0],
        anchor=np.array([5, 6, 7]),
        milestones_before=np.array([0, 0, 1]),
        milestones=np.array([0, 1, 1]),
        progress_before=np.array([0.0, 0.01, 0.5]),
        progress=np.array([0.01, 0.5, 1.0]),
    )
    pooled = pooling.pool(steps)
    assert pooled.anchor[0] == pooled.anchor[1] == pooled.next_anchor[0]
    assert pooled.anchor[2] == pooled.next_anchor[1] != pooled.next_anchor[2]
    assert np.isfinite(gtd.assign(pooled)).all()
    by_column = pooling.pool(steps.with_extra(a=np.array([1, 1, 1]), b=np.array([1, 1, 2])), columns=("a", "b"))
    assert by_column.anchor.tolist() == [1, 1, 1]


@st.composite
def trees(draw: st.DrawFn) -> StepTable:
    """Rollouts that branch off earlier ones after any of their steps."""
    rows: list[tuple[int, int, int, int, int]] = []  # trajectory, group, parent, parent_t, t
    first, length, group = [], [], []
    for trajectory in range(draw(st.integers(1, 6))):
        parent = draw(st.sampled_from([-1, *range(trajectory)]))
        if parent == -1:
            start, parent_t = 0, -1
            group.append(draw(st.integers(0, 1)))
        else:
            parent_t = draw(st.integers(first[parent] - 1, first[parent] + length[parent] - 1))
            if parent_t < 0:
                parent = -1
            start = parent_t + 1
            group.append(group[parent] if parent >= 0 else draw(st.integers(0, 1)))
        first.append(start)
        length.append(draw(st.integers(1, 3)))
        rows += [
            (trajectory, group[-1], parent, parent_t if parent >= 0 else -1, t)
            for t in range(start, start + length[-1])
        ]
    trajectory, groups, parent, parent_t, t = np.array(rows).T
    return StepTable.from_columns(
        trajectory=trajectory,
        group=groups,
        parent=parent,
        parent_t=parent_t,
        t=t.astype(np.int32),
        outcome=column(draw, len(first), REWARDS),
    )


@given(trees())
def test_portool(steps: StepTable) -> None:
    close(portool.assign(steps), reference.portool(steps))


def test_a_tree_with_a_missing_parent_is_refused() -> None:
    steps = StepTable.from_columns(trajectory=[3], parent=[1], parent_t=[0], t=np.array([1], dtype=np.int32))
    with pytest.raises(ValueError, match="branches from trajectory 1, which has no steps"):
        portool.assign(steps)


def test_what_leaves_one_out_refuses_a_group_of_one() -> None:
    alone = judged(rollouts([0.5], [0.2], ([0.1], 7)))
    for assign in (pure.assign, prime.assign, lambda s: spa.assign(s, mode="code")):
        with pytest.raises(ValueError, match=r"group 7 \(row 2\)"):
            assign(alone)


def test_tournaments_give_grpo_a_ranking() -> None:
    strength = {0: 3.0, 1: 9.0, 2: 5.0, 3: 1.0}
    steps = rollouts([0.0, 0.0], [0.0], [0.0], [0.0])
    advantage = assigner("arenarl")(steps, judge=lambda i, j: (strength[i], strength[j]))
    assert advantage[2] > advantage[3] > advantage[0] == advantage[1] > advantage[4]


@pytest.mark.parametrize("name", [m for m in METHODS if m not in ("gae", "arenarl")])
def test_every_method_is_pure_and_finite_and_empty_for_nothing(name: str) -> None:
    steps = full_table()
    before = {k: v.copy() for k, v in {**steps.columns(), **steps.extras}.items()}
    advantage = assigner(name)(steps)
    assert advantage.shape == (len(steps),)
    assert advantage.dtype == np.float64
    assert np.isfinite(advantage).all()
    for key, value in {**steps.columns(), **steps.extras}.items():
        np.testing.assert_array_equal(value, before[key], err_msg=f"{name} changed {key}")
    assert assigner(name)(judged(StepTable.empty())).shape == (0,)


@pytest.mark.parametrize("name", [m for m in METHODS if m not in ("gae", "arenarl")])
def test_every_method_names_a_bad_reward(name: str) -> None:
    steps = full_table()
    rewards = np.zeros(len(steps))
    rewards[3] = np.nan
    score = METHODS[name].scores_trajectories and name not in ("prime", "istar", "gdpo")
    with pytest.raises(ValueError, match="row"):
        assigner(name)(steps, rewards)
    if score:
        with pytest.raises(ValueError, match="'score'"):
            assigner(name)(steps, score=np.zeros(len(steps) + 1))


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (lambda s: adca.assign(s.with_extra(good=np.ones(len(s)))), "'good' must be bool"),
        (lambda s: adca.assign(s, good="labels"), r"'labels'.*with_extra"),
        (lambda s: cm2.assign(s.with_extra(failed=np.zeros(len(s)))), "'failed' must be bool"),
        (lambda s: cm2.assign(s, small=-1), "'small' must lie in"),
        (lambda s: pooling.pool(s, columns=("process_score", "good")), "'process_score' must hold integers"),
        (lambda s: pooling.pool(s, bins=0), "'bins' must lie in"),
        (lambda s: gdpo.assign(s, score=np.zeros((3, 2))), r"'score' must have shape \(18, 2\)"),
        (lambda s: gdpo.assign(s, version="tf"), "'version' must be one of"),
        (lambda s: pure.assign(s, temperature=0.0), r"'temperature' must lie in \(0, inf\)"),
        (lambda s: pure.assign(s, padded_length=1), "'padded_length' must lie in"),
        (lambda s: istar.assign(s, beta=0.0), "'beta' must lie in"),
        (lambda s: propagation.assign(s, decay=1.0), r"'decay' must lie in \[0, 1\)"),
        (lambda s: salt.assign(s, history=-1), "'history' must lie in"),
        (lambda s: spa.assign(s, completion=[1.0]), r"'completion' must have shape \(18,\)"),
        (lambda s: assigner("arenarl")(s, judge=lambda i, j: (0.0, 0.0), bracket="knockout"), "unknown bracket"),
    ],
)
def test_what_has_no_meaning_is_refused(broken, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        broken(full_table())
