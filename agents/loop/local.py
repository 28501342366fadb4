"""Seats in this process without a thread for each: for worlds that answer in microseconds.

One thread, the hand, makes, steps and closes all environments, one after the other. It gets its orders a batch at a
time, so that the price of a second thread is paid once a batch, and the calling thread waits for it with an eye on the
clock. When a step takes too long the hand is left behind with that one environment, and another hand goes on with the
next order.
"""

from __future__ import annotations

import logging
import threading
import time
from typing import Any

from agentgym.agents.loop.leftbehind import GivenUp, LeftBehind, await_interrupt, interrupt
from agentgym.agents.loop.seats import Seat, Seats
from agentgym.agents.loop.stage import Fault, Reply, Reset, Stage

__all__ = ["LocalSeat", "LocalSeats"]

log = logging.getLogger("agentgym.loop")

CLOSE_SECONDS = 10.0
GRACE_SECONDS = 2.0
"""For a step in which the loop was interrupted to end, so that its environment can be closed."""


class LocalSeat(Seat, Stage):
    """A stage that a hand, or the calling thread, works on."""


Order = tuple[LocalSeat, Reset | tuple[Any] | None]
"""A seat and what to do there: begin an episode, carry out an action (a tuple of one), or close (None)."""


def _carry_out(order: Order) -> Reply:
    seat, what = order
    if isinstance(what, Reset):
        return Stage.reset(seat, what)
    if what is None:
        seat.close()
        return Fault("closed")
    return Stage.step(seat, what[0])


def _announce(orders: list[Order]) -> None:
    """Tell every environment what is to come, before the first is asked for it."""
    for seat, what in orders:
        if what is not None:
            seat.announce(what)


class Hand:
    """The thread that works, and the calling thread's end of it."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.replies: list[Reply] = []
        self.began = 0.0
        """Of the order in work, on the monotonic clock."""
        self.raised: BaseException | None = None
        """What an order raised that is no fault of its environment; the batch, and the hand, end with it."""
        self._given_up = False
        self._interrupted = False
        self._state = threading.Lock()  # held to change what is above
        # bare locks as signals: a third of the price of an Event
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        self.thread = threading.Thread(target=self._run, name="agentgym-hand", daemon=True)
        self.thread.start()

    def start(self, orders: list[Order]) -> None:
        """Begin a batch."""
        self.orders, self.replies, self.began = orders, [], time.monotonic()
        self._go.release()

    def done(self, seconds: float) -> bool:
        """Whether the batch is done, after waiting at most so long."""
        return self._done.acquire(timeout=max(0.0, min(seconds, threading.TIMEOUT_MAX)))

    def give_up(self, after: int, *, stop: bool) -> bool:
        """Leave the hand with the order it works on, if it has given ``after`` replies so far; False if it got further.

        Args:
            stop: interrupt that order, too.
        """
        with self._state:
            if len(self.replies) != after or after == len(self.orders):
                return False
            self._given_up = True
            if stop:
                self._interrupted = True
                interrupt(self.thread)
            return True

    def dismiss(self) -> None:
        """No batch is to come."""
        self.orders = []
        self._given_up = True
        self._go.release()

    def _run(self) -> None:
        seat: LocalSeat | None = None
        try:
            while True:
                self._go.acquire()
                _announce(self.orders)
                for order in self.orders:
                    seat = order[0]
                    reply = _carry_out(order)
                    with self._state:
                        if self._given_up:
                            if self._interrupted:
                                await_interrupt()
                            return
                        self.replies.append(reply)
                        self.began = time.monotonic()
                        seat = None
                if self._given_up:
                    return
                self._done.release()
        except GivenUp:
            return
        except BaseException as error:  # noqa: BLE001  (it is raised again where the batch is waited for)
            self.raised = error
            seat = None
            self._done.release()
        finally:
            if seat is not None:  # the environment of the order that was given up belongs to nobody else
                seat.close()


class LocalSeats(Seats[LocalSeat]):
    """Environments of this process, worked on one after the other.

    Args:
        slots: most seats.
        step_timeout, reset_timeout: seconds; None for ``step_timeout``: no time-outs and no hand, the calling thread
            itself does the work.
    """

    def __init__(self, slots: int, step_timeout: float | None, reset_timeout: float) -> None:
        super().__init__(slots)
        self._step_timeout, self._reset_timeout = step_timeout, reset_timeout
        self._orders: list[Order] = []
        self._hand: Hand | None = None
        self._cut_short: list[Hand] = []
        self._left = LeftBehind()

    def _new(self, order: Reset) -> LocalSeat:
        return LocalSeat()

    def reset(self, seat: LocalSeat, order: Reset) -> None:
        self._orders.append((seat, order))

    def step(self, seat: LocalSeat, action: Any) -> None:
        self._orders.append((seat, (action,)))

    def poll(self, *, block: bool) -> list[tuple[LocalSeat, Reply]]:
        orders, self._orders = self._orders, []
        if self._step_timeout is None:
            _announce(orders)
            return [(order[0], _carry_out(order)) for order in orders]
        replies: list[Reply] = []
        while len(replies) < len(orders):
            replies += self._batch(orders[len(replies) :])
            self._left.check()
        return [(seat, reply) for (seat, _), reply in zip(orders, replies, strict=True)]

    def _batch(self, orders: list[Order]) -> list[Reply]:
        """Replies to the first orders: to all of them, or to those up to the first that took too long."""
        if self._hand is None:
            self._hand = Hand()
        hand = self._hand
        hand.start(orders)
        try:
            left = self._limit(orders[0])
            while not hand.done(left):
                at = len(hand.replies)
                if at == len(orders):
                    continue
                limit = self._limit(orders[at])
                left = hand.began + limit - time.monotonic()
                if left <= 0 and hand.give_up(at, stop=True):
                    return [*hand.replies, self._late(hand, orders[at], limit)]
        except BaseException:
            self._cut(hand, orders)
            raise
        if hand.raised is not None:
            self._hand = None
            hand.thread.join()  # it ends with what it raised
            raise hand.raised
        return hand.replies

    def _limit(self, order: Order) -> float:
        assert self._step_timeout is not None
        return self._reset_timeout if isinstance(order[1], Reset) else self._step_timeout

    def _cut(self, hand: Hand, orders: list[Order]) -> None:
        """The calling thread was interrupted (Ctrl-C): leave the hand with the order it works on."""
        self._hand = None
        while (at := len(hand.replies)) < len(orders):
            if hand.give_up(at, stop=False):
                orders[at][0].dead = True
                self._cut_short.append(hand)
                return
        hand.dismiss()

    def _late(self, hand: Hand, order: Order, limit: float) -> Reply:
        self._hand = None
        seat, what = order
        seat.dead = True
        kind = "reset" if isinstance(what, Reset) else "step"
        env = seat.holds[0] if seat.holds else "an environment"
        self._left.add(hand.thread, f"a {kind} of {env} that took longer than {limit:g} s")
        return Fault(f"WorldTimeout: {kind} did not answer within {limit:g} s")

    @property
    def left_behind(self) -> int:
        """Threads whose work was given up and that still hang."""
        return len(self._left)

    def abandon(self, seat: LocalSeat) -> None:
        self._orders.clear()
        self.give_back(seat)

    def close(self) -> None:
        idle, self._idle = self._idle, []
        if self._step_timeout is None:
            for seat in idle:
                seat.close()
            return
        if idle or self._hand is not None:
            hand, self._hand = self._hand or Hand(), None
            hand.start([(seat, None) for seat in idle])
            if hand.done(CLOSE_SECONDS):
                hand.dismiss()
                hand.thread.join()
            else:
                log.warning("an environment is still closing after %g s; its thread is left behind", CLOSE_SECONDS)
                hand.dismiss()
        deadline = time.monotonic() + GRACE_SECONDS
        for cut in self._cut_short:
            cut.thread.join(max(0.0, deadline - time.monotonic()))
            if cut.thread.is_alive():
                log.warning("an environment is still in the step it was interrupted in; it is left unclosed")
