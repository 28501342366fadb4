"""What passes between a loop and a policy: requests in, decisions out, always in batches.

A policy is anything with ``act(list[Request]) -> list[Decision]``. The loop owns environments and time; the policy owns
the context of every episode (what the model has been shown so far) and forgets it when the loop calls ``end``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

__all__ = ["Decision", "Policy", "Request", "Segment", "uniform"]


@dataclass(frozen=True, slots=True)
class Request:
    """One environment waits for one action.

    Attributes:
        episode: number of the rollout inside the run; the key of the policy's context and of its randomness.
        step: time step t inside the episode, from 0. Steps of one episode arrive in order, with no gap.
        observation: the environment's observation (a dict with ``text``, an array, or what the space holds).
        goal: the task in words (constant in an episode).
        admissible: the actions that are applicable now, or None when the world does not list them.
        greedy: take the most probable action instead of sampling.
        seed: seed of the run; with ``episode``, ``step`` and the token's index it keys the randomness (see `uniform`).
        env: the environment itself for in-process policies that need it (oracle); None when it lives elsewhere.
    """

    episode: int
    step: int
    observation: Any
    goal: str = ""
    admissible: tuple[Any, ...] | None = None
    greedy: bool = False
    seed: int = 0
    env: Any = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Segment:
    """The exact tokens the model saw and produced for one step, inside one segment of its context.

    A segment is one unbroken token sequence; a context policy that drops something starts the next segment.

    Attributes:
        index: number of the segment inside the episode, from 0.
        prompt: int64[p], the tokens appended to the segment before this step's action (the whole prompt when the
            segment is new).
        action: int64[a], the tokens of the action that was really taken.
        logprob: float64[a], log-probability of each under the raw model (temperature 1, whole vocabulary; with scored
            candidates: the raw model's, not renormalised over candidates).
        logprob_behaviour: float64[a], log-probability of each under the distribution really sampled from (temperature,
            top-p, candidates). Sums to the log-probability of the action; for scored candidates it stands on the first
            token and the rest are 0.
        candidates: the scored candidate actions as token tuples, in order; None when the action was generated.
        chosen: index of the action among the candidates, or -1.
    """

    index: int
    prompt: npt.NDArray[np.int64]
    action: npt.NDArray[np.int64]
    logprob: npt.NDArray[np.float64]
    logprob_behaviour: npt.NDArray[np.float64]
    candidates: tuple[tuple[int, ...], ...] | None = None
    chosen: int = -1


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy answers to one request.

    Attributes:
        action: goes to ``env.step`` as it is.
        segment: the tokens behind it, or None for policies without tokens.
        value: the critic's estimate of the return from here, or NaN.
        logprob: log-probability of the action under the behaviour distribution, or NaN when unknown.
        text: what the model said before the action was parsed out of it ('' when the same).
    """

    action: Any
    segment: Segment | None = None
    value: float = float("nan")
    logprob: float = float("nan")
    text: str = ""


@runtime_checkable
class Policy(Protocol):
    """Anything that turns requests into decisions, one for each, in the same order.

    Two optional attributes say what requests should carry: ``wants_admissible`` (the admissible actions, where the
    world lists them) and ``wants_env`` (the environment itself, which must then live in this process).
    """

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        """Decide for every request. Must not depend on how requests were batched (up to rounding)."""
        ...

    def end(self, episode: int) -> None:
        """The episode is over (or was abandoned): forget its context. Unknown episodes are ignored."""
        ...


def uniform(seed: int, episode: int, step: int, token: int = 0, n: int = 1) -> npt.NDArray[np.float64]:
    """``n`` numbers in [0, 1) that depend on (run, episode, step, token) alone, never on the order of arrival."""
    key = np.array([seed & (2**64 - 1), episode & (2**64 - 1)], dtype=np.uint64)
    counter = np.array([0, 0, step & (2**64 - 1), token & (2**64 - 1)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter)).random(n)
