"""From a registered environment to an `MDP`: breadth-first over snapshots, every applicable action once."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import gymnasium
import numpy as np

from agentgym.env import ProcessEnv, Snapshot
from agentgym.errors import UsageError
from agentgym.process import read_record
from agentgym.rewards.audit.mdp import MDP

__all__ = ["enumerate_mdp", "open_env"]

_WALKS = 16  # random walks on which the finished table is compared with the environment


def open_env(env_id: str, kwargs: Mapping[str, Any] | None = None) -> ProcessEnv[Any]:
    """The `ProcessEnv` behind an id.

    Raises:
        UsageError: it has none, cannot be forked, or has no success.
    """
    env = gymnasium.make(env_id, disable_env_checker=True, **(kwargs or {})).unwrapped
    if not isinstance(env, ProcessEnv):
        raise UsageError(f"{env_id} is no ProcessEnv, so the audit cannot fork it; make it of a World and a Task")
    if not env.forkable:
        env.close()
        raise UsageError(f"{env_id} cannot be forked (no snapshot and restore in its world); the audit needs forks")
    if not env.task.has_success:
        env.close()
        raise UsageError(f"{env_id} is endless (has_success=False); the audit measures credit for success")
    return env


@dataclass
class _Table:
    """States and transitions as they are found."""

    anchors: dict[int, int] = field(default_factory=dict)
    progress: list[float] = field(default_factory=list)
    success: list[bool] = field(default_factory=list)
    over: list[bool] = field(default_factory=list)
    place: list[tuple[float, float] | None] = field(default_factory=list)
    actions: dict[Any, int] = field(default_factory=dict)
    moves: dict[tuple[int, int], tuple[int, int, bool]] = field(default_factory=dict)

    def state(self, env: ProcessEnv[Any], info: Mapping[str, Any], terminated: bool) -> tuple[int, bool]:
        """The number of the state the environment stands in, and whether it is new."""
        record = read_record(info)
        found = self.anchors.get(record["anchor"])
        if found is None:
            if info["success"] and not terminated:
                raise UsageError(f"task {env.task.id} goes on after success; the audit needs success to end an episode")
            self.anchors[record["anchor"]] = found = len(self.progress)
            self.progress.append(record["progress"])
            self.success.append(bool(info["success"]))
            self.over.append(terminated)
            self.place.append(_place(env.peek()))
            return found, True
        was = (self.progress[found], self.success[found], self.over[found])
        now = (record["progress"], bool(info["success"]), terminated)
        if was != now:
            raise UsageError(
                f"task {env.task.id}: one anchor stands for two states, (progress, success, over) = {was} and {now}; "
                "its anchor_view must cover all that affects what happens next"
            )
        return found, False


def enumerate_mdp(
    env_id: str, seed: int = 0, kwargs: Mapping[str, Any] | None = None, *, max_states: int = 20_000
) -> MDP:
    """All states that can be reached in one episode of an environment, as tables.

    Two states are one where their anchors are equal. Time limits are left out (a horizon is part of the question, see
    `agentgym.rewards.audit.exact`), latched milestones become the bits that each transition reaches. The finished table
    is compared with the environment on random walks.

    Args:
        env_id: registered; forkable, deterministic, and listing its admissible actions or with a Discrete action space.
        seed: of the episode.
        kwargs: for ``gymnasium.make``.
        max_states: give up beyond.

    Raises:
        UsageError: the environment cannot be forked, listed or told apart by anchors, is random, or has more states.
    """
    env = open_env(env_id, kwargs)
    try:
        _, info = env.reset(seed=seed)
        table = _Table()
        start, _ = table.state(env, info, False)
        root = _timeless(env.snapshot())
        queue: deque[tuple[int, Snapshot]] = deque([(start, root)])
        while queue:
            state, here = queue.popleft()
            for action in _actions(env, env_id, here):
                env.restore(here)
                _, _, terminated, _, info = env.step(action)
                number = table.actions.setdefault(action, len(table.actions))
                next_state, new = table.state(env, info, terminated)
                record = read_record(info)
                table.moves[state, number] = (next_state, record["milestones"], record["danger"])
                if len(table.progress) > max_states:
                    raise UsageError(
                        f"{env_id} seed {seed} has more than {max_states} states; raise max_states, or estimate with "
                        "monte_carlo_advantages"
                    )
                if new and not terminated:
                    queue.append((next_state, _timeless(env.snapshot())))
        mdp = _tables(f"{env_id.removeprefix('agentgym/').removesuffix('-v0')} s{seed}", start, table)
        _compare(env, env_id, root, mdp)
    finally:
        env.close()
    return mdp


def _timeless(snapshot: Snapshot) -> Snapshot:
    """The same point as if the episode began here: no time used up, no milestone reached."""
    return replace(snapshot, t=0, milestones=0)


def _actions(env: ProcessEnv[Any], env_id: str, here: Snapshot) -> tuple[Any, ...]:
    env.restore(here)
    listed = env.admissible()
    if listed is not None:
        return listed
    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        first = int(env.action_space.start)
        return tuple(range(first, first + int(env.action_space.n)))
    raise UsageError(f"{env_id} neither lists admissible actions nor has a Discrete action space: nothing to enumerate")


def _place(state: Any) -> tuple[float, float] | None:
    """Where the agent stands, if the state is a picture of cells: ``pos`` in rows of ``width``."""
    pos, width = getattr(state, "pos", None), getattr(state, "width", None)
    if not isinstance(pos, int) or not isinstance(width, int):
        return None
    y, x = divmod(pos, width)
    return float(x), float(y)


def _tables(name: str, start: int, table: _Table) -> MDP:
    states, actions = len(table.progress), len(table.actions)
    target = np.zeros((states, actions, 1), dtype=np.int64)
    allowed = np.zeros((states, actions), dtype=np.bool_)
    bits = np.zeros((states, actions, 1), dtype=np.int64)
    danger = np.zeros((states, actions, 1), dtype=np.bool_)
    for (state, action), (next_state, reached, unsafe) in table.moves.items():
        allowed[state, action] = True
        target[state, action, 0], bits[state, action, 0], danger[state, action, 0] = next_state, reached, unsafe
    success, over = np.array(table.success), np.array(table.over)
    places = [p for p in table.place if p is not None]
    return MDP(
        name=name,
        start=start,
        allowed=allowed,
        target=target,
        probability=allowed[:, :, None].astype(np.float64),
        success=success,
        dead=over & ~success,
        anchor=np.array(list(table.anchors), dtype=np.int64),
        progress=np.array(table.progress),
        milestones=bits,
        danger=danger,
        labels=tuple(table.actions),
        place=np.array(places) if len(places) == states else None,
    )


def _compare(env: ProcessEnv[Any], env_id: str, root: Snapshot, mdp: MDP) -> None:
    """Walk at random in both; a difference means randomness, or anchors that hide something."""
    rng = np.random.default_rng(0)
    for walk in range(_WALKS):
        env.restore(root, seed=walk)
        state = mdp.start
        for _ in range(min(env.horizon - 1, 200)):
            if mdp.over[state]:
                break
            action = int(rng.choice(np.flatnonzero(mdp.allowed[state])))
            _, _, _, _, info = env.step(mdp.labels[action])
            state = int(mdp.target[state, action, 0])
            if read_record(info)["anchor"] != mdp.anchor[state]:
                raise UsageError(
                    f"{env_id}: the same action from the same anchor led elsewhere; the world is random, or its "
                    "anchors leave something out. Estimate with monte_carlo_advantages instead"
                )
