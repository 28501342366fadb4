"""The asynchronous loop beside a lockstep one: how busy the policy is, and episodes per second.

Sixty-four simulated environments whose steps take as long as those of a browser do: log-normal between 10 ms and 2 s,
most quick, some very slow (the environment sleeps; waiting is all that it simulates). The policy computes: a batch
costs 20 ms and 4 ms for each request, spent multiplying matrices. The peer steps all environments at once, as a
vectorised environment does: it waits for the slowest, lets the policy act on the whole batch, and gives a finished slot
its next episode at once. Both have the same policy, the same episodes with the same step times, and a thread for each
environment. The figures come from wall time, on purpose: waiting is what is compared. Two cores are enough, since one
computes at a time. The tail, in which the last episodes end and no more come, counts for both.

- ``busy``: share of wall time in which the policy computes.
- ``vs_lockstep``: episodes per second over the lockstep loop's.
- ``overhead_us``: what the loop itself costs per step in the calling thread, without environment and policy (CPU time).

    python benchmarks/loop.py [--quick] [--json] [--isolation process]
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import common
import gymnasium
import numpy as np

from agentgym import Episode, Events, ProcessEnv, Task, World
from agentgym.agents.loop import Collector, Job
from agentgym.agents.policy.types import Decision, Request

ENV = "bench/Waiting-v0"
SLOTS = 64
SHORTEST, LONGEST = 0.010, 2.0
BATCH_SECONDS, REQUEST_SECONDS = 0.020, 0.004


class WaitingWorld(World[int]):
    """Counts its steps; each takes a time drawn from the episode's random stream."""

    observation_space = gymnasium.spaces.Discrete(1000)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, wait: bool) -> None:
        self._wait = wait

    def reset(self, setup: Mapping[str, int], rng: np.random.Generator, seed: int | None = None) -> None:
        self._rng, self._steps = rng, 0

    def act(self, action: int) -> Events:
        self._steps += 1
        seconds = float(np.clip(self._rng.lognormal(np.log(0.06), 1.2), SHORTEST, LONGEST))
        if self._wait:
            time.sleep(seconds)
        return Events()

    def observe(self) -> int:
        return self._steps

    def state(self) -> int:
        return self._steps


class WaitingTask(Task[int]):
    """Solved after a number of steps that differs between episodes."""

    id = "waiting"
    horizon = 1000

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        return {"steps": int(rng.integers(4, 13))}

    def goal(self, params: Mapping[str, Any]) -> str:
        return "Wait."

    def success(self, state: int, ep: Episode) -> bool:
        return bool(state >= ep.params["steps"])

    def progress(self, state: int, ep: Episode) -> float:
        steps: int = ep.params["steps"]
        return min(1.0, state / steps)

    def anchor_view(self, state: int, ep: Episode) -> int:
        return state


def make(wait: bool = True) -> ProcessEnv[int]:
    """The environment; without waiting its steps cost microseconds."""
    return ProcessEnv(WaitingWorld(wait), WaitingTask())


class ComputingPolicy:
    """Always acts 0, after computing for as long as a small model would."""

    def __init__(self, compute: bool = True) -> None:
        self._compute = compute
        self._matrix = np.random.default_rng(0).normal(size=(64, 64)) / 8
        self.seconds = 0.0

    def act(self, requests: Sequence[Request]) -> list[Decision]:
        began = time.perf_counter()
        until = began + (BATCH_SECONDS + REQUEST_SECONDS * len(requests) if self._compute else 0.0)
        x = self._matrix
        while time.perf_counter() < until:
            x = np.tanh(x @ self._matrix)
        self.seconds += time.perf_counter() - began
        return [Decision(0) for _ in requests]

    def end(self, episode: int) -> None:
        """Nothing to forget."""


def lockstep(policy: ComputingPolicy, jobs: Iterable[Job]) -> float:
    """Episodes per second of the vectorised way: one step of all slots, then one batch, and so on."""
    queue = iter(jobs)
    environments = [gymnasium.make(ENV, disable_env_checker=True) for _ in range(SLOTS)]
    episodes = dict(zip(range(SLOTS), queue, strict=False))
    done = 0
    with ThreadPoolExecutor(SLOTS) as pool:
        observations = [env.reset(seed=episodes[k].seed)[0] for k, env in enumerate(environments)]
        clock = [0] * SLOTS
        began = time.perf_counter()
        while episodes:
            playing = list(episodes)
            requests = [Request(episodes[k].trajectory, clock[k], observations[k]) for k in playing]
            decisions = policy.act(requests)
            results = pool.map(
                lambda pair: environments[pair[0]].step(pair[1].action), zip(playing, decisions, strict=True)
            )
            for k, (observation, _, terminated, truncated, _) in zip(playing, list(results), strict=True):
                observations[k] = observation
                clock[k] += 1
                if terminated or truncated:
                    done += 1
                    clock[k] = 0
                    del episodes[k]
                    if (job := next(queue, None)) is not None:
                        episodes[k] = job
                        observations[k], _ = environments[k].reset(seed=job.seed)
        seconds = time.perf_counter() - began
    for env in environments:
        env.close()
    return done / seconds


def overhead(episodes: int) -> float:
    """CPU microseconds per step of the loop itself: playing in the calling thread minus a bare for-loop of the same."""
    jobs = [Job(ENV, k, k, kwargs={"wait": False}) for k in range(episodes)]
    policy = ComputingPolicy(compute=False)
    with Collector(slots=SLOTS) as collector:
        collector.collect(policy, jobs[:SLOTS])
        began = time.process_time()
        steps = len(collector.collect(policy, jobs).steps)
        ours = time.process_time() - began
    env = gymnasium.make(ENV, disable_env_checker=True, wait=False)
    began = time.process_time()
    for job in jobs:
        env.reset(seed=job.seed)
        over = False
        while not over:
            _, _, terminated, truncated, _ = env.step(0)
            over = terminated or truncated
    bare = time.process_time() - began
    return (ours - bare) / steps * 1e6


def main() -> None:
    arguments = common.parser(__doc__ or "")
    arguments.add_argument("--isolation", choices=("thread", "process"), default="thread")
    options = arguments.parse_args()
    gymnasium.register(ENV, entry_point="loop:make")  # by name, for processes; this folder is first on the path
    count = 4 * SLOTS if options.quick else 12 * SLOTS
    jobs = [Job(ENV, k, k) for k in range(count)]

    with Collector(slots=SLOTS, workers=SLOTS, isolation=options.isolation) as collector:
        collector.collect(ComputingPolicy(compute=False), [Job(ENV, k, count + k) for k in range(SLOTS)])
        found = collector.collect(ComputingPolicy(), jobs)
    asynchronous = count / found.seconds
    peer = lockstep(ComputingPolicy(), jobs)
    figures = {
        "busy": found.busy,
        "vs_lockstep": asynchronous / peer,
        "episodes_per_second": asynchronous,
        "lockstep_episodes_per_second": peer,
        "overhead_us": min(overhead(1000) for _ in range(3)),
        "episodes": count,
        "steps": len(found.steps),
    }
    print(f"{count} episodes, {figures['steps']} steps, {SLOTS} environments of {SHORTEST:g} to {LONGEST:g} s a step")
    print(f"  asynchronous {asynchronous:6.2f} episodes/s, policy busy {found.busy:.0%}")
    print(f"  lockstep     {peer:6.2f} episodes/s, so {figures['vs_lockstep']:.1f} times as many")
    print(f"  the loop itself costs {figures['overhead_us']:.1f} CPU-microseconds a step")
    common.finish("loop", figures, options)


if __name__ == "__main__":
    main()
