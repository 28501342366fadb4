"""Seats in threads of this process, for worlds that wait for I/O."""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

from agentgym.agents.loop.leftbehind import GivenUp, LeftBehind, await_interrupt, interrupt
from agentgym.agents.loop.seats import RemoteSeats, Seat
from agentgym.agents.loop.stage import Reply, Reset, Stage, answer

__all__ = ["ThreadSeats"]

log = logging.getLogger("agentgym.loop")

CLOSE_SECONDS = 10.0


class ThreadSeat(Seat):
    """A stage and the thread that makes, steps and closes it; no other thread touches the environment."""

    def __init__(self, replies: queue.SimpleQueue[tuple[ThreadSeat, Reply]]) -> None:
        self.orders: queue.SimpleQueue[Reset | tuple[Any] | None] = queue.SimpleQueue()
        self._replies = replies
        self.given_up = False
        self.thread = threading.Thread(target=self._run, name="agentgym-seat", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        stage = Stage()
        try:
            while (order := self.orders.get()) is not None:
                self._replies.put((self, answer(stage, order)))
            if self.given_up:
                await_interrupt()
        except GivenUp:
            log.debug("a step that was given up has ended")
        stage.close()

    def give_up(self) -> None:
        """End the thread as soon as it can be, whatever it is doing."""
        self.given_up = True
        interrupt(self.thread)
        self.orders.put(None)


class ThreadSeats(RemoteSeats[ThreadSeat]):
    """Environments in threads. One that hangs is left behind: it closes itself should its step ever return."""

    def __init__(self, slots: int, step_timeout: float, reset_timeout: float) -> None:
        super().__init__(slots, step_timeout, reset_timeout)
        self._replies: queue.SimpleQueue[tuple[ThreadSeat, Reply]] = queue.SimpleQueue()
        self._left = LeftBehind()

    def poll(self, *, block: bool) -> list[tuple[ThreadSeat, Reply]]:
        replies = super().poll(block=block)
        self._left.check()
        return replies

    @property
    def left_behind(self) -> int:
        return len(self._left)

    def _new(self, order: Reset) -> ThreadSeat:
        return ThreadSeat(self._replies)

    def _send(self, seat: ThreadSeat, order: Reset | tuple[Any]) -> None:
        seat.orders.put(order)

    def _receive(self, wait: float) -> list[tuple[ThreadSeat, Reply]]:
        replies = []
        try:
            replies.append(self._replies.get(timeout=wait) if wait else self._replies.get_nowait())
            while True:
                replies.append(self._replies.get_nowait())
        except queue.Empty:
            # a dead seat's reply came too late: its episode has ended as an error
            return [(seat, reply) for seat, reply in replies if not seat.dead]

    def _kill(self, seat: ThreadSeat) -> None:
        seat.give_up()
        self._left.add(seat.thread, f"the work of a thread on {seat.holds[0] if seat.holds else 'an environment'}")

    def close(self) -> None:
        seats, self._idle = self._idle, []
        for seat in seats:
            seat.orders.put(None)
        deadline = time.monotonic() + CLOSE_SECONDS
        for seat in seats:
            seat.thread.join(max(0.0, deadline - time.monotonic()))
            if seat.thread.is_alive():
                log.warning("an environment is still closing after %g s; its thread is left behind", CLOSE_SECONDS)
