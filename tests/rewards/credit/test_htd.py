"""HTD and the congruent states under it: against plain Python, on worlds whose states are known, and their laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.rewards import recipe
from agentgym.rewards.audit import behaviour, corridor, draw, slippery
from agentgym.rewards.credit import congruence, gtd, htd
from agentgym.rewards.credit.congruence import congruent
from agentgym.rewards.credit.groups import dense, joint, joint_runs, partition
from agentgym.steps import StepTable
from tests.rewards.credit import reference_htd
from tests.rewards.credit.tables import rollouts, tables


@st.composite
def worlds(draw: st.DrawFn) -> StepTable:
    """Rollouts whose next state is the following row's, so that folding has something to do."""
    steps = draw(tables(max_length=6))
    anchors = np.array(
        draw(st.lists(st.integers(0, draw(st.sampled_from([3, 40]))), min_size=len(steps) + 1, max_size=len(steps) + 1))
    )
    after = np.roll(anchors[:-1], -1)
    after[steps.ends] = anchors[-1]
    levels = draw(st.sampled_from([1, 3]))
    columns = {
        **steps.columns(),
        "anchor": anchors[:-1],
        "next_anchor": after,
        "progress_before": anchors[:-1] % levels / levels,
        "progress": after % levels / levels,
    }
    return StepTable.from_columns(**columns, outcome=steps.outcome)


def changed(steps: StepTable, **columns: np.ndarray) -> StepTable:
    return StepTable.from_columns(**{**steps.columns(), **columns}, outcome=steps.outcome)


def same_classes(a: object, b: object) -> bool:
    """Two namings of the same things tell the same ones apart."""
    pairs = set(zip(a, b, strict=True))  # type: ignore[call-overload]
    return len(pairs) == len({x for x, _ in pairs}) == len({y for _, y in pairs})


@pytest.mark.parametrize("evidence", [1, 8])
@given(steps=worlds())
def test_congruent_states(evidence: int, steps: StepTable) -> None:
    before, congruence.EVIDENCE = congruence.EVIDENCE, evidence
    try:
        found = congruent(steps)
    finally:
        congruence.EVIDENCE = before
    own, across = reference_htd.congruent(steps, evidence)
    assert same_classes(found.own.code.tolist(), [x for pair in own for x in pair])
    assert same_classes(found.across.code.tolist(), [x for pair in across for x in pair])


@given(steps=worlds())
def test_states_are_numbered_in_the_order_of_their_groups(steps: StepTable) -> None:
    found = congruent(steps)
    for states, groups in ((found.own, found.groups), (found.across, found.linked)):
        of = np.full(states.count, -1)
        of[states.code] = np.repeat(groups.code, 2)
        assert np.all(np.diff(of) >= 0)
        assert np.array_equal(of[states.code], np.repeat(groups.code, 2)), "a state belongs to one class of groups"


@given(
    worlds(),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.sampled_from([0.3, 1.0]),
    st.sampled_from([1, 10]),
    st.sampled_from([1.0, 20.0]),
    st.booleans(),
)
def test_htd(steps: StepTable, lam: float, kappa: float, bins: int, goal: float, across: bool) -> None:
    ours = htd.assign(steps, lam=lam, kappa=kappa, bins=bins, goal=goal, across=across, horizon=8)
    theirs = reference_htd.htd(steps, lam, kappa, bins, goal, across, 8, congruence.EVIDENCE)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


@given(tables())
def test_every_number_is_finite(steps: StepTable) -> None:
    assert np.all(np.isfinite(htd.assign(steps, normalise=True)))


@given(worlds())
def test_neither_names_of_groups_nor_of_states_nor_of_actions_matter(steps: StepTable) -> None:
    other = changed(
        steps,
        group=9 - steps.group,
        anchor=steps.anchor ^ 99,
        next_anchor=steps.next_anchor ^ 99,
        action=7 - steps.action,
    )
    np.testing.assert_allclose(htd.assign(other), htd.assign(steps), rtol=1e-6, atol=1e-8)


@given(worlds(), st.randoms())
def test_the_order_of_trajectories_does_not_matter(steps: StepTable, random: object) -> None:
    order = list(range(len(steps.starts)))
    random.shuffle(order)  # type: ignore[attr-defined]
    rows = np.concatenate([np.arange(steps.starts[k], steps.ends[k] + 1) for k in order])
    columns = {name: column[rows] for name, column in steps.columns().items()}
    columns["trajectory"] = np.repeat(np.arange(len(order)), steps.lengths[order])
    other = StepTable.from_columns(**columns, outcome=steps.outcome[order])
    np.testing.assert_allclose(htd.assign(other), htd.assign(steps)[rows], rtol=1e-6, atol=1e-8)


@given(worlds(), st.sampled_from([1e-3, 7.0]))
def test_the_unit_of_reward_is_the_goals(steps: StepTable, unit: float) -> None:
    scaled = htd.assign(steps, steps.reward * unit, goal=unit)
    np.testing.assert_allclose(scaled, htd.assign(steps) * unit, rtol=1e-6, atol=1e-7 * unit)


def drawn(slip: float, dilution: int, groups: int = 2) -> tuple[StepTable, np.ndarray]:
    mdp = slippery(corridor(8), slip) if slip else corridor(8)
    sample = draw(behaviour(mdp, 0.6, 20), np.random.default_rng(3), groups=groups, size=8, dilution=dilution)
    return sample.steps, sample.state


def test_a_nuisance_in_the_anchors_is_folded_away_where_the_world_rolls_no_dice() -> None:
    steps, state = drawn(0.0, 64)
    anchors, classes = len(np.unique(steps.anchor)), congruent(steps).own.code[::2]
    assert len(np.unique(classes)) < 0.5 * anchors
    for each in np.unique(classes):
        assert len(np.unique(state[classes == each])) == 1, "what is folded is one state"


def test_two_groups_of_one_task_share_their_states_and_strangers_do_not() -> None:
    steps, _ = drawn(0.0, 1)
    found = congruent(steps)
    assert found.linked.count == 1
    assert found.across.count < found.own.count
    apart = changed(steps, anchor=steps.anchor + steps.group, next_anchor=steps.next_anchor + steps.group)
    assert congruent(apart).linked.count == 2


def test_anchors_that_repeat_are_left_as_they_are() -> None:
    steps, state = drawn(0.3, 1)
    assert same_classes(congruent(steps).across.code[::2].tolist(), state.tolist())


def test_a_fold_that_refutes_itself_is_refused() -> None:
    # Without progress to tell them apart, slips fold the whole corridor into one state, which both ends and goes on.
    steps, _ = drawn(0.3, 16)
    blind = changed(steps, progress=np.zeros(len(steps)), progress_before=np.zeros(len(steps)))
    anchors = joint(partition(steps.group), steps.anchor).code
    assert same_classes(congruent(blind).own.code[::2].tolist(), anchors.tolist())


def test_branches_do_not_begin_where_episodes_begin() -> None:
    # Three rollouts, anchors all distinct; the third begins at time 2.
    steps = rollouts(
        [0.0], [0.0], [0.0], anchor=np.array([1, 2, 3]), next_anchor=np.array([4, 5, 6]), t=np.array([0, 0, 2])
    )
    own = congruent(changed(steps, action=np.array([0, 1, 1]), terminated=np.array([False, True, False]))).own.code[::2]
    assert own[2] not in (own[0], own[1])


def test_groups_that_do_not_share_states_differ_in_nothing_but_the_batch() -> None:
    steps, _ = drawn(0.0, 4)
    apart = htd.assign(steps, across=False)
    assert not np.allclose(apart, htd.assign(steps))


def test_an_environment_has_values_of_its_own() -> None:
    # The same record under two names of environments: what one earns says nothing of the other.
    steps = rollouts(
        ([0.0, 1.0], 0), ([0.0, 0.0], 1), anchor=np.array([1, 2, 3, 4]), next_anchor=np.array([2, 5, 4, 6])
    )
    named = steps.trajectories.columns() | {"env": np.array(["a", "b"], dtype=object)}
    table = type(steps.trajectories).from_columns(**named)
    other = StepTable.from_columns(**steps.columns(), trajectories=table)
    assert htd.state_values(other)[0][2] < htd.state_values(steps)[0][2]


def test_where_every_rollout_fails_states_seldom_seen_are_worth_more() -> None:
    cut = {"terminated": np.zeros(6, bool), "truncated": np.array([0, 1, 0, 1, 0, 1], bool)}
    steps = rollouts(
        [0.0, 0.0],
        [0.0, 0.0],
        [0.0, 0.0],
        anchor=np.array([1, 2, 1, 2, 1, 3]),
        next_anchor=np.array([2, 4, 2, 4, 3, 5]),
        **cut,
    )
    before, _ = htd.state_values(steps)
    assert before[5] >= before[1] > 0.0


def test_equal_actions_in_equal_states_are_credited_alike() -> None:
    steps, _ = drawn(0.3, 1)
    credit, kept = htd.assign(steps), htd.assign(steps, average=False)
    taken = joint(partition(steps.anchor), steps.action)
    np.testing.assert_allclose(credit, (taken.totals(kept) / taken.size)[taken.code])
    assert not np.allclose(credit, kept)


def test_a_huge_batch_is_credited_in_parts_of_whole_groups() -> None:
    steps, _ = drawn(0.0, 4, groups=5)
    whole = [steps[steps.group == g] for g in np.unique(steps.group)]
    in_parts = htd.assign(steps, block=int(max(len(part) for part in whole)), horizon=20)
    assert not np.allclose(in_parts, htd.assign(steps, horizon=20)), "nothing is pooled over two parts"
    assert np.all(np.isfinite(in_parts))
    one_each = htd.assign(steps, block=1, horizon=20)
    np.testing.assert_allclose(one_each, np.concatenate([htd.assign(part, horizon=20) for part in whole]))


def test_normalised_advantages_have_unit_root_mean_square() -> None:
    steps, _ = drawn(0.0, 4)
    assert np.mean(htd.assign(steps, normalise=True) ** 2) == pytest.approx(1.0)


def test_an_empty_table_has_no_advantages() -> None:
    assert htd.assign(StepTable.empty()).shape == (0,)


@pytest.mark.parametrize(
    "option", [{"kappa": 0.0}, {"lam": 1.1}, {"bins": 0}, {"goal": 0.0}, {"horizon": 0}, {"block": 0}]
)
def test_what_has_no_meaning_is_refused(option: dict) -> None:
    (name,) = option
    with pytest.raises(ValueError, match=f"'{name}'"):
        htd.assign(rollouts([1.0]), **option)


def test_rewards_must_be_finite() -> None:
    with pytest.raises(ValueError, match="'rewards' must be finite"):
        htd.assign(rollouts([1.0]), [np.nan])


def test_the_recipe_is_the_method() -> None:
    steps, _ = drawn(0.0, 4)
    np.testing.assert_allclose(recipe("htd").advantages(steps), htd.assign(steps))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), min_size=1))
def test_runs_and_dense_codes_are_joint_classes(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=np.int64).T
    expected = joint(partition(first), second).code.tolist()
    assert same_classes(joint_runs(partition(first), second).code.tolist(), expected)
    assert same_classes(dense(partition(first), second, 5).code.tolist(), expected)


def test_gtd_and_htd_share_the_fixed_point() -> None:
    """One level of HTD on anchors with the prior of GTD is GTD."""
    steps, _ = drawn(0.0, 1, groups=1)
    from agentgym.rewards.credit.group_graph import group_graph

    graph = group_graph(steps)
    prior = np.full(len(graph.block), steps.reward[steps.ends].mean())
    value = gtd.fixed_point(graph, steps, steps.reward, prior, 0.3, gtd.discount(steps, None))
    np.testing.assert_array_equal(value[graph.here], gtd.state_values(steps)[0])
