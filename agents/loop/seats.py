"""Seats: where the environments of a loop stand. Here, those that stand in the calling thread."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentgym.agents.loop.stage import Reply, Reset, Stage

__all__ = ["LocalSeats", "Seat"]


class Seat(Stage):
    """One place for an environment in the calling thread; ``holds`` is (id, kwargs) of what it last played."""

    holds: tuple[str, Mapping[str, Any]] | None = None


class LocalSeats:
    """At most ``slots`` seats; one that already holds the environment asked for is taken first."""

    def __init__(self, slots: int) -> None:
        self._slots = slots
        self._idle: list[Seat] = []
        self._made = 0
        self._replies: list[tuple[Seat, Reply]] = []

    def take(self, env: str, kwargs: Mapping[str, Any]) -> Seat:
        """An idle seat: holding this environment, else a new one, else the one idle longest."""
        wanted = (env, kwargs)
        for k in range(len(self._idle) - 1, -1, -1):
            if self._idle[k].holds == wanted:
                return self._idle.pop(k)
        if self._made < self._slots:
            self._made += 1
            seat = Seat()
        else:
            seat = self._idle.pop(0)
        seat.holds = wanted
        return seat

    def give_back(self, seat: Seat) -> None:
        """The seat's episode is over."""
        self._idle.append(seat)

    def abandon(self, seat: Seat) -> None:
        """The seat's episode is given up in mid-air."""
        self._replies.clear()
        self._idle.append(seat)

    def reset(self, seat: Seat, order: Reset) -> None:
        """Begin an episode; the reply comes from `poll`."""
        self._replies.append((seat, seat.reset(order)))

    def step(self, seat: Seat, action: Any) -> None:
        """Carry out an action; the reply comes from `poll`."""
        self._replies.append((seat, seat.step(action)))

    def poll(self, timeout: float | None) -> list[tuple[Seat, Reply]]:
        """The replies that have come."""
        replies, self._replies = self._replies, []
        return replies

    def close(self) -> None:
        """Close every environment."""
        for seat in self._idle:
            seat.close()
        self._idle, self._made = [], 0
