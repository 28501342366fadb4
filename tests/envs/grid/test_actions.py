"""Words and phrases: grounded exactly when they apply; whatever else is said moves nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agentgym.envs.grid import actions
from agentgym.envs.grid.state import ACTIONS, admissible
from tests.envs.grid.levels import ONE_EACH, make, walk

FORMATS = ("index", "words", "phrases")


@pytest.mark.parametrize("fmt", FORMATS)
@pytest.mark.parametrize("id", ONE_EACH)
def test_admissible_is_grounded_and_nothing_else(id: str, fmt: str) -> None:
    env = make(id, view="memory", actions=fmt, admissible=True)
    said: set[Any] = {*ACTIONS} if fmt == "words" else {*range(-1, 9)} if fmt == "index" else set()
    for seed in range(3):
        info = env.reset(seed=seed)[1]
        for *_, ended, truncated, info in walk(env, seed, steps=40):
            if ended or truncated:
                break
            said |= set(info["admissible"])  # phrases: try all that were ever possible
            here = env.snapshot()
            for action in sorted(said):
                anchor = here_anchor(env)
                record = env.step(action)[-1]["process"]
                assert record["grounded"] == (action in info["admissible"]), action
                if not record["grounded"]:
                    assert record["anchor"] == anchor
                env.restore(here)


def here_anchor(env: Any) -> int:
    return int(env._record(env.peek(), danger=False, grounded=True)[1]["anchor"])


@pytest.mark.parametrize("id", ONE_EACH)
def test_phrases_and_words_read_back_as_they_were_written(id: str) -> None:
    env = make(id)
    for seed in range(5):
        env.reset(seed=seed)
        for _ in walk(env, seed):
            state = env.peek()
            for number in admissible(state):
                for fmt in ("words", "phrases"):
                    assert actions.decode(str(actions.encode(number, state, fmt)), state, fmt) == (number, "")


def test_a_phrase_must_name_what_is_there() -> None:
    env = make("agentgym/Grid-DoorKey-8x8-v0", view="memory", actions="phrases")
    env.reset(seed=1)  # the key is 5 ahead and 1 to the right
    assert not env.step("pick up the yellow key")[-1]["process"]["grounded"]
    for said in ["turn right", "go forward", "turn left", *["go forward"] * 4]:
        assert env.step(said)[-1]["process"]["grounded"]
    for wrong in (
        "pick up the red key",
        "pick up the yellow ball",
        "open the yellow key",
        "drop the yellow key",
        "pickup",
    ):
        obs, *_, info = env.step(wrong)
        assert not info["process"]["grounded"]
        assert "pick up the yellow key" in obs["error"], "the answer says what is possible"
    obs, *_, info = env.step("  Pick up  the key ")
    assert info["process"]["grounded"]
    assert obs["error"] == ""
    assert info["events"] == ("milestone:has_key",)


@pytest.fixture(scope="module")
def talkers() -> list[Any]:
    """Environments that take text, in the middle of an episode."""
    envs = [make(id, view=v, actions=a) for id in ONE_EACH for v in ("text", "memory") for a in ("words", "phrases")]
    for env in envs:
        env.reset(seed=2)
        for _ in walk(env, 2, steps=5, oracle=0.2):
            pass
    return envs


@given(text=st.text(max_size=300), k=st.integers(0, 10**6))
@example(text="", k=0)
@example(text="forward\x00", k=1)
@example(text="left; right", k=2)
@example(text="__import__('os')", k=3)
@example(text="\ud800", k=4)
@example(text="\U0001f600" * 200, k=6)
@example(text="turn left" + " " * 100_000, k=5)
@example(text="open the yellow door" * 50_000, k=7)
def test_hostile_text_is_an_ungrounded_step_and_moves_nothing(talkers: list[Any], text: str, k: int) -> None:
    env = talkers[k % len(talkers)]
    if actions.decode(text, env.peek(), env.world.format)[0] >= 0:
        return  # Hypothesis found a true action
    if env._ended or env._t > env.horizon - 2:
        env.reset(seed=2)
    before = env.peek()
    obs, reward, terminated, _, info = env.step(text)
    assert env.peek() == before
    assert (info["process"]["grounded"], info["process"]["danger"], reward, terminated) == (False, False, 0.0, False)
    assert obs["error"] == info["error"] != ""
    assert obs in env.observation_space


@pytest.mark.parametrize("number", [-1, 7, 6, 10**30, np.int64(99)])
def test_numbers_without_a_meaning_move_nothing(number: Any) -> None:
    env = make("agentgym/Grid-Empty-5x5-v0")
    env.reset(seed=0)
    before = env.peek()
    info = env.step(number)[-1]
    assert not info["process"]["grounded"]
    assert info["error"]
    assert env.peek() == before


def test_wrong_types_are_the_callers_bug() -> None:
    for env, wrong in ((make(ONE_EACH[0]), "left"), (make(ONE_EACH[0], view="text"), 0)):
        env.reset(seed=0)
        with pytest.raises(TypeError):
            env.step(wrong)
