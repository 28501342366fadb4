"""The features view: an agent's own map, which turns with the agent and hides nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentgym.envs.grid import codes
from agentgym.envs.grid.features import FEATURES, LANDMARKS, features
from agentgym.envs.grid.state import GridState
from tests.envs.grid.levels import ONE_EACH, make, walk

WALL, EMPTY, LAVA = codes.WALL, codes.EMPTY, codes.pack(codes.LAVA)
GOAL, KEY = codes.pack(codes.GOAL), codes.pack(codes.KEY, 4)


def room(*things: tuple[int, int, int], size: int = 9, pos: tuple[int, int] = (4, 4), dir: int = 0) -> GridState:
    """An empty room with (x, y, code) in it."""
    edge = (0, size - 1)
    cells = bytearray(WALL if x in edge or y in edge else EMPTY for y in range(size) for x in range(size))
    for x, y, code in things:
        cells[y * size + x] = code
    return GridState(bytes(cells), size, pos[1] * size + pos[0], dir, EMPTY)


def told(state: GridState, landmark: str) -> list[float]:
    """The six numbers of a landmark."""
    at = 48 + 6 * LANDMARKS.index(landmark)
    return [round(float(v), 6) for v in features(state)[at : at + 6]]


@pytest.mark.parametrize("id", ONE_EACH)
def test_they_are_the_observation_and_a_function_of_the_state(id: str) -> None:
    env = make(id, view="features")
    for seed in range(4):
        seen, _ = env.reset(seed=seed)
        assert (seen == features(env.peek())).all()
        for _, seen, *_ in walk(env, seed):
            state: Any = env.peek()
            assert seen.dtype == np.float32
            assert seen.shape == (FEATURES,)
            assert env.observation_space.contains(seen)
            assert (seen == features(state)).all()


def test_a_landmark_is_told_by_steps_ahead_and_to_the_right() -> None:
    assert told(room((6, 3, KEY)), "key") == [1.0, 0.25, -0.125, 1.0, -1.0, 0.0]
    assert told(room((5, 4, KEY)), "key")[-1] == 1.0, "one step ahead"
    assert told(room((5, 4, KEY), (6, 3, KEY)), "key")[1] == 0.125, "the nearest"
    assert told(room(), "key") == [0.0] * 6
    for turned in range(4):
        x, y = ((6, 5), (3, 6), (2, 3), (5, 2))[turned]  # two ahead, one to the right, whichever way it faces
        assert told(room((x, y, GOAL), dir=turned), "goal") == [1.0, 0.25, 0.125, 1.0, 1.0, 0.0]


def test_the_window_turns_with_the_agent_and_tells_lava_from_what_blocks() -> None:
    ahead, behind, right = 7, 16, 12  # places in the 24 cells: rows of five from far to near, without the agent's own
    for turned in range(4):
        (ax, ay), (rx, ry) = ((5, 4), (4, 5), (3, 4), (4, 3))[turned], ((4, 5), (3, 4), (4, 3), (5, 4))[turned]
        found = features(room((ax, ay, WALL), (rx, ry, LAVA), dir=turned))
        assert found[:24].nonzero()[0].tolist() == [ahead]
        assert found[24:48].nonzero()[0].tolist() == [right]
    assert features(room(pos=(1, 4), dir=0))[behind] == 1.0, "the wall at its back"
    corner = features(room(pos=(1, 1), dir=3))
    assert corner[:24].sum() == 16, "beyond the level all is wall"


def test_a_gap_is_a_way_through_lava() -> None:
    river = [(x, 3, LAVA) for x in range(1, 8) if x != 5]
    assert told(room(*river, dir=3), "gap") == [1.0, 0.125, 0.125, 1.0, 1.0, 0.0]
    assert told(room(*river, (5, 3, LAVA), dir=3), "gap") == [0.0] * 6
    at_the_wall = [(x, 3, LAVA) for x in range(1, 7)]
    assert told(room(*at_the_wall, dir=3), "gap")[0] == 1.0
    assert told(room((4, 3, LAVA)), "gap")[0] == 0.0, "one lava cell is no river"


def test_what_is_carried() -> None:
    for code, at in ((EMPTY, 0), (KEY, 1), (codes.pack(codes.BALL, 2), 2), (codes.pack(codes.BOX, 1), 3)):
        assert features(room()._replace(carrying=code))[-4:].tolist() == [float(k == at) for k in range(4)]
