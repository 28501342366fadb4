"""A corridor whose place breaks on chosen seeds, and policies to walk in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import gymnasium
import numpy as np

from agentgym import Events, ProcessEnv
from agentgym.agents.loop import Job
from agentgym.agents.policy.types import Decision, Request, Segment, uniform
from agentgym.errors import WorldError
from agentgym.registration import register
from tests.toy import CorridorTask, CorridorWorld

FRAGILE = "toy/Fragile-v0"
FOREIGN = "toy/Foreign-v0"
RELEASE = threading.Event()
"""Lets the steps return that a test holds up in a thread of its own process."""


class FragileWorld(CorridorWorld):
    """The corridor; ``faults`` says on which seed what breaks, in the second step unless it says reset.

    Kinds: "reset", "step", "make" (raise), "world" (WorldError), "exit" (the process dies), "hang" (computes for ever),
    "sleep:<seconds>" (is slow), "hold" (waits for `RELEASE`), "child" (starts a process, then hangs), "unpicklable",
    "nan" (rewards with NaN).
    """

    def __init__(self, faults: Mapping[int, str] | None = None, close_log: str = "", fail_to_make: str = "") -> None:
        super().__init__()
        if fail_to_make:
            raise RuntimeError(fail_to_make)
        self._faults = dict(faults or {})
        self._close_log = close_log

    def reset(self, setup: Any, rng: np.random.Generator, seed: int | None = None) -> None:
        super().reset(setup, rng, seed)
        self._fault = self._faults.get(seed if seed is not None else -1, "")
        self._steps = 0
        if self._fault == "reset":
            raise RuntimeError("no reset today")

    def act(self, action: Any) -> Any:
        self._steps += 1
        if self._steps == 2 and self._fault:
            self._break(self._fault)
            if self._fault == "nan":
                return Events(reward=float("nan"))
        return super().act(action)

    def observe(self) -> Any:
        seen = super().observe()
        if self._steps == 2 and self._fault == "unpicklable":
            seen["error"] = lambda: "nobody can send this"
        return seen

    def _break(self, kind: str) -> None:
        if kind == "step":
            raise ValueError("the step went wrong")
        if kind == "world":
            raise WorldError("the place is gone")
        if kind == "exit":
            os._exit(3)
        if kind == "child":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)  # toy-grandchild"])
        if kind in ("hang", "child"):
            while True:
                pass
        if kind == "hold":
            RELEASE.wait()
        if kind.startswith("sleep:"):
            time.sleep(float(kind.removeprefix("sleep:")))

    def close(self) -> None:
        if self._close_log:
            with open(self._close_log, "a") as log:
                log.write("closed\n")


def make_fragile(faults: Mapping[int, str] | None = None, **options: Any) -> ProcessEnv[Any]:
    """The environment; ``options`` are the world's."""
    reward: Any = "world" if "nan" in (faults or {}).values() else "success"
    return ProcessEnv(FragileWorld(faults, **options), CorridorTask(), reward=reward)


class Foreign(gymnasium.Env[Any, Any]):
    """Any environment without a process record."""

    observation_space = gymnasium.spaces.Discrete(2)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[int, dict[str, Any]]:
        return 0, {}


def register_worlds() -> None:
    """Make the ids known; again does no harm."""
    for id, entry in ((FRAGILE, make_fragile), (FOREIGN, Foreign)):
        if id not in gymnasium.registry:
            register(id, f"{__name__}:{entry.__name__}", family="broken", summary="for tests of the loop")


class Walker:
    """Goes right three times of four; speaks in tokens; remembers which episodes it was asked about and told to end.

    Its choices hang on `uniform` alone, so that the order of arrival must not matter.
    """

    wants_admissible = True

    def __init__(self) -> None:
        self.open: dict[int, int] = {}
        self.ended: list[int] = []
        self.batches: list[list[tuple[int, int]]] = []

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        self.batches.append([(r.episode, r.step) for r in requests])
        return [self._decide(r) for r in requests]

    def end(self, episode: int) -> None:
        self.open.pop(episode, None)
        self.ended.append(episode)

    def _decide(self, request: Request) -> Decision:
        assert request.step == self.open.get(request.episode, 0), "steps of an episode come in order, without a gap"
        self.open[request.episode] = request.step + 1
        assert request.admissible == ("left", "right", "wait")
        assert request.goal.startswith("Walk to cell")
        u = float(uniform(request.seed, request.episode, request.step)[0])
        k = 1 if request.greedy or u < 0.75 else 0 if u < 0.85 else 2
        logprob = np.array([np.log((0.1, 0.75, 0.15)[k])])
        segment = Segment(0, np.array([request.step, 7]), np.array([k]), logprob, logprob)
        return Decision(request.admissible[k], segment, value=u if request.step else float("nan"), text=f"go {k}")


def jobs(n: int, *, env: str = FRAGILE, first: int = 0, **fields: Any) -> list[Job]:
    """Episodes ``first`` … ``first + n - 1``, with their number as seed."""
    return [Job(env, k, k, group=k // 2, **fields) for k in range(first, first + n)]
