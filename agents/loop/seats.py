"""Seats: where the environments of a loop stand. One seat holds one environment and answers one order at a time.

Replies are told apart by the seat they come from, and a seat that failed is never used again: a new one takes its
place. So a reply that comes too late has nobody to go to; it cannot be taken for another episode's.

============  ===========================================================================================
`LocalSeats`   in one further thread, one after the other: for worlds that answer in microseconds. When a step
               hangs, its thread is left behind and another goes on with the rest.
`ThreadSeats`  a thread for each: for worlds that wait for I/O. A hanging thread cannot be killed; it is
               interrupted, left behind, and ends by itself when its step returns.
`ProcessSeats` a process for each: for worlds that compute, crash or hang. Whatever happens inside, the process
               and all that it started can be killed without touching any other episode; that is why no two
               environments ever share a process.
============  ===========================================================================================
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

from agentgym.agents.loop.stage import Fault, Reply, Reset

__all__ = ["RemoteSeats", "Seat", "Seats"]


class Seat:
    """A place for one environment. ``holds``: (id, kwargs) of what it last played; ``dead``: not to be used again."""

    holds: tuple[str, Mapping[str, Any]] | None = None
    dead: bool = False
    env: Any = None


SeatT = TypeVar("SeatT", bound=Seat)


class Seats(ABC, Generic[SeatT]):
    """At most ``slots`` seats in use, made when first needed.

    Attributes:
        spare: how many more may be kept for when their environment is wanted again (`Collector`).
    """

    spare: int = 0

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self._idle: list[SeatT] = []
        self._taken: set[SeatT] = set()

    def take(self, order: Reset) -> SeatT:
        """A seat for an order: one that holds its environment already, else a new one, else the one idle longest."""
        wanted = (order.spec.id, order.kwargs)
        held = next((k for k in reversed(range(len(self._idle))) if self._idle[k].holds == wanted), None)
        if held is not None:
            seat = self._idle.pop(held)
        elif len(self._idle) + len(self._taken) < self.slots + self.spare:
            seat = self._new(order)
        else:
            seat = self._idle.pop(0)
        seat.holds = wanted
        self._taken.add(seat)
        return seat

    def give_back(self, seat: SeatT) -> None:
        """The seat's episode is over."""
        self._taken.remove(seat)
        if not seat.dead:
            self._idle.append(seat)

    @abstractmethod
    def _new(self, order: Reset) -> SeatT: ...

    @abstractmethod
    def reset(self, seat: SeatT, order: Reset) -> None:
        """Begin an episode; the reply comes from `poll`."""

    @abstractmethod
    def step(self, seat: SeatT, action: Any) -> None:
        """Carry out an action; the reply comes from `poll`."""

    @abstractmethod
    def poll(self, *, block: bool) -> list[tuple[SeatT, Reply]]:
        """The replies that have come. ``block``: wait until something happens (which may turn out to be nothing)."""

    @abstractmethod
    def abandon(self, seat: SeatT) -> None:
        """Give up the seat's episode in mid-air."""

    @abstractmethod
    def close(self) -> None:
        """Close every environment, for good; again does nothing."""

    @property
    def left_behind(self) -> int:
        """Threads of this process whose work was given up and that still hang."""
        return 0


class RemoteSeats(Seats[SeatT]):
    """Environments that work while the loop does something else, and are given up when they take too long.

    Args:
        slots: most seats.
        step_timeout, reset_timeout: seconds; a reset's includes starting the seat and making the environment.
    """

    def __init__(self, slots: int, step_timeout: float, reset_timeout: float) -> None:
        super().__init__(slots)
        self._timeouts = {"step": step_timeout, "reset": reset_timeout}
        self._busy: dict[SeatT, tuple[float, str]] = {}  # deadline and kind of the order in work

    def reset(self, seat: SeatT, order: Reset) -> None:
        self._order(seat, order, "reset")

    def step(self, seat: SeatT, action: Any) -> None:
        self._order(seat, (action,), "step")

    def poll(self, *, block: bool) -> list[tuple[SeatT, Reply]]:
        wait = max(0.0, min(self._busy.values())[0] - time.monotonic()) if block and self._busy else 0.0
        replies = self._receive(wait)
        for seat, _ in replies:
            del self._busy[seat]
        now = time.monotonic()
        late = [(seat, kind) for seat, (deadline, kind) in self._busy.items() if deadline <= now]
        for seat, kind in late:
            self._discard(seat)
            answer: Reply = Fault(f"WorldTimeout: {kind} did not answer within {self._timeouts[kind]:g} s")
            replies.append((seat, answer))
        return replies

    def abandon(self, seat: SeatT) -> None:
        if seat in self._busy:
            self._discard(seat)
        self.give_back(seat)

    def _discard(self, seat: SeatT) -> None:
        del self._busy[seat]
        seat.dead = True
        self._kill(seat)

    def _order(self, seat: SeatT, order: Reset | tuple[Any], kind: str) -> None:
        self._busy[seat] = (time.monotonic() + self._timeouts[kind], kind)
        self._send(seat, order)

    @abstractmethod
    def _send(self, seat: SeatT, order: Reset | tuple[Any]) -> None: ...

    @abstractmethod
    def _receive(self, wait: float) -> list[tuple[SeatT, Reply]]:
        """The replies of busy seats, waiting at most so many seconds for the first. Marks those that died."""

    @abstractmethod
    def _kill(self, seat: SeatT) -> None:
        """Give back what a seat holds whose work is given up."""
