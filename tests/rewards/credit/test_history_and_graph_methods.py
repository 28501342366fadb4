"""HGPO, GTD and GTDP against plain Python, and the exact solver under them against dense algebra."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agentgym.rewards.credit import affine, gigpo, gtd, gtdp, hgpo
from agentgym.rewards.credit.groups import joint, partition
from agentgym.steps import StepTable
from tests.rewards.credit import reference
from tests.rewards.credit.tables import rollouts, tables

NORMALISE = st.sampled_from(["mean", "mean_std"])


@given(
    tables(max_length=6),
    st.integers(0, 3),
    st.sampled_from([0.0, 1.0, 2.0]),
    st.sampled_from(["paper", "code"]),
    NORMALISE,
)
def test_hgpo(steps: StepTable, history: int, alpha: float, weights: str, normalise: str) -> None:
    ours = hgpo.assign(steps, history=history, alpha=alpha, weights=weights, normalise=normalise)
    theirs = reference.hgpo(steps, history, alpha, weights, normalise, 0.95)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6)


@given(tables())
def test_hgpo_without_history_is_gigpos_step_part(steps: StepTable) -> None:
    ours = hgpo.assign(steps, history=0, normalise="mean")
    np.testing.assert_allclose(ours, gigpo.step_part(steps, normalise="mean"), rtol=1e-5, atol=1e-9)


def test_hgpo_weighs_the_level_with_more_shared_history_more() -> None:
    # Both rollouts reach state 2, but only the third row's twin came the same way.
    steps = rollouts([0.0, 1.0], [0.0, 0.0], [0.0, 0.5], anchor=np.array([1, 2, 1, 2, 3, 2]))
    near, far = 1.0 - 0.5, 1.0 - 0.5  # level 1: mean 0.5; level 2: rows 1 and 3, mean 0.5
    ours = hgpo.assign(steps, history=1, normalise="mean", gamma=1.0)
    assert ours[1] == pytest.approx((1 * near + 2 * far) / 3, abs=1e-5)
    assert ours[5] == pytest.approx(0.0)


@settings(max_examples=50)
@given(
    tables(max_length=6),
    st.sampled_from(["mean", "calibrated", "progress"]),
    st.sampled_from([0.0, 0.5, 1.0]),
    st.data(),
)
def test_gtd(steps: StepTable, prior: str, lam: float, data: st.DataObject) -> None:
    steps = with_progress_of_state(steps)
    kappa, horizon = data.draw(st.sampled_from([0.3, 1.0])), data.draw(st.sampled_from([2, 10]))
    ours = gtd.assign(steps, prior=prior, lam=lam, kappa=kappa, prior_count=1.0, bins=10, horizon=horizon)
    theirs = reference.gtd(steps, prior, lam, kappa, 1.0, 10, horizon)
    np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-8)


def with_progress_of_state(steps: StepTable) -> StepTable:
    """Progress is a function of the state."""
    columns = {
        **steps.columns(),
        "progress_before": abs(steps.anchor % 7) / 6,
        "progress": abs(steps.next_anchor % 7) / 6,
    }
    return StepTable.from_columns(**columns, outcome=steps.outcome)


def test_gtdp_is_gtd_with_the_calibrated_prior() -> None:
    steps = rollouts([0.0, 1.0], [0.0], progress_before=np.array([0.0, 0.5, 0.0]), progress=np.array([0.5, 1.0, 0.0]))
    np.testing.assert_array_equal(gtdp.assign(steps), gtd.assign(steps, prior="calibrated"))


def test_where_a_time_out_leads_says_nothing_of_value() -> None:
    cut = {"terminated": np.array([False, True, False]), "truncated": np.array([False, False, True])}
    steps = rollouts([0.0, 1.0], [0.0], anchor=np.array([1, 2, 1]), next_anchor=np.array([2, 3, 4]), **cut)
    before, _ = gtd.state_values(steps)
    died, _ = gtd.state_values(relabelled(steps, terminated=np.array([False, True, True]), truncated=np.zeros(3, bool)))
    assert died[0] < before[0]


def test_normalised_advantages_have_unit_root_mean_square() -> None:
    steps = rollouts(
        [0.0, 1.0], [0.0, 0.0], next_anchor=np.array([1, 2, 3, 4]), terminated=np.array([0, 1, 0, 1], bool)
    )
    assert np.mean(gtd.assign(steps, normalise=True) ** 2) == pytest.approx(1.0)


@pytest.mark.parametrize("assign", [hgpo.assign, gtd.assign, gtdp.assign])
@given(steps=tables())
def test_neither_names_of_groups_nor_of_states_matter(assign, steps: StepTable) -> None:
    steps = with_progress_of_state(steps)
    other = relabelled(steps, group=9 - steps.group, anchor=steps.anchor ^ 99, next_anchor=steps.next_anchor ^ 99)
    np.testing.assert_allclose(assign(other), assign(steps), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("assign", [hgpo.assign, gtd.assign, gtdp.assign])
def test_an_empty_table_has_no_advantages(assign) -> None:
    assert assign(StepTable.empty()).shape == (0,)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kappa": 0.0}, r"'kappa' must lie in \(0, inf\)"),
        ({"horizon": 0}, "'horizon'"),
        ({"prior": "none"}, "'prior' must be one of"),
    ],
)
def test_gtd_refuses_what_has_no_meaning(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        gtd.assign(rollouts([1.0]), **options)


@st.composite
def systems(draw: st.DrawFn) -> tuple[np.ndarray, ...]:
    """Block, source, target, weight, constant: several blocks of random graphs, with chains, cycles and self-loops."""
    sizes = draw(st.lists(st.integers(1, 7), min_size=1, max_size=4))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    block = np.repeat(np.arange(len(sizes)), sizes)
    pairs = [
        (x, y)
        for b, (low, size) in enumerate(zip(np.cumsum([0, *sizes[:-1]]), sizes, strict=True))
        for x in range(low, low + size)
        for y in rng.choice(np.arange(low, low + size), size=rng.integers(0, min(4, size) + 1), replace=False)
        if b >= 0
    ]
    source, target = np.array(pairs, dtype=np.int64).reshape(-1, 2).T
    weight = rng.random(len(source))
    weight *= (
        rng.choice([0.5, 0.999], len(block))[source] / np.maximum(np.bincount(source, weight, len(block)), 1e-9)[source]
    )
    return block, source, target, weight, rng.normal(size=len(block))


@given(systems())
def test_the_solver_equals_dense_algebra(system: tuple[np.ndarray, ...]) -> None:
    block, source, target, weight, constant = system
    matrix = np.eye(len(block))
    matrix[source, target] -= weight
    np.testing.assert_allclose(affine.solve(*system), np.linalg.solve(matrix, constant), rtol=1e-8, atol=1e-9)


@given(systems())
def test_huge_blocks_are_iterated_to_the_same_values(system: tuple[np.ndarray, ...]) -> None:
    dense = affine.solve(*system)
    largest, affine._LARGEST_DENSE = affine._LARGEST_DENSE, 1
    try:
        np.testing.assert_allclose(affine.solve(*system), dense, rtol=1e-8, atol=1e-9)
    finally:
        affine._LARGEST_DENSE = largest


@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 3)), min_size=1))
def test_joint_classes_are_equal_pairs(pairs: list[tuple[int, int]]) -> None:
    first, second = np.array(pairs, dtype=np.int64).T
    code = joint(partition(first), second).code
    for i, a in enumerate(pairs):
        for j, b in enumerate(pairs):
            assert (code[i] == code[j]) == (a == b)


def test_a_collision_of_the_hash_is_found_and_resolved() -> None:
    odd = -7046029254386353131 % 2**64
    inverse = pow(odd, -1, 2**64)
    colliding = np.array([h * inverse % 2**64 for h in (4, 5, 4)], dtype=np.uint64).view(np.int64)
    assert joint(partition(np.zeros(3, dtype=np.int64)), colliding).count == 2


def relabelled(steps: StepTable, **columns: np.ndarray) -> StepTable:
    return StepTable.from_columns(**{**steps.columns(), **columns}, outcome=steps.outcome)
