"""Tables of tasks: those made here, and those enumerated from environments."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest

import agentgym
from agentgym.errors import UsageError
from agentgym.rewards.audit import MDP, aliased, corridor, enumerate_mdp, garnet, slippery

DOORKEY = "agentgym/Grid-DoorKey-5x5-v0"
LAVA = "agentgym/Grid-LavaCrossing-S9N1-v0"


def test_a_corridor_is_what_it_looks_like() -> None:
    mdp = corridor(4)
    assert mdp.target[:, :, 0].tolist() == [[0, 1, 0], [0, 2, 1], [1, 3, 2], [2, 3, 3]]
    assert mdp.distance.tolist() == [3, 2, 1, 0]
    assert mdp.progress.tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1])


def test_a_random_graph_can_be_solved_without_dying() -> None:
    mdp = garnet(12, seed=3)
    assert mdp.probability.sum(axis=2) == pytest.approx(np.ones((12, 3)))
    assert np.isfinite(mdp.distance[~mdp.dead]).all()
    assert (mdp.progress[mdp.success] == 1.0).all()
    assert (mdp.progress[~mdp.success] < 1.0).all()
    assert not np.array_equal(mdp.target, garnet(12, seed=4).target)
    with pytest.raises(UsageError, match="at least 4"):
        garnet(3)


def test_slips_share_an_action_out_among_those_allowed(hall: MDP) -> None:
    wet = slippery(hall, 0.3)
    assert wet.probability[0, 1] == pytest.approx([0.1, 0.8, 0.1])
    assert wet.target[1, 0].tolist() == wet.target[1, 2].tolist() == [0, 2, 1]
    assert wet.probability.sum(axis=2) == pytest.approx(np.ones((5, 3)))


def test_slips_are_added_once(trap: MDP) -> None:
    with pytest.raises(UsageError, match="deterministic"):
        slippery(trap, 0.1)


def test_aliasing_merges_anchors_and_nothing_else() -> None:
    mdp = corridor(10)
    confused = aliased(mdp, 0.5)
    assert len(np.unique(confused.anchor)) == 10 - 2  # nine open cells, half of them: two pairs
    assert confused.target is mdp.target


def test_distance_is_infinite_where_there_is_no_way() -> None:
    mdp = enumerate_mdp(LAVA, seed=3)
    assert np.isinf(mdp.distance[mdp.dead]).all()
    assert (mdp.distance[mdp.success] == 0).all()


@pytest.mark.parametrize(("env_id", "seed"), [(DOORKEY, 0), (LAVA, 3), ("agentgym/Grid-KeyCorridor-S3R1-v0", 2)])
def test_the_tables_tell_what_the_environment_does(env_id: str, seed: int) -> None:
    """Walk in both from a fresh reset, half at random and half towards the end, with time and latches as they come."""
    mdp = enumerate_mdp(env_id, seed=seed)
    env = gymnasium.make(env_id, disable_env_checker=True).unwrapped
    assert isinstance(env, agentgym.ProcessEnv)
    rng = np.random.default_rng(1)
    for _ in range(30):
        _, info = env.reset(seed=seed)
        state, latched, terminated = mdp.start, info["process"]["milestones"], False
        while not terminated:
            allowed = np.flatnonzero(mdp.allowed[state])
            assert {mdp.labels[a] for a in allowed} == set(env.admissible() or ())
            nearest = allowed[np.argmin(mdp.distance[mdp.target[state, allowed, 0]])]
            action = int(rng.choice([rng.choice(allowed), nearest]))
            _, reward, terminated, truncated, info = env.step(mdp.labels[action])
            assert not truncated
            record = info["process"]
            latched |= int(mdp.milestones[state, action, 0])
            assert record["danger"] == mdp.danger[state, action, 0]
            state = int(mdp.target[state, action, 0])
            assert record["anchor"] == mdp.anchor[state]
            assert record["progress"] == mdp.progress[state]
            assert record["milestones"] == latched
            assert (terminated, bool(reward)) == (mdp.over[state], mdp.success[state])
    env.close()


def test_a_world_with_too_many_states_is_refused() -> None:
    with pytest.raises(UsageError, match=r"more than 50 states.*monte_carlo_advantages"):
        enumerate_mdp(DOORKEY, max_states=50)
