"""What a warm start shows: the oracle up to the cut, then play that knows nothing; and what is drawn from it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from agentgym.agents.policy.simple import OraclePolicy
from agentgym.agents.policy.types import uniform
from agentgym.agents.train.config import TrainConfig
from agentgym.agents.train.demonstrations import Demonstrator, Lessons, cut_at
from agentgym.agents.train.trainer import Trainer
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep

WRITTEN = TrainConfig(
    env="agentgym/Grid-DoorKey-5x5-v0",
    env_kwargs={"view": "memory", "actions": "phrases", "max_steps": 20},
    mode="generate",
    max_new_tokens=6,
    hidden=16,
    layers=1,
    heads=2,
    demos=6,
    demo_until="has_key",
    demo_smoothing=0.1,
    demo_play=15,
    seed=3,
)


@pytest.fixture
def trainer() -> Iterator[Trainer]:
    made = Trainer(WRITTEN)
    yield made
    made.close()


def lessons_of(trainer: Trainer) -> Lessons:
    """What the trainer's warm start teaches."""
    seeds = trainer.split.take("train", trainer.config.demos, distinct=True)
    oracle = Demonstrator(trainer.policy, OraclePolicy())
    tokens = cut_at(trainer._show(oracle, seeds), trainer.milestones, trainer.config.demo_until)
    lessons = trainer._lessons(seeds, tokens, oracle.applicable)
    assert lessons is not None
    return lessons


def step(trajectory: int, t: int, action: tuple[int, ...]) -> TokenStep:
    unknown = np.full(len(action), np.nan)
    return TokenStep(trajectory, t, np.array([trajectory, t]), np.array(action), unknown, unknown, None, -1, 0)


def test_play_begins_where_the_demonstration_was_cut(trainer: Trainer) -> None:
    """The first played state is the one that the demonstration's last step led to: the key is held."""
    lessons = lessons_of(trainer)
    say = trainer.policy.template.say
    ends = {s.trajectory: s.t for s in lessons.demonstrated}
    first = {s.trajectory: s for s in reversed(lessons.played)}
    base = min(ends)
    assert len(first) + trainer.play_left_out == WRITTEN.demo_play
    for trajectory, s in first.items():
        demonstration = base + (trajectory - base - WRITTEN.demos) % WRITTEN.demos
        assert s.t == ends[demonstration] + 1
        assert "carrying key" in trainer.policy.tokenizer.decode(s.prefix)
    pick = {s.trajectory: say(tuple(s.action.tolist())) for s in lessons.demonstrated}
    assert set(pick.values()) == {"pick up the yellow key"}


def test_play_is_random(trainer: Trainer) -> None:
    """Every played action is the one that the run's own random numbers point to: no oracle had a say in it."""
    lessons = lessons_of(trainer)
    assert len(lessons.played) > 50
    for s in lessons.played:
        options = lessons.applicable[s.trajectory, s.t]
        u = float(uniform(WRITTEN.seed, s.trajectory, s.t)[0])
        assert tuple(s.action.tolist()) == options[int(u * len(options))]


def test_play_that_succeeds_is_left_out() -> None:
    """On an empty 5x5 room random play often reaches the goal: of those episodes nothing is taught."""
    config = replace(WRITTEN, env="agentgym/Grid-Empty-Random-5x5-v0", demo_until="", demos=2, demo_play=20)
    trainer = Trainer(config)
    lessons = lessons_of(trainer)
    kept = Counter(s.trajectory for s in lessons.played)
    assert 0 < trainer.play_left_out < 20
    assert len(kept) == 20 - trainer.play_left_out
    assert set(kept.values()) == {20}, (
        "an episode of play is whole: from its start, since demonstrations are, to its end"
    )
    trainer.close()


def test_the_applicable_actions_are_the_worlds_own(trainer: Trainer) -> None:
    lessons = lessons_of(trainer)
    say = trainer.policy.template.say
    for s in (*lessons.demonstrated, *lessons.played):
        options = [say(a) for a in lessons.applicable[s.trajectory, s.t]]
        assert options[:2] == ["turn left", "turn right"]
        assert say(tuple(s.action.tolist())) in options
        text = trainer.policy.tokenizer.decode(s.prefix)
        # a locked door can be tried with empty hands: in vain, and it is in the world's list
        assert ("open the yellow door" in options) == ("front locked_door" in text or "front closed_door" in text)


def test_draws_follow_the_target() -> None:
    """Demonstrated steps keep their action but for the smoothed share; played ones are uniform over what applies."""
    applicable = {(0, 0): ((1,), (2,), (3, 4)), (7, 0): ((1,), (5, 6))}
    lessons = Lessons([step(0, 0, (1,))], [step(7, 0, (1,))], applicable, 0.3, seed=0)
    passes = [lessons(k) for k in range(4000)]
    shown = Counter(tuple(p[0].action.tolist()) for p in passes)
    played = Counter(tuple(p[1].action.tolist()) for p in passes)
    assert {len(p) for p in passes} == {2}
    assert {a: n / 4000 for a, n in shown.items()} == pytest.approx({(1,): 0.8, (2,): 0.1, (3, 4): 0.1}, abs=0.03)
    assert {a: n / 4000 for a, n in played.items()} == pytest.approx({(1,): 0.5, (5, 6): 0.5}, abs=0.03)


def test_seldom_possible_actions_are_met_as_often_as_common_ones() -> None:
    """One state in ten lets a door be opened; drawing an action first brings it up in more than half of the draws."""
    turn, opened = (1,), (2, 3)
    played = [step(1, t, turn) for t in range(10)]
    applicable = {(1, t): (turn, opened) if t == 4 else (turn,) for t in range(10)}
    shown = [step(0, t, turn) for t in range(50)]
    lessons = Lessons(shown, played, applicable, 0.0, seed=1)
    drawn = Counter(s.t for k in range(100) for s in lessons(k)[50:])
    assert drawn[4] / 5000 == pytest.approx(0.5 * (1 + 1 / 10), abs=0.03)
    assert all(drawn[t] / 5000 == pytest.approx(0.05, abs=0.015) for t in range(10) if t != 4)


def test_passes_differ_and_repeat() -> None:
    applicable = {(0, t): ((1,), (2,)) for t in range(40)}
    steps = [step(0, t, (1,)) for t in range(40)]
    lessons = Lessons(steps, (), applicable, 0.5, seed=0)
    said = [[int(s.action[0]) for s in lessons(k)] for k in (0, 1, 0)]
    assert said[0] == said[2] != said[1]


@pytest.mark.parametrize("played", [False, True])
def test_a_world_that_lists_nothing_cannot_be_smoothed(played: bool) -> None:
    steps = [step(0, 0, (1,))]
    with pytest.raises(UsageError, match="trajectory 0 has none at t=0"):
        Lessons(() if played else steps, steps if played else (), {}, 0.1, seed=0)
    assert Lessons(steps, (), {}, 0.0, seed=0)(0) == steps
