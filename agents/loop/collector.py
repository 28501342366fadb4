"""The scheduler: whichever environments are ready form the next batch, and a finished episode's place is taken at once.

The loop never waits when it could act: it takes every reply that has come, acts on all who wait, and while the policy
computes further replies arrive and make the next batch (so batches grow by themselves when the policy is the slower
side). With ``deterministic=True`` it acts only when every episode in flight has replied, always in the order of slots:
then a batch is a function of the jobs alone, floating-point sums come out bit for bit the same, and one slow
environment holds up all.
"""

from __future__ import annotations

import heapq
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec

from agentgym.agents.loop.ledger import Ledger, Live
from agentgym.agents.loop.seats import LocalSeats, Seat
from agentgym.agents.loop.stage import Began, Reply, Reset, Stepped
from agentgym.agents.loop.types import Ended, Job, Rollouts
from agentgym.agents.policy.types import Policy, Request
from agentgym.errors import UsageError

__all__ = ["Collector", "collect"]


class Collector:
    """Keeps environments (and their workers) alive between calls of `collect`; use it as a context manager.

    Args:
        slots: episodes in flight.
        workers: 0: environments are stepped in the calling thread, one after the other.
        step_timeout, reset_timeout: seconds an environment may take; only where it does not run in the calling thread.
    """

    def __init__(
        self, *, slots: int = 64, workers: int = 0, step_timeout: float = 60.0, reset_timeout: float = 300.0
    ) -> None:
        if slots < 1 or workers < 0:
            raise UsageError(f"slots must be at least 1 and workers at least 0, got {slots} and {workers}")
        self._slots = slots
        self._workers = workers
        self._seats = LocalSeats(slots)

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close every environment and worker; further calls do nothing."""
        self._seats.close()

    def collect(
        self,
        policy: Policy,
        jobs: Iterable[Job],
        *,
        deterministic: bool = False,
        seed: int = 0,
        weights_version: int = 0,
        on_episode: Callable[[Ended], object] | None = None,
        keep: Sequence[str] = (),
    ) -> Rollouts:
        """Play every job to its end.

        Args:
            policy: decides; is told of every episode's end. Its attributes ``wants_admissible`` and ``wants_env``
                (False when missing) fill `Request.admissible` and `Request.env`.
            jobs: taken as places become free; ``trajectory`` must be unique.
            deterministic: fixed batches (see the module).
            seed: of the run; keys the policy's randomness.
            weights_version: written into the tables.
            on_episode: called after each episode.
            keep: text columns to keep as extras: any of "text", "action", "said", "error".

        Raises:
            UsageError: an environment does not exist, cannot be made as asked, or has no process record.
        """
        play = _Play(self._seats, self._slots, policy, jobs, deterministic, seed)
        play.ledger = Ledger(weights_version=weights_version, keep=keep, on_episode=on_episode)
        return play.run()


def collect(
    policy: Policy,
    jobs: Iterable[Job],
    *,
    slots: int = 64,
    workers: int = 0,
    step_timeout: float = 60.0,
    reset_timeout: float = 300.0,
    deterministic: bool = False,
    seed: int = 0,
    weights_version: int = 0,
    on_episode: Callable[[Ended], object] | None = None,
    keep: Sequence[str] = (),
) -> Rollouts:
    """`Collector.collect` for one call: environments are made, played and closed."""
    with Collector(slots=slots, workers=workers, step_timeout=step_timeout, reset_timeout=reset_timeout) as collector:
        return collector.collect(
            policy,
            jobs,
            deterministic=deterministic,
            seed=seed,
            weights_version=weights_version,
            on_episode=on_episode,
            keep=keep,
        )


class _Play:
    """One call of `collect`."""

    ledger: Ledger

    def __init__(
        self,
        seats: LocalSeats,
        slots: int,
        policy: Policy,
        jobs: Iterable[Job],
        deterministic: bool,
        seed: int,
    ) -> None:
        self.seats, self.policy, self.deterministic, self.seed = seats, policy, deterministic, seed
        self.jobs = iter(jobs)
        self.free = list(range(slots))
        self.live: dict[Seat, Live] = {}
        self.waiting: list[tuple[int, Live, Request]] = []
        self.wants_admissible = bool(getattr(policy, "wants_admissible", False))
        self.wants_env = bool(getattr(policy, "wants_env", False))
        self.specs: dict[str, EnvSpec] = {}
        self.acting = 0.0

    def run(self) -> Rollouts:
        began = time.perf_counter()
        try:
            self.fill()
            while self.live:
                pending = len(self.live) > len(self.waiting)
                if pending and (self.deterministic or not self.waiting):
                    self.take(self.seats.poll(None))
                elif pending:
                    self.take(self.seats.poll(0.0))
                if not self.deterministic or len(self.waiting) == len(self.live):
                    self.fill()
                ready = len(self.waiting) == len(self.live) if self.deterministic else bool(self.waiting)
                if ready and self.waiting:
                    self.act()
        finally:
            for seat, live in self.live.items():
                self.seats.abandon(seat)
                self.policy.end(live.job.trajectory)
        return self.ledger.rollouts(time.perf_counter() - began, self.acting)

    def fill(self) -> None:
        """Give every free slot the next job."""
        while self.free and (job := next(self.jobs, None)) is not None:
            order = Reset(self.spec(job.env), job.kwargs, job.seed, job.options, self.wants_admissible)
            seat = self.seats.take(job.env, job.kwargs)
            self.live[seat] = Live(job, heapq.heappop(self.free), seat)
            self.seats.reset(seat, order)

    def take(self, replies: list[tuple[Seat, Reply]]) -> None:
        """Write down what came and turn it into requests."""
        for seat, reply in replies:
            live = self.live[seat]
            if isinstance(reply, Stepped):
                self.ledger.step(live, reply)
                if reply.terminated or reply.truncated:
                    self.ledger.finish(live, reply.hidden)
                    self.leave(seat, live)
                    continue
            elif isinstance(reply, Began):
                self.ledger.begin(live, reply)
            elif reply.usage:
                raise UsageError(reply.error)
            else:
                self.ledger.fail(live, reply.error)
                self.leave(seat, live)
                continue
            request = Request(
                live.job.trajectory,
                live.t,
                reply.observation,
                live.goal,
                reply.admissible,
                live.job.greedy,
                self.seed,
                seat.env if self.wants_env else None,
            )
            self.waiting.append((live.slot, live, request))

    def leave(self, seat: Seat, live: Live) -> None:
        del self.live[seat]
        self.seats.give_back(seat)
        heapq.heappush(self.free, live.slot)
        self.policy.end(live.job.trajectory)

    def act(self) -> None:
        """One batch: everyone who waits, in the order of slots."""
        batch, self.waiting = sorted(self.waiting, key=_slot), []
        began = time.perf_counter()
        decisions = self.policy.act([request for _, _, request in batch])
        self.acting += time.perf_counter() - began
        for (_, live, _), decision in zip(batch, decisions, strict=True):
            live.decision = decision
            self.seats.step(live.seat, decision.action)

    def spec(self, env: str) -> EnvSpec:
        if env not in self.specs:
            module, _, name = env.rpartition(":")
            if module:
                importlib.import_module(module)
            try:
                self.specs[env] = gymnasium.spec(name)
            except gymnasium.error.Error as error:
                raise UsageError(str(error)) from error
        return self.specs[env]


def _slot(entry: tuple[int, Any, Any]) -> int:
    return entry[0]
