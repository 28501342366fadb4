"""ProcessEnv: what reset and step say, when episodes end, and what can be gone back to."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from hypothesis import given
from hypothesis import strategies as st

from agentgym import Episode, Events, Milestone, ProcessEnv, read_record
from agentgym.errors import TaskError, UsageError, WorldError
from agentgym.process import FIELDS
from tests.toy import WORDS, Corridor, CorridorTask, CorridorWorld, make

STRAIGHT = {"params": {"length": 6, "start": 2}}


def walk(env: ProcessEnv[Corridor], *words: str) -> list[tuple[Any, ...]]:
    return [env.step(word) for word in words]


@given(st.integers(0, 2**31), st.lists(st.sampled_from(WORDS) | st.text(max_size=4), max_size=60))
def test_laws_of_the_record(seed: int, actions: list[str]) -> None:
    env = make()
    _, info = env.reset(seed=seed)
    assert info["task"] == "corridor"
    assert info["goal"].startswith("Walk to cell")
    record = info["process"]
    assert (record["progress"], record["danger"], record["grounded"]) == (0.0, False, True)
    before, rewards = record, 0.0
    for t, action in enumerate(actions, start=1):
        assert t <= env.horizon
        _, reward, terminated, truncated, info = env.step(action)
        record = info["process"]
        rewards += reward
        assert {name: type(value) for name, value in record.items()} == FIELDS
        assert all(type(flag) is bool for flag in (terminated, truncated, info["success"]))
        assert record["milestones"] & before["milestones"] == before["milestones"]
        assert (record["progress"] == 1) == info["success"] == terminated
        assert record["danger"] == ("danger:fell" in info["events"])
        assert record["grounded"] == (action in WORDS) == (info["error"] == "")
        if not record["grounded"]:
            assert record["anchor"] == before["anchor"]
        before = record
        if terminated or truncated:
            break
    assert rewards == float(info["success"])


def test_the_corridor_step_by_step() -> None:
    env = make(slip=0.0)
    env.reset(seed=0, options=STRAIGHT)
    told = [
        (info["process"]["milestones"], round(info["process"]["progress"], 3), reward, terminated, info["events"])
        for _, reward, terminated, _, info in walk(env, "left", "left", "right", "right", "right", "right", "right")
    ]
    assert told == [
        (0, 0.0, 0.0, False, ()),
        (0, 0.0, 0.0, False, ("danger:fell",)),
        (0, 0.0, 0.0, False, ()),
        (0, 0.0, 0.0, False, ()),
        (0, 0.333, 0.0, False, ()),
        (1, 0.667, 0.0, False, ("milestone:half_way",)),
        (3, 1.0, 1.0, True, ("milestone:at_goal",)),
    ]


def test_equal_seeds_tell_the_same_after_any_history() -> None:
    used = make()
    for seed in range(3):
        used.reset(seed=seed)
        walk(used, "right", "left", "nonsense")
    used.reset()
    for env in (used, fresh := make()):
        env.reset(seed=11)
    for _ in range(3):  # the resets that follow an unseeded way are the same too
        actions = ("right", "left", "right")
        assert repr(walk(used, *actions)) == repr(walk(fresh, *actions))
        assert repr(used.reset()) == repr(fresh.reset())


def test_step_needs_an_episode() -> None:
    env = make(max_steps=1)
    for call in (lambda: env.step("right"), env.snapshot):
        with pytest.raises(ResetNeeded, match="reset"):
            call()
    env.reset(seed=0)
    *_, truncated, _ = env.step("wait")
    assert truncated
    with pytest.raises(ResetNeeded, match="over"):
        env.step("wait")
    env.reset()
    env.step("wait")


def test_the_horizon_truncates_and_success_at_the_horizon_terminates() -> None:
    assert make().horizon == 40
    env = make(slip=0.0, max_steps=3)
    env.reset(seed=0, options=STRAIGHT)
    *_, (_, reward, terminated, truncated, _) = walk(env, "right", "right", "right")
    assert (reward, terminated, truncated) == (1.0, True, False)
    env.reset(seed=0, options=STRAIGHT)
    *_, (_, reward, terminated, truncated, _) = walk(env, "right", "right", "wait")
    assert (reward, terminated, truncated) == (0.0, False, True)


@pytest.mark.parametrize("action", [None, 0, b"left", ["left"]])
def test_a_wrong_type_is_a_type_error_and_no_step(action: object) -> None:
    env = make(max_steps=1)
    env.reset(seed=0)
    with pytest.raises(TypeError, match="must be a str"):
        env.step(action)
    env.step("wait")  # the clock has not moved, the episode is still there


@pytest.mark.parametrize(
    ("space", "good", "wrong"),
    [
        (
            gymnasium.spaces.Discrete(3),
            [0, np.int64(1), np.array(2), 7, 10**30],
            [None, "0", 0.0, True, np.float64(0), [0]],
        ),
        (gymnasium.spaces.Dict({"a": gymnasium.spaces.Discrete(2)}), [{}, {"a": None}], [None, "a", ()]),
        (gymnasium.spaces.Tuple([gymnasium.spaces.Discrete(2)]), [(), (0,)], [None, [0], 0]),
        (gymnasium.spaces.Box(0, 1, (2,)), [np.zeros(2), np.full(3, np.nan)], [None, [0, 0], 0.5]),
        (gymnasium.spaces.MultiDiscrete([2, 2]), [np.zeros(2, int)], [None, (0, 0)]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_the_type_is_that_of_the_action_space(space: Any, good: list[Any], wrong: list[Any]) -> None:
    class Elsewhere(CorridorWorld):
        def act(self, action: Any) -> Events:
            return Events(grounded=False, error="nothing happens here")

    env = ProcessEnv(Elsewhere(), CorridorTask())
    env.action_space = space
    env.reset(seed=0)
    for action in good:
        env.step(action)
    for action in wrong:
        with pytest.raises(TypeError, match=r"action must be an? "):
            env.step(action)


def test_bad_constructions_are_refused() -> None:
    for options, message in (
        ({"render_mode": "smell"}, "render_mode"),
        ({"max_steps": 0}, "at least 1"),
        ({"reward": "dense"}, "'success' or 'world'"),
    ):
        with pytest.raises(UsageError, match=message):
            make(**options)
    with pytest.raises(UsageError, match="at least one task"):
        ProcessEnv(CorridorWorld(), [])

    class Crowded(CorridorTask):
        milestones = tuple(Milestone(f"m{k}", "", event=str(k)) for k in range(63))

    with pytest.raises(TaskError, match="at most 62"):
        make(task=Crowded())


def test_bad_reset_options_are_refused_before_anything_happens() -> None:
    env = make()
    env.reset(seed=0)
    before = env.np_random.bit_generator.state
    for options in ({"parms": {}}, {"task": 1}, {"task": "0"}, {"task": True}, {"params": 3}):
        with pytest.raises(UsageError, match="options"):
            env.reset(seed=5, options=options)
    assert env.np_random.bit_generator.state == before
    env.step("right")


def test_params_may_be_given_and_are_then_the_episodes_own() -> None:
    env = make()
    options = {"params": {"length": 7, "start": 1}}
    env.reset(seed=0, options=options)
    options["params"]["length"] = 99
    assert env.episode.params == {"length": 7, "start": 1}
    assert env.episode.seed == 0
    assert env.episode.start == Corridor(7, 1)


class Backwards(CorridorTask):
    """The same corridor, shorter."""

    id = "short"
    horizon = 10

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"length": 4, "start": 1}


def test_each_reset_draws_one_of_several_tasks() -> None:
    env = ProcessEnv(CorridorWorld(), [CorridorTask(), Backwards()])
    drawn = {}
    for seed in range(20):
        _, info = env.reset(seed=seed)
        drawn[seed] = info["task"]
        assert env.task.id == info["task"]
        assert env.horizon == (10 if info["task"] == "short" else 40)
    assert set(drawn.values()) == {"corridor", "short"}
    for seed, task in reversed(drawn.items()):
        assert env.reset(seed=seed)[1]["task"] == task
    assert env.reset(seed=0, options={"task": 1})[1]["task"] == "short"
    saved = env.snapshot()
    env.reset(seed=0, options={"task": 0})
    env.restore(saved)
    assert env.task.id == "short"


# ------------------------------------------------------------------ tasks and worlds that break


def altered(**changes: Any) -> ProcessEnv[Corridor]:
    return make(slip=0.0, task=type("Altered", (CorridorTask,), changes)())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"progress": lambda self, s, ep: 1.5}, "must lie in"),
        ({"progress": lambda self, s, ep: float("nan")}, "must lie in"),
        ({"progress": lambda self, s, ep: 1.0}, "exactly when solved"),
        ({"success": lambda self, s, ep: True}, "exactly when solved"),
        ({"reached": lambda self, s, e, ep: ["elsewhere"]}, "not declared in `milestones`"),
    ],
)
def test_a_task_that_contradicts_itself_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        altered(**changes).reset(seed=0)


def test_an_undeclared_danger_is_named_and_ends_the_episode() -> None:
    env = altered(danger=lambda self, b, e, a, ep: ["flood"])
    env.reset(seed=0)
    with pytest.raises(TaskError, match="flood"):
        env.step("wait")
    with pytest.raises(ResetNeeded):
        env.step("wait")


def test_an_endless_task_cannot_succeed() -> None:
    env = altered(has_success=False)
    env.reset(seed=0, options=STRAIGHT)
    with pytest.raises(TaskError, match="has_success=False"):
        walk(env, "right", "right", "right")


def test_a_broken_world_ends_the_episode_and_the_next_one_goes_on() -> None:
    class Fragile(CorridorWorld):
        def act(self, action: Any) -> Any:
            if action == "left":
                raise WorldError("the browser is gone")
            return super().act(action)

    env = ProcessEnv(Fragile(), CorridorTask())
    env.reset(seed=0)
    with pytest.raises(WorldError):
        env.step("left")
    with pytest.raises(ResetNeeded):
        env.step("right")
    env.reset()
    env.step("right")


def test_equal_dangers_are_told_once() -> None:
    env = altered(danger=lambda self, b, e, a, ep: ["fell", "fell"])
    env.reset(seed=0)
    assert env.step("wait")[-1]["events"] == ("danger:fell",)


def test_the_worlds_reward_and_its_truncation_pass_by_option() -> None:
    class Generous(CorridorWorld):
        def act(self, action: Any) -> Events:
            return Events(reward=2.5, truncated=action == "wait")

    for mode, due in (("world", 2.5), ("success", 0.0)):
        env = ProcessEnv(Generous(), CorridorTask(), reward=mode)
        env.reset(seed=0)
        assert env.step("right")[1:4] == (due, False, False)
        assert env.step("wait")[1:4] == (due, False, True)


def test_success_pays_once_where_the_episode_goes_on() -> None:
    class GoesOn(CorridorTask):
        def ends(self, state: Corridor, events: Events, ep: Episode) -> bool:
            return False

    env = make(slip=0.0, task=GoesOn())
    env.reset(seed=0, options=STRAIGHT)
    assert [step[1] for step in walk(env, "right", "right", "right", "wait", "left", "right")] == [0, 0, 1, 0, 0, 0]


def test_an_event_marks_a_milestone() -> None:
    class Slips(CorridorTask):
        milestones = (Milestone("slipped", "lost a step", event="slipped", required=False),)

    env = make(slip=1.0, task=Slips())
    env.reset(seed=0)
    assert env.step("wait")[-1]["process"]["milestones"] == 0
    assert env.step("right")[-1]["events"] == ("milestone:slipped",)
    assert env.step("right")[-1]["events"] == ()
    assert env.step("wait")[-1]["process"]["milestones"] == 1


# ------------------------------------------------------------------ what evaluation reads


def test_hidden_performance_is_that_of_the_episode_even_after_the_next_reset() -> None:
    env = make(slip=0.0)
    assert np.isnan(env.hidden_performance())
    env.reset(seed=0, options=STRAIGHT)
    assert np.isnan(env.hidden_performance())
    walk(env, "left", "left")
    assert env.hidden_performance() == -1.0
    walk(env, *["right"] * 5)
    assert env.hidden_performance() == 0.0  # one visit of the pit, one success
    env.reset(seed=0, options=STRAIGHT)
    assert env.hidden_performance() == 0.0
    walk(env, "right")
    walk(env, "right", "right")
    assert env.hidden_performance() == 1.0


def test_without_a_hidden_reward_the_outcome_is_all_there_is() -> None:
    env = altered(hidden_reward=lambda self, b, e, a, ep: None)
    env.reset(seed=0, options=STRAIGHT)
    walk(env, "left", "left", *["right"] * 5)
    assert env.hidden_performance() == 1.0


def test_admissible_actions_are_listed_on_request() -> None:
    assert make(admissible=True).reset(seed=0)[1]["admissible"] == WORDS
    assert "admissible" not in make().reset(seed=0)[1]


# ------------------------------------------------------------------ snapshots


def test_a_snapshot_brings_everything_back_and_goes_on_as_before() -> None:
    env = make(slip=0.5)
    env.reset(seed=3)
    walk(env, "left", "left", "left", "right")
    saved = env.snapshot()
    first = repr((walk(env, *["right"] * 10), env.hidden_performance(), env.reset()))
    _, info = env.restore(saved)
    assert (info["process"]["danger"], info["process"]["grounded"], info["events"]) == (False, True, ())
    assert repr((walk(env, *["right"] * 10), env.hidden_performance(), env.reset())) == first
    other = make(slip=0.5)
    other.restore(pickle.loads(pickle.dumps(saved)))
    assert repr((walk(other, *["right"] * 10), other.hidden_performance(), other.reset())) == first


def test_a_snapshot_keeps_latches_and_clock() -> None:
    env = make(slip=0.0, max_steps=6)
    env.reset(seed=0, options=STRAIGHT)
    walk(env, "right", "right", "left")
    saved = env.snapshot()
    env.reset(seed=1)
    _, info = env.restore(saved)
    assert info["process"]["milestones"] == 1
    assert [step[3] for step in walk(env, "wait", "wait", "wait")] == [False, False, True]
    ended = env.snapshot()
    env.reset()
    env.restore(ended)
    with pytest.raises(ResetNeeded):
        env.step("wait")


def test_a_fork_with_a_seed_takes_its_own_way_and_leaves_the_snapshot_alone() -> None:
    env = make(slip=0.5)
    env.reset(seed=3)
    saved = env.snapshot()

    def onward(seed: int | None) -> str:
        env.restore(saved, seed=seed)
        return repr(walk(env, *["left"] * 12))

    ways = [onward(seed) for seed in (None, 1, 2, 3, 1, None)]
    assert ways[0] == ways[5]
    assert ways[1] == ways[4]
    assert len({ways[1], ways[2], ways[3]}) > 1


def test_a_world_that_cannot_be_forked_says_so() -> None:
    class Plain(CorridorWorld):
        forkable = False
        snapshot = CorridorWorld.__mro__[1].snapshot

    env = ProcessEnv(Plain(), CorridorTask())
    env.reset(seed=0)
    assert not env.forkable
    with pytest.raises(TypeError, match="cannot be forked"):
        env.snapshot()


# ------------------------------------------------------------------ the rest of the face


def test_rendering() -> None:
    text = make(render_mode="ansi")
    text.reset(seed=0, options=STRAIGHT)
    assert text.render() == "..@..."
    picture = make(render_mode="rgb_array")
    picture.reset(seed=0)
    assert picture.render().shape == (8, 72, 3)


def test_human_mode_shows_every_reset_and_step() -> None:
    shown = []

    class Window(CorridorWorld):
        render_modes = ("human",)

        def render(self, mode: str) -> None:
            shown.append(self._state.cell)

    env = ProcessEnv(Window(slip=0.0), CorridorTask(), render_mode="human")
    env.reset(seed=0, options=STRAIGHT)
    walk(env, "right", "left")
    assert shown == [2, 3, 2]


def test_close_closes_the_world_once() -> None:
    closed = []

    class Closing(CorridorWorld):
        def close(self) -> None:
            closed.append(True)

    env = ProcessEnv(Closing(), CorridorTask())
    env.close()
    env.close()
    assert closed == [True]


def test_a_missing_record_is_explained() -> None:
    assert read_record(make().reset(seed=0)[1])["grounded"]
    with pytest.raises(KeyError, match="add_process"):
        read_record({})
