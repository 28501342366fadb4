"""A clone of early demonstrations trained on pages of a real Chromium: whole, accounted for, and resumable."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agentgym.agents.policy.lexicon import Lexicon, Notes
from agentgym.agents.train.pages import Clone, PageConfig, PagesLessons, PageTask, PageTrainer, make_clone
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep

Need = Callable[[object, str, str], None]
TASKS = (
    PageTask("agentgym/MiniWoB-login-user-v0", "user_name", {"max_steps": 4}),
    PageTask("agentgym/MiniWoB-click-checkboxes-v0", "marked", {"max_steps": 4}),
)
SMALL = PageConfig(
    seed=1,
    hidden=16,
    layers=1,
    heads=2,
    demos=3,
    demo_epochs=2,
    steps=50,
    groups=1,
    group_size=3,
    slots=3,
    spare=1,
    max_new_tokens=4,
    threads=1,
)


@pytest.fixture(scope="module")
def chromium(need: Need) -> Iterator[None]:
    from agentgym.envs.web.chromium import find_chromium

    for package in ("playwright", "miniwob"):
        need(importlib.util.find_spec(package), package, 'run `pip install -e ".[web]"`')
    try:
        find_chromium()
    except UsageError as missing:
        need(False, "Chromium", str(missing))
    yield
    from agentgym.envs.web import close_browsers

    close_browsers()


@pytest.fixture(scope="module")
def clone(chromium: None) -> Clone:
    return make_clone(TASKS, SMALL)


def test_a_run_spends_its_steps_and_can_be_cut(clone: Clone, tmp_path: Path) -> None:
    """From demonstrations to a test, through a checkpoint."""
    assert clone.figures["demonstrated_steps_by_task"][0] == 3  # the user's name alone
    trainer = PageTrainer(TASKS, SMALL, clone)
    try:
        first = trainer.update()
        assert first["env_steps"] == first["steps"] > 0
        assert 0 <= first["anchors_repeat"] <= 1
        assert first["errors"] == 0
        assert len(first["success_by_task"]) == len(TASKS)
        trainer.save(tmp_path / "run.pt")
    finally:
        trainer.close()
    again = PageTrainer(TASKS, SMALL, clone)
    try:
        assert again.resume(tmp_path / "run.pt")
        assert (again.env_steps, again.lines) == (trainer.env_steps, trainer.lines)
        for mine, theirs in zip(again.policy.parameters(), trainer.policy.parameters(), strict=True):
            assert np.array_equal(mine.detach(), theirs.detach())
        while not again.done:
            again.update()
        assert again.env_steps >= SMALL.steps
        moved = [
            not np.array_equal(p.detach(), clone.weights[name]) for name, p in again.policy.model.named_parameters()
        ]
        assert any(moved)
        test = again.test(2)
    finally:
        again.close()
    assert [len(row) for row in test["won"]] == [2, 2]
    assert test["success"] == np.mean([c == "1" for row in test["won"] for c in row])


def test_a_clone_comes_back_from_its_file(clone: Clone, tmp_path: Path) -> None:
    clone.save(tmp_path / "clone.pt")
    again = Clone.load(tmp_path / "clone.pt")
    assert tuple(again.words) == clone.words
    assert all(np.array_equal(again.weights[k], v) for k, v in clone.weights.items())


def test_other_settings_do_not_resume(clone: Clone, tmp_path: Path) -> None:
    trainer = PageTrainer(TASKS, SMALL, clone)
    trainer.save(tmp_path / "run.pt")
    trainer.close()
    other = PageTrainer(TASKS, replace(SMALL, lr=0.5), clone)
    with pytest.raises(UsageError, match="other settings"):
        other.resume(tmp_path / "run.pt")
    other.close()


def test_a_milestone_that_there_is_not(chromium: None) -> None:
    with pytest.raises(UsageError, match="user_name"):
        make_clone((replace(TASKS[0], until="nowhere"),), SMALL)


def step(lexicon: Lexicon) -> TokenStep:
    notes = Notes(lexicon)
    goal, name = notes.text("type abc"), (lexicon.ordinals[0], *notes.text("textbox"))
    action = np.array((*name, *notes.text("abc"), lexicon.stop))
    unknown = np.full(len(action), np.nan)
    prefix = np.array((*goal, *name, lexicon.mark, lexicon.mark))
    return TokenStep(0, 0, prefix, action, unknown, unknown, (name, (lexicon.ordinals[1],)), 0, 0)


def test_names_are_exchanged_alike_in_page_and_text() -> None:
    """What is copied stays copied; known words stay."""
    lexicon = Lexicon(["type", "textbox"])
    shown = step(lexicon)
    drawn = [PagesLessons([shown], lexicon, 0.0, 0)(epoch)[0] for epoch in range(20)]
    for s in drawn:
        assert s.prefix[0] == shown.prefix[0]
        assert s.prefix[1] == s.action[2] in lexicon.names
        assert tuple(s.action[:2]) == s.candidates[0] == shown.candidates[0]  # type: ignore[index]  # it has some
    assert len({int(s.action[2]) for s in drawn}) > 15


def test_drills_write_what_their_goal_says() -> None:
    lexicon = Lexicon({"textbox"})
    lessons = PagesLessons([], lexicon, 0.0, 0, drills=50)
    first, second = lessons(0), lessons(1)
    assert len(first) == 50
    for step in first:
        goal = step.prefix[1 : list(step.prefix).index(lexicon.page)].tolist()
        assert 2 <= len(goal) <= 10
        assert set(goal) <= set(lexicon.names.tolist())
        assert step.candidates is not None
        assert step.action.tolist() == [*step.candidates[0], *goal, lexicon.stop]
    assert any(not np.array_equal(a.prefix, b.prefix) for a, b in zip(first, second, strict=True))


def test_smoothing_draws_any_candidate_and_drops_the_text() -> None:
    lexicon = Lexicon(["type", "textbox"])
    shown = step(lexicon)
    drawn = [PagesLessons([shown], lexicon, 0.5, 0)(epoch)[0] for epoch in range(400)]
    whole = [len(s.action) > len(s.candidates[s.chosen]) for s in drawn if s.candidates]
    other = [s.chosen == 1 for s in drawn]
    assert 0.4 < np.mean(whole) < 0.6
    assert 0.17 < np.mean(other) < 0.33
    assert all(tuple(s.action) == s.candidates[1] for s in drawn if s.candidates and s.chosen == 1)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"lr": 0.0}, {"smoothing": 1.0}])
def test_settings_that_make_no_sense(bad: dict[str, float]) -> None:
    with pytest.raises(UsageError):
        replace(SMALL, **bad)  # type: ignore[arg-type]  # that is the point
