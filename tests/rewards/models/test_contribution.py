"""SPA's estimator: contributions that sum to a prediction of the outcome, from arrays and from texts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agentgym.errors import ModelFolderError
from agentgym.rewards import recipe
from agentgym.rewards.models.contribution import ContributionEstimator, LinearContribution
from agentgym.steps import StepTable
from tests.rewards.credit.tables import full_table
from tests.rewards.models.played import opening


def gain(steps: StepTable) -> np.ndarray:
    return steps.progress - steps.progress_before


def within(steps: StepTable, values: np.ndarray) -> np.ndarray:
    """Deviations from the trajectory's mean."""
    return values - (np.add.reduceat(values, steps.starts) / steps.lengths)[steps.segment]


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1])


def shuffled(steps: StepTable, seed: int) -> StepTable:
    """The same rollouts with one another's outcomes."""
    mixed = np.random.default_rng(seed).permutation(steps.trajectories.outcome)
    return replace(steps, trajectories=replace(steps.trajectories, outcome=mixed))


def test_from_texts_it_tells_outcomes_and_progress_of_layouts_it_never_saw(seen: StepTable, unseen: StepTable) -> None:
    """Openings of one length: neither the length nor the end of an episode gives the outcome away."""
    taught, held_out = opening(seen, 8), opening(unseen, 8)
    model = ContributionEstimator(seed=1, buckets=512).fit(taught, epochs=20)
    control = ContributionEstimator(seed=1, buckets=512).fit(shuffled(taught, 1), epochs=20)
    assert correlation(model.predict(held_out), held_out.outcome) > 0.45
    assert abs(correlation(control.predict(held_out), held_out.outcome)) < 0.25
    assert correlation(model.contributions(held_out), gain(held_out)) > 0.1
    assert abs(correlation(control.contributions(held_out), gain(held_out))) < 0.1


def test_from_arrays_its_contributions_follow_progress_step_by_step(seen: StepTable, unseen: StepTable) -> None:
    """Three features, one of which is the progress of the step; compared inside each trajectory."""
    rng = np.random.default_rng(0)

    def with_features(steps: StepTable) -> StepTable:
        noise = rng.normal(size=(len(steps), 2))
        return opening(steps.with_extra(features=np.column_stack([gain(steps), noise])), 8)

    taught, held_out = with_features(seen), with_features(unseen)
    for model in (
        ContributionEstimator("features", seed=0).fit(taught, epochs=20),
        LinearContribution.fit(taught),
    ):
        values = model.contributions(held_out)
        assert correlation(within(held_out, values), within(held_out, gain(held_out))) > 0.6


def test_saved_and_loaded_it_says_the_same(tmp_path: Path) -> None:
    steps = full_table()
    for model in (
        ContributionEstimator(["features", "progress"], seed=3).fit(steps, epochs=2),
        LinearContribution.fit(steps),
    ):
        model.save(tmp_path / "spa.npz")
        again = type(model).load(tmp_path / "spa.npz")
        np.testing.assert_array_equal(again.contributions(steps), model.contributions(steps))
    with pytest.raises(ModelFolderError, match="expected a ContributionEstimator"):
        ContributionEstimator.load(tmp_path / "spa.npz")


def test_going_on_from_a_state_equals_never_having_stopped() -> None:
    steps = full_table(groups=8)
    whole = ContributionEstimator("features").fit(steps, epochs=3).fit(steps, epochs=2)
    half = ContributionEstimator("features").fit(steps, epochs=3)
    other = ContributionEstimator("features")
    other.load_state_dict(half.state_dict())
    other.fit(steps, epochs=2)
    np.testing.assert_array_equal(other.contributions(steps), whole.contributions(steps))


def test_what_it_gives_is_what_the_recipe_reads() -> None:
    steps = full_table()
    values = ContributionEstimator("features").fit(steps, epochs=1).contributions(steps)
    assert np.isfinite(recipe("spa").advantages(steps.with_extra(contribution=values))).all()


def test_bad_input_is_named() -> None:
    steps = full_table()
    with pytest.raises(ValueError, match=r"not fitted; call fit\(steps\) or load\(path\) first"):
        ContributionEstimator("features").contributions(steps)
    with pytest.raises(ValueError, match="extra column 'text'"):
        ContributionEstimator().fit(replace(steps, extras={}))
    with pytest.raises(ValueError, match="without steps"):
        ContributionEstimator("features").fit(StepTable.empty())
    fitted = ContributionEstimator("features").fit(steps, epochs=1)
    with pytest.raises(ValueError, match=r"'features' must be finite .* row 0"):
        fitted.contributions(steps.with_extra(features=np.full((len(steps), 4), np.nan)))
    with pytest.raises(ValueError, match="'features' must be 4 numeric features"):
        fitted.contributions(steps.with_extra(features=np.zeros((len(steps), 5))))
    bad = replace(steps, trajectories=replace(steps.trajectories, outcome=steps.trajectories.outcome + np.nan))
    with pytest.raises(ValueError, match="'outcome' must be finite"):
        fitted.fit(bad)
