"""The statistics keep their laws, agree with published figures, and cover what they claim to cover."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agentgym.agents.evaluate.stats import (
    Interval,
    bootstrap,
    difference_of_intervals,
    holm,
    iqm,
    mean,
    paired_bootstrap,
    sign_flip_test,
    wilson,
)
from agentgym.errors import UsageError

floats = st.floats(-1e6, 1e6)
samples = hnp.arrays(np.float64, st.integers(1, 30), elements=floats)


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# ---------------------------------------------------------------------- Wilson


def test_wilson_gives_the_published_figures() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 857-872), table I, method 3."""
    low, high = wilson([81, 15, 0, 1], [263, 148, 20, 29])
    np.testing.assert_allclose(low, [0.2553, 0.0624, 0.0000, 0.0061], atol=5e-5)
    np.testing.assert_allclose(high, [0.3662, 0.1605, 0.1611, 0.1718], atol=5e-5)


@given(n=st.integers(0, 500), data=st.data(), level=st.floats(0.5, 0.999))
def test_wilson_holds_the_estimate_and_mirrors(n: int, data: st.DataObject, level: float) -> None:
    k = data.draw(st.integers(0, n))
    low, high = wilson(k, n, level)
    assert 0 <= low <= high <= 1
    if n:
        assert low <= k / n <= high
    mirrored = wilson(n - k, n, level)
    np.testing.assert_allclose(mirrored, (1 - high, 1 - low), atol=1e-12)


def test_wilson_refuses_impossible_counts() -> None:
    with pytest.raises(UsageError, match="0 <= successes <= n"):
        wilson(3, 2)


# ---------------------------------------------------------------------- IQM


@given(samples)
def test_iqm_is_the_mean_of_the_middle(values: np.ndarray) -> None:
    cut = len(values) // 4
    middle = sorted(values.tolist())[cut : len(values) - cut]
    assert float(iqm(values)) == pytest.approx(sum(middle) / len(middle), abs=1e-6)


@given(hnp.arrays(np.float64, (3, 8), elements=floats))
def test_iqm_works_along_the_last_axis(values: np.ndarray) -> None:
    np.testing.assert_array_equal(iqm(values), [iqm(row) for row in values])


def test_one_wild_episode_does_not_move_the_iqm() -> None:
    assert iqm(np.array([0.4, 0.5, 0.6, 1e9])) == pytest.approx(0.55)


# ---------------------------------------------------------------------- bootstrap


@given(samples)
def test_an_interval_holds_its_estimate_and_stays_in_the_range(values: np.ndarray) -> None:
    for statistic in (mean, iqm):
        result = bootstrap(values, rng(), resamples=50, statistic=statistic)
        assert result.low <= result.value <= result.high
        slack = 1e-9 * max(1.0, np.abs(values).max())
        assert values.min() - slack <= result.low
        assert result.high <= values.max() + slack
        assert result.n == len(values)


@given(samples, st.floats(-100, 100), st.floats(0.1, 10))
def test_the_interval_moves_and_scales_with_the_values(values: np.ndarray, shift: float, scale: float) -> None:
    one = bootstrap(values, rng(), resamples=50)
    other = bootstrap(values * scale + shift, rng(), resamples=50)
    np.testing.assert_allclose(
        [other.low, other.high], np.array([one.low, one.high]) * scale + shift, rtol=1e-9, atol=1e-6
    )


def test_the_caller_s_generator_decides() -> None:
    values = np.random.default_rng(1).random(40)
    assert bootstrap(values, np.random.default_rng(3)) == bootstrap(values, np.random.default_rng(3))
    assert bootstrap(values, np.random.default_rng(3)) != bootstrap(values, np.random.default_rng(4))


def test_strata_take_the_difference_between_environments_out_of_the_interval() -> None:
    """Two environments, one always solved, one never: nothing here is random, whatever the seeds."""
    values = np.repeat([0.0, 1.0], 20)
    stratified = bootstrap(values, rng(), strata=np.repeat(["hard", "easy"], 20))
    assert (stratified.low, stratified.high) == (0.5, 0.5)
    assert bootstrap(values, rng()).high > 0.6


def test_the_order_of_rows_does_not_decide_the_strata() -> None:
    values, strata = np.tile([0.0, 1.0], 20), np.tile(["hard", "easy"], 20)
    assert bootstrap(values, rng(), strata=strata).high == 0.5


def test_many_values_are_resampled_in_blocks() -> None:
    """More numbers than one block holds give an interval as wide as theory says."""
    values = np.random.default_rng(0).normal(size=50_000)
    result = bootstrap(values, rng(), resamples=200)
    assert result.high - result.low == pytest.approx(2 * 1.96 / np.sqrt(50_000), rel=0.2)


@pytest.mark.slow
def test_coverage_is_near_the_level() -> None:
    """Of 400 intervals at 90 % for a skewed law, about 90 % hold the truth (such intervals run a little short)."""
    draws = np.random.default_rng(5).exponential(size=(400, 40))
    held = [bool(r.low <= 1.0 <= r.high) for r in (bootstrap(d, rng(), level=0.9, resamples=400) for d in draws)]
    assert 0.83 <= np.mean(held) <= 0.95


def test_nothing_measured_is_nan_and_nan_is_refused() -> None:
    nothing = bootstrap([], rng())
    assert nothing.n == 0
    assert np.isnan([nothing.value, nothing.low, nothing.high]).all()
    with pytest.raises(UsageError, match="without NaN"):
        bootstrap([1.0, np.nan], rng())
    with pytest.raises(UsageError, match="strata must label"):
        bootstrap([1.0, 2.0], rng(), strata=["a"])


# ---------------------------------------------------------------------- pairs


@given(samples)
def test_a_run_does_not_differ_from_itself(values: np.ndarray) -> None:
    result = paired_bootstrap(values, values, rng(), resamples=50)
    assert (result.value, result.low, result.high) == (0, 0, 0)
    assert sign_flip_test(values - values, rng()) == 1.0


def test_pairing_removes_what_the_seeds_share() -> None:
    """Seeds differ far more than the runs do; only the paired interval sees the runs."""
    noise = np.random.default_rng(0)
    hardness = noise.normal(scale=10, size=50)
    a, b = hardness, hardness + 0.5 + noise.normal(scale=0.1, size=50)
    paired = paired_bootstrap(a, b, rng())
    assert 0.4 < paired.low < paired.high < 0.6
    unpaired = difference_of_intervals(bootstrap(a, rng()), bootstrap(b, rng()))
    assert unpaired.low < 0 < unpaired.high


def test_pairs_have_one_length() -> None:
    with pytest.raises(UsageError, match="one length"):
        paired_bootstrap([1.0], [1.0, 2.0], rng())


def test_sign_flips_are_exact_for_few_pairs() -> None:
    """Five differences of one sign: 2 of 32 sign patterns lie as far out."""
    assert sign_flip_test([1, 2, 3, 4, 5], rng()) == pytest.approx(2 / 32)
    assert sign_flip_test([1, -1], rng()) == 1.0


@given(hnp.arrays(np.float64, 6, elements=st.floats(-10, 10)))
def test_monte_carlo_agrees_with_the_exact_test(differences: np.ndarray) -> None:
    """Six differences have 64 sign patterns: enumerated when that many are allowed, drawn when one fewer is."""
    exact = sign_flip_test(differences, rng(), resamples=2**6)
    drawn = sign_flip_test(differences, rng(), resamples=2**6 - 1)
    assert drawn == pytest.approx(exact, abs=0.3)


def test_the_test_is_valid_under_the_null() -> None:
    """p-values of pure noise fall under 0.1 about one time in ten."""
    noise = np.random.default_rng(2).normal(size=(500, 8))
    p = np.array([sign_flip_test(d, rng()) for d in noise])
    assert 0.06 < np.mean(p <= 0.1) < 0.14


# ---------------------------------------------------------------------- Holm and differences


def test_holm_by_hand() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03, 0.005]), [0.03, 0.06, 0.06, 0.02])


@given(hnp.arrays(np.float64, st.integers(0, 12), elements=st.floats(0, 1)))
def test_holm_only_raises_and_keeps_the_order(p: np.ndarray) -> None:
    q = holm(p)
    assert np.all(q >= p)
    assert np.all(q <= np.minimum(1, p * max(1, len(p))) + 1e-15)
    assert np.all(np.diff(q[np.argsort(p, kind="stable")]) >= 0)


@pytest.mark.parametrize("bad", [[1.5], [-0.1], [float("nan")]])
def test_holm_refuses_what_is_no_probability(bad: list[float]) -> None:
    with pytest.raises(UsageError, match=r"in \[0, 1\]"):
        holm(bad)


def test_difference_of_wilson_intervals_is_newcombes() -> None:
    """Newcombe 1998 (Statistics in Medicine 17, 873-890), table II, case (a), method 10: 56/70 - 48/80."""

    def share(k: int, n: int) -> Interval:
        low, high = wilson(k, n)
        return Interval(k / n, float(low), float(high), n, "wilson")

    result = difference_of_intervals(share(48, 80), share(56, 70))
    assert (round(result.value, 4), round(result.low, 4), round(result.high, 4)) == (0.2, 0.0524, 0.3339)
