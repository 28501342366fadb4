"""Signals of worlds whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from agentgym.errors import UsageError
from agentgym.rewards.audit import (
    MDP,
    behaviour,
    disturbed,
    draw,
    named,
    needless_splits,
    robustness,
    signal_report,
)
from tests.toy import ARRAY_ID, CorridorTask, make, register_toys


@pytest.fixture(scope="module", autouse=True)
def toys() -> None:
    register_toys()


def test_a_corridor_tells_the_truth() -> None:
    report = signal_report(ARRAY_ID, seeds=(0, 1), kwargs={"slip": 0.0})
    assert (report.method, report.why) == ("exact", "")
    assert report.progress_distance.value > 0.9, "1 but for the cells behind the start, which all have progress 0"
    assert report.progress_success.value > 0.8
    assert report.danger["oracle"] == (0.0, 1.0)
    assert report.danger["offender:into_the_pit"] == (1.0, 0.0)
    assert report.collisions == 0.0
    assert report.splits == 0.0
    assert report.farming["outcome + level"]["cycle_gain"] > 0.0 == report.farming["outcome"]["cycle_gain"]


def test_a_random_world_is_estimated_and_says_why() -> None:
    report = signal_report(ARRAY_ID, seeds=(0,), kwargs={"slip": 0.3, "max_steps": 12})
    assert report.method == "monte-carlo"
    assert "random" in report.why
    assert report.progress_success.value > 0.4
    assert report.progress_distance.value > 0.6, "the oracle slips, too"
    assert np.isnan(report.splits)
    assert report.collisions > 0.0, "slips look like anchors that leave something out"
    assert report.farming == {}


class Forgetful(CorridorTask):
    """Its anchor tells odd cells from even ones and no more."""

    def anchor_view(self, state, ep):  # type: ignore[no-untyped-def]  # as its parent's
        return state.cell % 2


def test_anchors_that_confuse_states_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    import gymnasium

    monkeypatch.setitem(gymnasium.registry, "toy/Forgetful-v0", _spec())
    report = signal_report("toy/Forgetful-v0", seeds=(0,))
    assert "one anchor stands for two states" in report.why
    assert report.collisions > 0.2


def _spec():  # type: ignore[no-untyped-def]  # a gymnasium spec
    from gymnasium.envs.registration import EnvSpec

    return EnvSpec("toy/Forgetful-v0", entry_point=lambda **_: make("array", 0.0, task=Forgetful("array")))


def test_a_state_split_in_two_is_a_needless_split(hall: MDP) -> None:
    assert needless_splits(hall) == 0.0
    twice = np.concatenate([np.arange(5), np.arange(5)])
    doubled = replace(
        hall,
        allowed=hall.allowed[twice],
        target=np.concatenate([hall.target + 5, hall.target]),  # every step changes sides
        probability=hall.probability[twice],
        success=hall.success[twice],
        dead=hall.dead[twice],
        anchor=np.arange(10),
        progress=hall.progress[twice],
        milestones=hall.milestones[twice],
        danger=hall.danger[twice],
    )
    assert needless_splits(doubled) == 0.5


def test_labels_are_disturbed_at_the_rate_asked_for(hall: MDP) -> None:
    drawn = draw(behaviour(hall, 0.5, 10), np.random.default_rng(0), groups=100)
    wrong = disturbed(drawn.view, np.random.default_rng(1), flipped=0.2, spurious=0.1)
    flips = wrong.steps.outcome != drawn.steps.outcome
    assert flips.mean() == pytest.approx(0.2, abs=0.05)
    assert wrong.steps.danger.mean() == pytest.approx(0.1, abs=0.02)
    assert np.array_equal(np.add.reduceat(wrong.steps.reward, wrong.steps.starts), wrong.steps.outcome)
    assert not drawn.steps.danger.any(), "the original stays"
    same = disturbed(drawn.view, np.random.default_rng(1))
    assert np.array_equal(same.steps.reward, drawn.steps.reward)


def test_wrong_labels_hurt_those_who_read_them(hall: MDP) -> None:
    found = behaviour(hall, 0.5, 10)
    flipped = robustness(found, [named("rloo"), named("exact")], (0.0, 0.5), label="flipped")
    assert flipped["rloo"][0] > 0.3 > 0.1 > abs(flipped["rloo"][1])
    assert flipped["exact"][0] == flipped["exact"][1]
    spurious = robustness(found, [named("rloo"), named("rloo+danger")], (0.0, 0.2), label="spurious")
    assert spurious["rloo"][0] == spurious["rloo"][1]
    assert spurious["rloo+danger"][1] < spurious["rloo+danger"][0]


def test_shares_beyond_1_and_no_seeds_are_refused(hall: MDP) -> None:
    drawn = draw(behaviour(hall, 0.5, 10), np.random.default_rng(0), groups=1)
    with pytest.raises(UsageError, match="flipped must lie in"):
        disturbed(drawn.view, np.random.default_rng(0), flipped=1.5)
    with pytest.raises(UsageError, match="at least one task seed"):
        signal_report(ARRAY_ID, seeds=())
