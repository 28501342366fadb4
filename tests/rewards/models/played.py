"""Rollouts that learned models are tried on: DoorKey-6x6 by an oracle whose hand slips."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from agentgym.agents.loop import Job, collect
from agentgym.agents.policy.simple import OraclePolicy, RandomPolicy
from agentgym.agents.policy.types import Decision, Request, uniform
from agentgym.steps import StepTable

ENV = "agentgym/Grid-DoorKey-6x6-v0"


class SlippingOracle:
    """The oracle's action, or a random one: with a probability that differs from episode to episode.

    It slips in a share of (1, 2, .., 5) fifths of the steps, by turns; the oracle plans anew from wherever that leads.
    """

    wants_env = True
    wants_admissible = True

    def __init__(self) -> None:
        self.oracle, self.random = OraclePolicy(), RandomPolicy()

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """What is done this time."""
        right, wrong = self.oracle.act(requests), self.random.act(requests)
        slips = [uniform(r.seed, r.episode, r.step)[0] < (r.episode % 5 + 1) / 5 for r in requests]
        return [w if slip else r for slip, w, r in zip(slips, wrong, right, strict=True)]

    def end(self, episode: int) -> None:
        """Both forget it."""
        self.oracle.end(episode)
        self.random.end(episode)


def played(seeds: Sequence[int], *, tries: int = 5, first: int = 0, seed: int = 0, max_steps: int = 40) -> StepTable:
    """``tries`` episodes of every task seed (a group), with observation and action texts."""
    jobs = [
        Job(ENV, s, first + k * tries + i, group=s, kwargs={"view": "memory", "max_steps": max_steps})
        for k, s in enumerate(seeds)
        for i in range(tries)
    ]
    return collect(SlippingOracle(), jobs, seed=seed, keep=("text", "action")).steps


def elsewhere(steps: StepTable, seen: StepTable) -> StepTable:
    """The trajectories that begin in a state in which none of ``seen`` does: layouts held out."""
    new = ~np.isin(steps.anchor[steps.starts], seen.anchor[seen.starts])
    return steps.only(steps.trajectory[steps.starts][new])


def opening(steps: StepTable, length: int) -> StepTable:
    """The first ``length`` steps of all trajectories that are longer, with their outcomes.

    An episode ends when it succeeds, so its length alone gives the outcome away; of openings of one length it does not.
    """
    longer = steps.only(steps.trajectory[steps.starts][steps.lengths > length])
    return longer[longer.t < length]
