"""The text views: what they say, and that they say nothing the agent has not seen."""

from __future__ import annotations

from string import ascii_letters
from typing import Any

import numpy as np
import pytest

from agentgym.envs.grid import codes, words
from tests.envs.grid.levels import IDS, ONE_EACH, make, walk

DIRECTIONS = ((1, 0), (0, 1), (-1, 0), (0, -1))


def seen_cells(env: Any) -> dict[int, int]:
    """Cells in minigrid's own visibility mask now, and what is in them."""
    grid = env.world._env
    state = env.peek()
    _, mask = grid.gen_obs_grid()
    y, x = divmod(state.pos, state.width)
    (fx, fy), (rx, ry) = DIRECTIONS[state.dir], DIRECTIONS[(state.dir + 1) % 4]
    found = {}
    for i, j in np.argwhere(mask):
        at_x, at_y = x + fx * (6 - j) + rx * (i - 3), y + fy * (6 - j) + ry * (i - 3)
        if 0 <= at_x < state.width and 0 <= at_y < len(state.cells) // state.width:
            at = int(at_y * state.width + at_x)
            found[at] = state.cells[at]
    return found


def landmarks_told(task: Any, sentence: str) -> dict[str, tuple[str, ...]]:
    """The words after each landmark's name at the end of a memory sentence."""
    told, rest = {}, sentence.split()[15:]
    for name in task.landmarks:
        n = 3 if name == "door" else 2
        assert rest[0] == name
        told[name], rest = tuple(rest[1 : n + 1]), rest[n + 1 :]
    assert rest == []
    return told


def cell_of(state: Any, ahead: str, left: str) -> int:
    """Where a landmark is, from its two words."""
    a = int(ahead.strip(ascii_letters)) * (1 if ahead.startswith("ahead") else -1)
    b = int(left.strip(ascii_letters)) * (1 if left.startswith("left") else -1)
    (fx, fy), (lx, ly) = DIRECTIONS[state.dir], DIRECTIONS[(state.dir - 1) % 4]
    return int(state.pos + (fx * a + lx * b) + (fy * a + ly * b) * state.width)


@pytest.mark.parametrize("id", ONE_EACH)
def test_memory_tells_exactly_what_was_seen(id: str) -> None:
    env = make(id, view="memory")
    for seed in range(6):
        obs, _ = env.reset(seed=seed)
        known = seen_cells(env)
        told = [(obs, known.copy(), env.peek())]
        for _, obs, *_ in walk(env, seed, oracle=0.3):
            known |= seen_cells(env)
            told.append((obs, known.copy(), env.peek()))
        for obs, known, state in told:
            for name, place in landmarks_told(env.task, obs["text"]).items():
                wanted = [at for at, c in known.items() if c in words.landmark_codes(name)]
                if place[-1] == "held":
                    assert codes.kind_of(state.carrying) == name
                elif place[-1] == "?":
                    assert not wanted, f"{name} was seen but is not told"
                else:
                    at = cell_of(state, *place[-2:])
                    assert at in wanted, f"{name} is told where it was not seen"
                    assert known[at] == state.cells[at], "nothing changes but in front of the agent"


@pytest.mark.parametrize("id", IDS)
def test_memory_is_short_of_fixed_shape_and_of_a_closed_vocabulary(id: str) -> None:
    env = make(id, view="memory")
    task: Any = env.task
    vocabulary = task.vocabulary()
    assert len(set(vocabulary)) == len(vocabulary)
    lengths = set()
    for seed in range(8):
        obs, _ = env.reset(seed=seed)
        for _, obs, *_ in walk(env, seed):
            said = obs["text"].split()
            lengths.add(len(said))
            assert set(said) <= set(vocabulary)
    assert len(lengths) == 1
    assert max(lengths) <= 30


def test_memory_outlives_the_view_and_goes_with_the_episode() -> None:
    env = make("agentgym/Grid-DoorKey-8x8-v0", view="memory")
    obs, _ = env.reset(seed=1)
    assert "key ahead5 right1 door locked ahead5 right2 goal ? ?" in obs["text"]
    obs = env.step("left")[0]
    assert "key behind1 right5 door locked behind2 right5 goal ? ?" in obs["text"]
    env.step("left")
    assert env.reset(seed=1)[0]["text"].startswith("facing north carrying nothing front empty left wall right empty")


@pytest.mark.parametrize("id", ONE_EACH)
def test_the_strict_text_holds_all_of_the_array(id: str) -> None:
    array, text = make(id), make(id, view="text")
    for seed in range(6):
        image, obs = array.reset(seed=seed)[0]["image"], text.reset(seed=seed)[0]
        for action, other, *_ in walk(array, seed):
            image = other["image"]
            obs = text.step(words.ACTIONS[action])[0]
            lines = obs["text"].split("\n")
            assert lines[0] == f"mission {other['mission']}"
            assert lines[1].startswith(f"facing {words.FACING[other['direction']]} carrying ")
            held = "nothing" if image[3, 6, 0] == 1 else words.LONG[codes.pack(*map(int, image[3, 6]))]
            assert lines[1].endswith(held)
            for j, line in enumerate(lines[2:]):
                expected = [words.LONG[codes.pack(*map(int, image[i, j]))] for i in range(7)]
                if j == 6:
                    expected[3] = "you"
                assert line.split() == expected


@pytest.mark.parametrize("view", ["text", "memory"])
@pytest.mark.parametrize("id", ONE_EACH)
def test_views_come_back_with_a_snapshot(id: str, view: str) -> None:
    env, other = make(id, view=view), make(id, view=view)
    env.reset(seed=5)
    for _ in walk(env, 5, steps=12):
        pass
    there, snapshot = env.world.observe(), env.snapshot()
    layout = env.world.layout_id()
    assert other.restore(snapshot)[0] == there
    assert other.world.layout_id() == layout
    env.reset(seed=6)
    assert env.restore(snapshot)[0] == there


def test_every_view_renders() -> None:
    env = make("agentgym/Grid-LavaCrossing-S9N1-v0", render_mode="ansi")
    env.reset(seed=0)
    assert env.render().count("\n") == 9
    env = make("agentgym/Grid-LavaCrossing-S9N1-v0", render_mode="rgb_array")
    env.reset(seed=0)
    assert env.render().shape == (9 * 32, 9 * 32, 3)
