"""How often a group meets its states again, counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.agents.evaluate.anchors import anchor_figures, repeated, varied
from agentgym.recorder import Recorder
from agentgym.rewards import recipe
from agentgym.steps import StepTable


def table(*episodes: tuple[int, list[int], bool]) -> StepTable:
    """Episodes as (group, anchors from the first on, success)."""
    recorder = Recorder()
    for number, (group, anchors, won) in enumerate(episodes):
        record = {"milestones": 0, "progress": 0.0, "danger": False, "grounded": True, "anchor": anchors[0]}
        info = {"process": record, "task": "t", "goal": "g", "success": False, "events": ()}
        recorder.begin(number, info, env="e", seed=group, horizon=9, group=group, event_codes=())
        for k, anchor in enumerate(anchors[1:], 1):
            last = k == len(anchors) - 1
            done = last and won
            after = record | {"anchor": anchor, "progress": float(done)}
            told = {"process": after, "success": done, "events": ()}
            recorder.step(number, "a", float(done), done, last and not done, told)
        recorder.finish(number, outcome=float(won))
    return recorder.take()


def test_steps_repeat_when_another_rollout_stands_there() -> None:
    steps = table((0, [1, 2, 9], True), (0, [1, 3, 3, 9], False), (1, [1, 2, 9], False))
    # rollouts 0 and 1 share anchor 1; anchor 3 is met twice by one rollout alone; group 1 has one rollout
    assert repeated(steps) == pytest.approx(2 / 7)


def test_returns_vary_only_where_they_differ() -> None:
    steps = table((0, [1, 2, 9], True), (0, [1, 2, 9], False), (1, [5, 6, 9], False), (1, [5, 6, 9], False))
    assert varied(steps, steps.reward, 0.9) == (2, 4)
    assert varied(steps, np.zeros(len(steps)), 0.9) == (0, 4)


def test_nothing_is_met_in_no_steps() -> None:
    empty = StepTable.concat([])
    assert (repeated(empty), varied(empty, np.zeros(0), 0.9)) == (0.0, (0, 0))


def test_figures_are_of_the_recipe_s_own_rewards() -> None:
    steps = table((0, [1, 2, 9], True), (0, [1, 2, 9], False))
    figures = anchor_figures(steps, recipe("gigpo"))
    assert figures == {
        "anchors_repeat": 1.0,
        "anchors_varied": 2,
        "anchors_several": 2,
        "anchors_varied_share": 1.0,
    }
