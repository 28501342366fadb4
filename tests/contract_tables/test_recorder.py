"""Recorder: what environments said, as columns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentgym.recorder import Recorder
from tests.toy import make

RECORD = {"milestones": 0, "progress": 0.0, "danger": False, "grounded": True, "anchor": 1}
INFO = {"process": RECORD, "success": False}


def play(
    recorder: Recorder, trajectory: int, actions: list[str], *, seed: int = 0, **begin: Any
) -> list[dict[str, Any]]:
    """Walk the corridor through a real environment; returns the infos, reset's first."""
    env = make(slip=0.0)
    _, info = env.reset(seed=seed)
    infos = [info]
    recorder.begin(
        trajectory, info, env="toy", seed=seed, horizon=env.horizon, group=4, event_codes=env.task.event_codes, **begin
    )
    for action in actions:
        _, reward, terminated, truncated, info = env.step(action)
        recorder.step(trajectory, action, float(reward), terminated, truncated, info, duration=0.5)
        infos.append(info)
        if terminated:
            break
    return infos


def test_columns_are_what_the_environment_said() -> None:
    recorder = Recorder()
    infos = play(recorder, 3, ["left", "left", "sing", *["right"] * 8])
    recorder.finish(3, hidden_performance=-1.0)
    table = recorder.take()
    records = [info["process"] for info in infos]
    n = len(table)
    assert table.t.tolist() == list(range(n))
    for name in ("milestones", "progress"):
        assert table.columns()[f"{name}_before"].tolist() == [r[name] for r in records[:n]]
        assert table.columns()[name].tolist() == [r[name] for r in records[1 : n + 1]]
    assert table.anchor.tolist() == [r["anchor"] for r in records[:n]]
    assert table.next_anchor.tolist() == [r["anchor"] for r in records[1 : n + 1]]
    assert table.danger.tolist() == [r["danger"] for r in records[1 : n + 1]]
    assert table.danger.any()
    assert table.grounded.tolist() == [k != 2 for k in range(n)]
    assert set(table.duration) == {0.5}
    assert set(table.group) == {4}
    assert table.action[3:].tolist() == [table.action[3]] * (n - 3)
    heads = table.trajectories
    assert (heads.env[0], heads.task[0], heads.seed[0], heads.horizon[0]) == ("toy", "corridor", 0, 40)
    assert (heads.hidden_performance[0], heads.status[0], heads.error[0]) == (-1.0, "ok", "")


def test_events_are_bits_in_the_order_of_the_codes() -> None:
    recorder = Recorder()
    recorder.begin(0, INFO, env="e", seed=0, horizon=1, group=0, event_codes=("a", "b", "c"))
    recorder.step(0, 0, 0.0, False, True, {**INFO, "events": ("c", "unheard of", "a", "c")})
    recorder.finish(0)
    assert recorder.take().events.tolist() == [0b101]


def test_the_outcome_is_the_sum_of_rewards_or_what_is_given() -> None:
    recorder = Recorder()
    play(recorder, 0, ["right"] * 8)
    recorder.finish(0)
    play(recorder, 1, ["right"])
    recorder.finish(1, outcome=0.25)
    heads = recorder.take().trajectories
    assert heads.outcome.tolist() == [1.0, 0.25]
    assert heads.success.tolist() == [True, False]


def test_episodes_come_out_sorted_and_open_ones_stay() -> None:
    recorder = Recorder()
    for trajectory in (7, 2, 5):
        play(recorder, trajectory, ["right"])
    recorder.finish(7)
    recorder.finish(2)
    assert recorder.finished == 2
    assert recorder.take().trajectory.tolist() == [2, 7]
    assert recorder.finished == 0
    assert len(recorder.take().trajectories) == 0
    recorder.finish(5)
    assert recorder.take().trajectory.tolist() == [5]


def test_a_broken_world_keeps_its_steps_but_earns_nothing() -> None:
    recorder = Recorder()
    play(recorder, 0, ["right"] * 8)
    recorder.fail(0, "gone")
    recorder.fail(1, "never there", head={"env": "toy", "seed": 9})
    table = recorder.take()
    assert table.trajectory.tolist() == [0] * len(table)
    heads = table.trajectories
    assert heads.status.tolist() == ["error", "error"]
    assert heads.error.tolist() == ["gone", "never there"]
    assert heads.outcome.tolist() == [0.0, 0.0]
    assert heads.success.tolist() == [False, False]
    assert heads.seed.tolist() == [0, 9]
    assert np.isnan(heads.hidden_performance).all()


def test_a_discarded_episode_may_begin_again() -> None:
    recorder = Recorder()
    play(recorder, 0, ["left"])
    recorder.discard(0)
    recorder.discard(12)
    play(recorder, 0, ["right", "right"])
    recorder.finish(0)
    assert len(recorder.take()) == 2


def test_branches_continue_the_time_of_their_parent() -> None:
    recorder = Recorder()
    play(recorder, 0, ["right"] * 3)
    play(recorder, 1, ["right"] * 2, parent=0, parent_t=1)
    recorder.finish(0)
    recorder.finish(1)
    table = recorder.take()
    assert table.t.tolist() == [0, 1, 2, 2, 3]
    assert table.lineage(1).tolist() == [0, 1, 3, 4]


def test_extras_are_floats_or_objects_with_gaps() -> None:
    recorder = Recorder()
    for trajectory in (0, 1):
        recorder.begin(trajectory, INFO, env="e", seed=0, horizon=2, group=0)
    recorder.step(0, 0, 0.0, False, False, INFO)
    recorder.step(0, 0, 0.0, False, True, INFO, extras={"value": 0.5, "text": "a", "scores": [1, 2]})
    recorder.step(1, 0, 0.0, False, True, INFO, extras={"value": np.float64(2.0)})
    recorder.finish(0)
    recorder.finish(1)
    extras = recorder.take().extras
    assert extras["value"].dtype == np.float64
    np.testing.assert_array_equal(extras["value"], [np.nan, 0.5, 2.0])
    assert extras["text"].tolist() == [None, "a", None]
    assert extras["scores"].tolist() == [None, [1, 2], None]


class TestRefusals:
    def test_twice_the_same_number(self) -> None:
        recorder = Recorder()
        play(recorder, 0, [])
        with pytest.raises(ValueError, match="trajectory 0 has begun already"):
            play(recorder, 0, [])
        recorder.finish(0)
        with pytest.raises(ValueError, match="trajectory 0 has begun already"):
            play(recorder, 0, [])
        with pytest.raises(ValueError, match="trajectory 0 is over already"):
            recorder.fail(0, "too late")

    def test_what_is_not_in_flight(self) -> None:
        recorder = Recorder()
        with pytest.raises(ValueError, match="trajectory 0 is not in flight"):
            recorder.finish(0)
        with pytest.raises(ValueError, match="trajectory 0 is not in flight"):
            recorder.step(0, 0, 0.0, False, False, {})

    def test_unknown_heads(self) -> None:
        with pytest.raises(ValueError, match=r"unknown columns \['sed'\]"):
            Recorder().fail(0, "gone", head={"sed": 1})

    def test_without_a_record(self) -> None:
        with pytest.raises(KeyError, match="add_process"):
            Recorder().begin(0, {"success": False}, env="e", seed=0, horizon=1, group=0)
