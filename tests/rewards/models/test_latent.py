"""LaRe: an additive reward is found again from the sums of whole episodes."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agentgym.rewards.models.latent import LatentReward, factor_columns, redistribution_loss
from agentgym.steps import StepTable
from tests.rewards.credit.tables import full_table, rollouts


def additive(seed: int, trajectories: int = 200, length: int = 12) -> tuple[StepTable, np.ndarray]:
    """Episodes of many lengths whose outcome is the sum of a step reward that depends on two of three factors."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(3, length + 1, size=trajectories)
    z = rng.normal(size=(int(lengths.sum()), 3))
    true = 0.5 * z[:, 0] - 0.25 * np.abs(z[:, 1])
    steps = StepTable.from_columns(trajectory=np.repeat(np.arange(trajectories), lengths))
    outcome = np.add.reduceat(true, steps.starts)
    steps = replace(steps, trajectories=replace(steps.trajectories, outcome=outcome))
    return steps.with_extra(a=z[:, 0], b=z[:, 1], c=z[:, 2]), true


@pytest.mark.parametrize(("sample", "correction"), [(None, False), (6, False), (6, True)])
def test_the_step_reward_is_found_from_returns_alone(sample: int | None, correction: bool) -> None:
    taught, _ = additive(1)
    fresh, true = additive(2)
    model = LatentReward(
        ["a", "b", "c"], widths=(64, 64), sample=sample, variance_correction=correction, lr=1e-3, seed=0
    )
    found = model.fit(taught, updates=400, batch=64).rewards(fresh)
    assert np.corrcoef(found, true)[0, 1] > 0.9


def test_in_expectation_the_corrected_loss_of_samples_is_that_of_all_steps() -> None:
    """Every sample of K out of T steps, averaged: exact, not by chance."""
    rng = np.random.default_rng(0)
    r, outcome, one = rng.normal(size=6), np.array([1.3]), np.array([6])
    whole = redistribution_loss(torch.from_numpy(r), one, one, outcome, variance_correction=False)
    for k in (2, 3, 5):
        losses = {
            correct: np.mean(
                [
                    float(
                        redistribution_loss(
                            torch.from_numpy(r[list(rows)]), np.array([k]), one, outcome, variance_correction=correct
                        )
                    )
                    for rows in itertools.combinations(range(6), k)
                ]
            )
            for correct in (True, False)
        }
        np.testing.assert_allclose(losses[True], float(whole), rtol=1e-12)
        excess = (1.0 - k / 6) * r.var(ddof=1) / k
        np.testing.assert_allclose(losses[False], float(whole) + excess, rtol=1e-12)


def test_the_paper_s_decoder_is_the_default() -> None:
    model = LatentReward("progress").fit(full_table(), updates=1)
    shapes = [tuple(p.shape) for p in model._fitted()[1].module.parameters() if p.ndim == 2]
    assert shapes == [(256, 1), (256, 256), (256, 256), (1, 256)]
    assert model.lr == 3e-4


def test_a_function_of_state_and_action_gives_the_factors() -> None:
    steps = rollouts([0.0, 0.0], [0.0]).with_extra(
        text=np.array(["key 3 steps", "key 2 steps", "door 1 steps"], dtype=object),
        action_text=np.array(["forward", "left", "forward"], dtype=object),
    )
    factors = factor_columns(
        steps, lambda state, action: {"distance": int(state.split()[1]), "moves": action == "forward"}
    )
    assert {k: v.tolist() for k, v in factors.items()} == {"distance": [3.0, 2.0, 1.0], "moves": [1.0, 0.0, 1.0]}
    assert LatentReward(list(factors)).fit(steps.with_extra(**factors), updates=1).rewards(
        steps.with_extra(**factors)
    ).shape == (3,)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, a: {"x": float("nan")}, "factor 'x' must be a finite number, row 0 is nan"),
        (lambda s, a: {"x": "1"}, "row 0 is '1'"),
        (lambda s, a: {"x": 1.0} if a == "a" else {"y": 1.0}, r"same names for every step, row 1 has \['y'\]"),
        (lambda s, a: [1.0], "must return a mapping name -> number, row 0"),
    ],
)
def test_a_factor_function_that_fails_is_named_by_row(function, message) -> None:
    steps = rollouts([0.0, 0.0]).with_extra(
        text=np.array(["s", "s"], dtype=object), action_text=np.array(["a", "b"], dtype=object)
    )
    with pytest.raises(ValueError, match=message):
        factor_columns(steps, function)


def test_saved_and_loaded_it_says_the_same_and_goes_on(tmp_path: Path) -> None:
    steps, _ = additive(3, trajectories=20)
    model = LatentReward(["a", "b"], widths=(8,), sample=3).fit(steps, updates=5)
    model.save(tmp_path / "lare.npz")
    np.testing.assert_array_equal(LatentReward.load(tmp_path / "lare.npz").rewards(steps), model.rewards(steps))
    other = LatentReward(["a", "b"], widths=(8,), sample=3)
    other.load_state_dict(model.state_dict())
    np.testing.assert_array_equal(
        other.fit(steps, updates=3).rewards(steps), model.fit(steps, updates=3).rewards(steps)
    )


def test_bad_input_is_named() -> None:
    with pytest.raises(ValueError, match="not fitted"):
        LatentReward("progress").rewards(full_table())
    with pytest.raises(ValueError, match="extra column 'factor'"):
        LatentReward("factor").fit(full_table())
    with pytest.raises(ValueError, match="'sample' must lie in"):
        LatentReward("progress", sample=1, variance_correction=True)
    with pytest.raises(ValueError, match="without steps"):
        LatentReward("progress").fit(StepTable.empty())
