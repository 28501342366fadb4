"""The scheduler: whichever environments are ready form the next batch, and a finished episode's place is taken at once.

The loop never waits when it could act (unless told to, by ``least``): it takes every reply that has come, acts on all
who wait, and while the policy computes further replies arrive and make the next batch (so batches grow by themselves
when the policy is the slower side). With ``deterministic=True`` it acts only when every episode in flight has replied,
always in the order of slots: then a batch is a function of the jobs alone, floating-point sums come out bit for bit the
same, and one slow environment holds up all.
"""

from __future__ import annotations

import heapq
import importlib
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import gymnasium
from gymnasium.envs.registration import EnvSpec

from agentgym.agents.loop.ledger import Ledger, Live
from agentgym.agents.loop.local import LocalSeats
from agentgym.agents.loop.processes import ProcessSeats
from agentgym.agents.loop.seats import Seat, Seats
from agentgym.agents.loop.stage import Began, Reply, Reset, Stepped
from agentgym.agents.loop.threads import ThreadSeats
from agentgym.agents.loop.types import Ended, Job, Rollouts
from agentgym.agents.policy.types import Policy, Request
from agentgym.errors import PolicyError, UsageError

Isolation = Literal["process", "thread"]

__all__ = ["Collector", "collect", "spec_of"]


class Collector:
    """Keeps environments (and their workers) alive between calls of `collect`; use it as a context manager.

    Args:
        slots: most episodes in flight.
        workers: 0: environments are stepped in this process, one after the other, by one thread of their own. Else, how
            many processes (or threads), each with one environment; at most so many episodes are then in flight.
        isolation: "process" or "thread", for ``workers`` > 0 (see `agentgym.agents.loop.seats`).
        step_timeout, reset_timeout: seconds an environment may take (a reset: making it included); then its episode
            ends as an error. A process is killed. A thread is left behind with what it does; more than 16 of those
            (`left_behind` counts them) end the run. ``step_timeout=None``, for ``workers=0``: no time-outs, and the
            environments are stepped in the calling thread itself, as some that are bound to the main thread need.
        spare: environments that are kept beyond the slots while no episode is played in them. Jobs on several
            environments in turn then find theirs ready, where without any each would take another's place.
    """

    def __init__(
        self,
        *,
        slots: int = 64,
        workers: int = 0,
        isolation: Isolation = "process",
        step_timeout: float | None = 60.0,
        reset_timeout: float = 300.0,
        spare: int = 0,
    ) -> None:
        if slots < 1 or workers < 0 or spare < 0:
            raise UsageError(
                f"slots must be at least 1, workers and spare at least 0, got {slots}, {workers} and {spare}"
            )
        if isolation not in ("process", "thread"):
            raise UsageError(f"isolation must be 'process' or 'thread', got {isolation!r}")
        if step_timeout is None and workers:
            raise UsageError(f"step_timeout=None (no time-outs) is for workers=0, got workers={workers}; give seconds")
        if not ((step_timeout is None or step_timeout > 0) and reset_timeout > 0):
            raise UsageError(f"time-outs must be positive seconds, got {step_timeout} and {reset_timeout}")
        self.slots = min(slots, workers) if workers else slots
        self._workers = workers
        self._closed = False
        self._seats: Seats[Any]
        if not workers or step_timeout is None:
            self._seats = LocalSeats(self.slots, step_timeout, reset_timeout)
        else:
            kind = ProcessSeats if isolation == "process" else ThreadSeats
            self._seats = kind(self.slots, step_timeout, reset_timeout)
        self._seats.spare = spare

    def __enter__(self) -> Collector:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def left_behind(self) -> int:
        """Threads of this process that still hang in a step which was given up."""
        return self._seats.left_behind

    def close(self) -> None:
        """Close every environment and worker; further calls do nothing."""
        self._closed = True
        self._seats.close()

    def collect(
        self,
        policy: Policy,
        jobs: Iterable[Job],
        *,
        deterministic: bool = False,
        least: int = 1,
        seed: int = 0,
        weights_version: int = 0,
        on_episode: Callable[[Ended], object] | None = None,
        keep: Sequence[str] = (),
        rescue: Callable[[Rollouts, Sequence[Job]], object] | None = None,
    ) -> Rollouts:
        """Play every job to its end.

        Args:
            policy: decides; is told of every episode's end. Its attributes ``wants_admissible`` and ``wants_env``
                (False when missing) fill `Request.admissible` and `Request.env` (the latter for ``workers=0`` alone:
                elsewhere the environment is out of reach, and a policy that cannot do without it says so).
            jobs: taken as places become free; ``trajectory`` must be unique.
            deterministic: fixed batches (see the module).
            least: a batch waits until so many ask, as long as other environments are at work. More than 1 pays where
                policy and environments share the processor: what a call costs by itself is then spent less often.
            seed: of the run; keys the policy's randomness.
            weights_version: written into the tables.
            on_episode: called after each episode.
            keep: text columns to keep as extras: any of "text", "action", "said", "error".
            rescue: called before an exception leaves this method (a policy that fails, Ctrl-C), with the episodes that
                had come to an end and the jobs that were under way, which are lost.

        Raises:
            UsageError: an environment does not exist, cannot be made as asked, or has no process record.
        """
        if self._closed:
            raise UsageError("this Collector is closed; make another")
        if least < 1:
            raise UsageError(f"least must be at least 1, got {least}")
        ledger = Ledger(weights_version=weights_version, keep=keep, on_episode=on_episode)
        return _Play(self._seats, policy, jobs, ledger, deterministic, least, seed).run(rescue)


def collect(
    policy: Policy,
    jobs: Iterable[Job],
    *,
    slots: int = 64,
    workers: int = 0,
    isolation: Isolation = "process",
    step_timeout: float | None = 60.0,
    reset_timeout: float = 300.0,
    deterministic: bool = False,
    seed: int = 0,
    weights_version: int = 0,
    on_episode: Callable[[Ended], object] | None = None,
    keep: Sequence[str] = (),
) -> Rollouts:
    """`Collector.collect` for one call: environments are made, played and closed."""
    with Collector(
        slots=slots, workers=workers, isolation=isolation, step_timeout=step_timeout, reset_timeout=reset_timeout
    ) as collector:
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

    def __init__(
        self,
        seats: Seats[Any],
        policy: Policy,
        jobs: Iterable[Job],
        ledger: Ledger,
        deterministic: bool,
        least: int,
        seed: int,
    ) -> None:
        self.seats, self.policy, self.ledger = seats, policy, ledger
        self.deterministic, self.least, self.seed = deterministic, least, seed
        self.jobs = iter(jobs)
        self.free = list(range(seats.slots))  # a heap
        self.live: dict[Seat, Live] = {}
        self.waiting: list[tuple[Live, Request]] = []
        self.wants_admissible = bool(getattr(policy, "wants_admissible", False))
        self.wants_env = bool(getattr(policy, "wants_env", False))
        self.specs: dict[str, EnvSpec] = {}
        self.acting = 0.0

    def run(self, rescue: Callable[[Rollouts, Sequence[Job]], object] | None) -> Rollouts:
        """Play until no job is left and nobody plays."""
        began = time.perf_counter()
        try:
            self.fill()
            while self.live:
                if self.pending:
                    self.take(self.seats.poll(block=self.deterministic or len(self.waiting) < self.least))
                    if self.fill():
                        continue  # the new ones may be ready for this very batch
                wanted = len(self.live) if self.deterministic else min(self.least, len(self.live))
                if len(self.waiting) >= wanted > 0:
                    self.act()
        except BaseException:
            if rescue is not None:
                under_way = [live.job for live in self.live.values()]
                rescue(self.ledger.rollouts(time.perf_counter() - began, self.acting), under_way)
            raise
        finally:
            for seat, live in self.live.items():
                self.seats.abandon(seat)
                self.ledger.drop(live)
                self.policy.end(live.job.trajectory)
        return self.ledger.rollouts(time.perf_counter() - began, self.acting)

    @property
    def pending(self) -> int:
        """Episodes whose environment is at work."""
        return len(self.live) - len(self.waiting)

    def fill(self) -> int:
        """Give the next jobs to the free slots; how many were begun."""
        begun = 0
        if self.deterministic and self.pending:
            return begun
        while self.free and (job := next(self.jobs, None)) is not None:
            if job.env not in self.specs:
                self.specs[job.env] = spec_of(job.env)
            order = Reset(self.specs[job.env], job.kwargs, job.seed, job.options, self.wants_admissible)
            seat = self.seats.take(order)
            self.live[seat] = Live(job, heapq.heappop(self.free), seat)
            self.seats.reset(seat, order)
            begun += 1
        return begun

    def take(self, replies: list[tuple[Any, Reply]]) -> None:
        """Write down what came and turn it into requests."""
        for seat, reply in replies:
            live = self.live[seat]
            if isinstance(reply, Stepped):
                self.ledger.step(live, reply)
                if reply.terminated or reply.truncated:
                    self.ledger.finish(live, reply.hidden)
                    self.leave(live)
                    continue
            elif isinstance(reply, Began):
                self.ledger.begin(live, reply)
            elif reply.usage:
                raise UsageError(reply.error)
            else:
                self.ledger.fail(live, reply.error)
                self.leave(live)
                continue
            job = live.job
            env = seat.env if self.wants_env else None
            request = Request(
                job.trajectory, live.t, reply.observation, live.goal, reply.admissible, job.greedy, self.seed, env
            )
            self.waiting.append((live, request))

    def leave(self, live: Live) -> None:
        """The episode is over: its slot is free."""
        del self.live[live.seat]
        self.seats.give_back(live.seat)
        heapq.heappush(self.free, live.slot)
        self.policy.end(live.job.trajectory)

    def act(self) -> None:
        """One batch: everyone who waits, in the order of slots."""
        batch, self.waiting = sorted(self.waiting, key=_slot), []
        began = time.perf_counter()
        decisions = self.policy.act([request for _, request in batch])
        self.acting += time.perf_counter() - began
        if len(decisions) != len(batch):
            raise PolicyError(
                f"{type(self.policy).__name__}.act must return one decision for each of {len(batch)} requests, "
                f"got {len(decisions)}"
            )
        for (live, _), decision in zip(batch, decisions, strict=True):
            live.decision = decision
            self.seats.step(live.seat, decision.action)


def spec_of(env: str) -> EnvSpec:
    """The registered environment; ``module:id`` imports the module first, as `gymnasium.make` does.

    Raises:
        UsageError: there is none of this name.
    """
    module, _, name = env.rpartition(":")
    if module:
        importlib.import_module(module)
    try:
        return gymnasium.spec(name)
    except gymnasium.error.Error as error:
        raise UsageError(str(error)) from error


def _slot(entry: tuple[Live, Request]) -> int:
    return entry[0].slot
