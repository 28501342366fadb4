"""Tree rollouts: episodes that share their first steps and then part, for methods that compare continuations.

Every episode of a tree lives in one environment: it is played to its end, then the latest fork is restored and played,
and so on (depth first; any forkable world will do, but not behind wrappers that change what is observed, which know
nothing of snapshots). Several trees play side by side, and their requests form batches.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, cast

import numpy as np

from agentgym.agents.loop.collector import spec_of
from agentgym.agents.loop.ledger import Ledger, Live
from agentgym.agents.loop.stage import Began, Fault, Reset, Stage
from agentgym.agents.loop.types import Job, Rollouts
from agentgym.agents.policy.types import Policy, Request
from agentgym.errors import UsageError, WorldError

__all__ = ["collect_trees"]


def collect_trees(
    policy: Policy,
    jobs: Iterable[Job],
    *,
    branching: int = 2,
    branch_at: Sequence[int] = (1,),
    slots: int = 64,
    seed: int = 0,
    weights_version: int = 0,
    keep: Sequence[str] = (),
) -> Rollouts:
    """Play one tree for each job, in the calling thread.

    At every step of ``branch_at`` that it reaches, an episode parts into ``branching``: itself, and branches that share
    what came before. A branch is a trajectory of its own whose rows begin where it parts (`StepTable.lineage` walks
    back to the root), with ``parent`` and ``parent_t`` naming the last step shared. Its outcome is that of the whole
    episode. Its world's randomness from there on is its own, keyed by (``seed``, trajectory).

    Args:
        policy: as in `collect`. One that remembers what it has seen must have ``fork(parent, child)``: the episode
            ``child`` goes on with a copy of what is remembered of ``parent``.
        jobs: the roots. A tree numbers its trajectories ``job.trajectory``, ``job.trajectory + 1``, … in the order in
            which they part: leave ``branching ** len(branch_at)`` numbers for each.
        branching: continuations at a fork, at least 2.
        branch_at: times t >= 1 at which episodes part, just before their step t.
        slots: trees in flight.
        seed, weights_version, keep: as in `collect`.

    Raises:
        UsageError: the world cannot be forked, or an option is out of range.
        WorldError: an environment broke; trees are not continued without a part of them.
    """
    if branching < 2 or slots < 1 or any(t < 1 for t in branch_at):
        raise UsageError(
            f"branching must be at least 2, slots at least 1, and the times of branch_at at least 1, "
            f"got {branching}, {slots}, {branch_at}"
        )
    ledger = Ledger(weights_version=weights_version, keep=keep, on_episode=None)
    queue = iter(jobs)
    began, acting = time.perf_counter(), 0.0
    trees: list[_Tree] = []
    try:
        while True:
            for job in islice(queue, slots - len(trees)):
                trees.append(_Tree(policy, job, ledger, branching, frozenset(branch_at), seed))
            if not trees:
                break
            asked = time.perf_counter()
            decisions = policy.act([tree.request for tree in trees])
            acting += time.perf_counter() - asked
            for tree, decision in zip(trees, decisions, strict=True):
                tree.step(decision)
            trees = [tree for tree in trees if not tree.done]
    finally:
        for tree in trees:
            tree.close()
    return ledger.rollouts(time.perf_counter() - began, acting)


@dataclass(frozen=True)
class _Fork:
    """A branch that waits for its turn."""

    live: Live
    parent: int
    snapshot: Any


class _Tree:
    """One tree and its environment."""

    def __init__(
        self, policy: Policy, job: Job, ledger: Ledger, branching: int, branch_at: frozenset[int], seed: int
    ) -> None:
        self.policy, self.ledger, self.seed = policy, ledger, seed
        self.branching, self.branch_at = branching, branch_at
        self.wants_admissible = bool(getattr(policy, "wants_admissible", False))
        self.wants_env = bool(getattr(policy, "wants_env", False))
        self.stage = Stage()
        self.forks: list[_Fork] = []
        self.numbers = iter(range(job.trajectory + 1, job.trajectory + branching ** len(branch_at)))
        self.done = False
        reply = self.stage.reset(Reset(spec_of(job.env), job.kwargs, job.seed, job.options, self.wants_admissible))
        if isinstance(reply, Fault):
            self.stage.close()
            raise WorldError(f"tree {job.trajectory} ({job.env}, seed {job.seed}): {reply.error}")
        self.began = reply
        self.env = cast(Any, self.stage.env).unwrapped
        if not self.env.forkable:
            self.stage.close()
            raise UsageError(f"{job.env} cannot be forked: its world has no snapshots; use collect")
        self.live = Live(job, 0, None)
        ledger.begin(self.live, reply)
        self._ask(reply.observation, reply.admissible)

    def step(self, decision: Any) -> None:
        """Carry out the decision; at an end, go on with the latest fork."""
        live = self.live
        live.decision = decision
        reply = self.stage.step(decision.action)
        if isinstance(reply, Fault):
            raise WorldError(f"trajectory {live.job.trajectory} ({live.job.env}, seed {live.job.seed}): {reply.error}")
        self.ledger.step(live, reply)
        if not (reply.terminated or reply.truncated):
            if live.t in self.branch_at:
                self._part()
            self._ask(reply.observation, reply.admissible)
            return
        self.ledger.finish(live, reply.hidden)
        self.policy.end(live.job.trajectory)
        if self.forks:
            self._resume(self.forks.pop())
        else:
            self.done = True
            self.stage.close()

    def close(self) -> None:
        """Give up what is left of the tree."""
        for live in [self.live, *(fork.live for fork in self.forks)]:
            self.policy.end(live.job.trajectory)
        self.stage.close()

    def _part(self) -> None:
        live = self.live
        snapshot = self.env.snapshot()
        fork = getattr(self.policy, "fork", None)
        for child in islice(self.numbers, self.branching - 1):
            branch = Live(replace(live.job, trajectory=child), 0, None)
            branch.t, branch.goal, branch.reward = live.t, live.goal, live.reward
            self.forks.append(_Fork(branch, live.job.trajectory, snapshot))
            if fork is not None:
                fork(live.job.trajectory, child)

    def _resume(self, fork: _Fork) -> None:
        live = self.live = fork.live
        chance = np.random.SeedSequence([self.seed, live.job.trajectory]).generate_state(1)
        observation, info = self.env.restore(fork.snapshot, seed=int(chance[0]))
        info = {**info, "task": self.began.info["task"], "goal": live.goal}
        admissible = self.env.admissible() if self.wants_admissible else None
        began = Began(observation, info, self.began.horizon, self.began.event_codes, admissible)
        self.ledger.begin(live, began, parent=fork.parent)
        self._ask(observation, admissible)

    def _ask(self, observation: Any, admissible: tuple[Any, ...] | None) -> None:
        live, env = self.live, self.stage.env if self.wants_env else None
        self.request = Request(
            live.job.trajectory, live.t, observation, live.goal, admissible, live.job.greedy, self.seed, env
        )
