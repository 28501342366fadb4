"""The study: known assigners get the figures they must have."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards.audit import (
    BASELINES,
    MDP,
    STANDARD,
    CreditStudy,
    Setting,
    World,
    behaviour,
    dilution_and_progress,
    draw,
    named,
    study,
)
from agentgym.rewards.audit.assigners import Measured
from agentgym.rewards.credit import rloo
from agentgym.steps import StepTable

ZERO = Measured("zero", lambda view: np.zeros(len(view.steps)), False)
WRONG = Measured("wrong", lambda view: -view.advantage, False)


def settings_of(*mdps: MDP, rates: tuple[float, ...] = (0.3, 0.6)) -> list[Setting]:
    worlds = [World(mdp.name, lambda mdp=mdp: mdp) for mdp in mdps]  # type: ignore[misc]  # a default binds the loop's
    return [Setting(world, rate) for world in worlds for rate in rates]


@pytest.fixture(scope="module")
def found(hall: MDP, trap: MDP) -> CreditStudy:
    assigners = [named("exact"), named("rloo"), named("gtd"), named("gigpo"), ZERO, WRONG]
    return study(settings_of(hall, trap), assigners, batches=4, alone=1)


def test_the_true_advantage_is_the_ceiling(found: CreditStudy) -> None:
    assert found.ranking()[0] == "exact"
    assert found.mean("exact", "cos@16").value > 0.97
    assert found.mean("exact", "spearman").value == pytest.approx(1)
    assert found.mean("exact", "sign").value == pytest.approx(1)
    assert found.mean("exact", "slope").value == pytest.approx(1)


def test_no_estimate_has_cosine_0_and_the_opposite_is_punished(found: CreditStudy) -> None:
    assert found.mean("zero", "cos@1").value == 0.0
    assert found.mean("zero", "sign").value == 0.5
    assert found.mean("wrong", "cos@1").value == pytest.approx(-found.mean("exact", "cos@1").value)
    assert found.multiplier("zero") == 0.0


def test_rloo_is_worth_its_own_rollouts(found: CreditStudy) -> None:
    assert found.multiplier("rloo") == pytest.approx(1.0)
    assert found.multiplier("exact") > 2.0


def test_alone_and_mixed_change_nothing_for_those_who_look_at_their_own_group(hall: MDP, trap: MDP) -> None:
    found = study(settings_of(hall, trap), [named("gigpo"), named("gtdp")], batches=1, alone=1)
    cos, alone, mixed = (found.figures[f] for f in ("cos@1", "alone", "mixed"))
    assert alone[0] == pytest.approx(cos[0])
    assert mixed[0] == pytest.approx(cos[0])
    assert not np.allclose(alone[1], cos[1]), "GTDP pools its prior over the batch"


def test_the_same_seed_gives_the_same_table(hall: MDP) -> None:
    runs = [study(settings_of(hall), [named("gtdp"), named("gigpo")], batches=2, seed=5) for _ in range(2)]
    for figure in runs[0].figures:
        if figure != "us/row":
            assert np.array_equal(runs[0].figures[figure], runs[1].figures[figure], equal_nan=True)


def test_contrasts_and_kinds_tell_settings_apart(hall: MDP) -> None:
    world = World("hall", lambda: hall)
    grid = dilution_and_progress([world], rates=[0.6], dilutions=[1, 16], progress=["exact", "reversed"])
    found = study(grid, [named("gtdp"), named("progress-gae"), named("rloo")], batches=1)
    kinds = {row["kind"]: row for row in found.by_kind()}
    assert list(kinds) == ["x1 exact", "x1 reversed", "x16 exact", "x16 reversed"]
    assert kinds["x1 exact"]["progress-gae"] > 0 > kinds["x1 reversed"]["progress-gae"]
    contrasts = found.contrasts()
    assert {(c["a"], c["b"]) for c in contrasts} == {("gtdp", "progress-gae")}
    overall = next(c for c in contrasts if c["kind"] == "all" and c["figure"] == "cos@1")
    assert overall["difference"] == pytest.approx(
        np.mean([row["gtdp"] - row["progress-gae"] for row in kinds.values()])
    )


def test_margins_are_against_the_best_rival_of_every_kind(hall: MDP) -> None:
    grid = dilution_and_progress([World("hall", lambda: hall)], dilutions=[1, 16], progress=["exact", "reversed"])
    names = ("htd", "gtd", "progress-gae", "rloo")
    found = study(grid, [named(name) for name in names], batches=1)
    margins = [row for row in found.margins("htd", ("gtd", "progress-gae", "gtdp")) if row["figure"] == "cos@1"]
    assert [row["kind"] for row in margins] == ["all", "x1 exact", "x1 reversed", "x16 exact", "x16 reversed"]
    kinds = {row["kind"]: row for row in found.by_kind()}
    for row in margins[1:]:
        best = max(("gtd", "progress-gae"), key=lambda name, kind=row["kind"]: kinds[kind][name])  # type: ignore[misc]
        assert row["best"] == best, "GTDP was not measured, RLOO is no rival"
        assert row["difference"] == pytest.approx(kinds[row["kind"]]["htd"] - kinds[row["kind"]][best])
        assert row["low"] <= row["difference"] <= row["high"]
    assert found.margins("htd", ()) == []


def test_every_standard_name_and_baseline_gives_finite_numbers(hall: MDP) -> None:
    study(settings_of(hall, rates=(0.3,)), [named(n) for n in dict.fromkeys((*STANDARD, *BASELINES))], batches=1)


def test_an_assigner_is_named_by_method_recipe_or_path(hall: MDP) -> None:
    drawn = draw(behaviour(hall, 0.5, 8), np.random.default_rng(0), groups=2)
    expected = rloo.assign(drawn.steps)
    assert np.array_equal(named("rloo").assign(drawn.view), expected)
    assert np.array_equal(named("agentgym.rewards.credit.rloo:assign").assign(drawn.view), expected)
    assert np.allclose(named("gigpo(gamma=1.0, normalise='mean')").assign(drawn.view), _gigpo(drawn.steps))
    assert named("gigpo+progress").reads_progress
    assert named("gtd(prior='calibrated')").reads_progress
    assert named("htd").reads_progress
    assert not named("gtd").reads_progress


def _gigpo(steps: StepTable) -> np.ndarray:
    from agentgym.rewards.credit import gigpo

    return gigpo.assign(steps, gamma=1.0, normalise="mean")


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("gigop", "did you mean 'gigpo'"),
        ("gigpo(gama=1)", "did you mean 'gamma'"),
        ("gigpo(1)", "expected NAME or NAME"),
        ("gigpo(gamma=", "expected NAME or NAME"),
        ("no_such_module:assign", "cannot import"),
        ("math:pi", "expected a function"),
    ],
)
def test_a_bad_name_is_refused_with_advice(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        named(name)


def test_unknown_names_are_a_kind_of_their_own() -> None:
    with pytest.raises(UnknownName):
        named("nothing-like-it")


def test_an_assigner_that_answers_with_nonsense_is_named(hall: MDP) -> None:
    short = Measured("short", lambda view: np.zeros(3), False)
    nan = Measured("nan", lambda view: np.full(len(view.steps), np.nan), False)
    for measured in (short, nan):
        with pytest.raises(UsageError, match=f"'{measured.name}' must give one finite number per step"):
            study(settings_of(hall), [measured], batches=1, alone=1)


def test_an_assigner_that_lacks_a_column_says_which(hall: MDP) -> None:
    with pytest.raises(UsageError, match=r"'prime' cannot be measured.*logprob_model"):
        study(settings_of(hall), [named("prime")], batches=1)
