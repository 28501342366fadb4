"""Seats in processes of their own, for worlds that compute, crash or hang.

Workers are forked by a `Nursery` that has the loop and the environment's module loaded, so that starting one costs
milliseconds. Each leads its own process group: killing it takes along what it started (a browser, a shell), and Ctrl-C
in the terminal reaches the loop alone, which then closes them. A worker whose parent vanishes reads the end of its
socket, closes its environment, and ends.

Orders and replies are pickled, each behind its length as eight bytes. The loop reads without blocking and puts replies
together itself: a worker that stops in the middle of one holds nobody up.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import selectors
import signal
import socket
import struct
import time
from typing import Any

from agentgym.agents.loop.nursery import Nursery
from agentgym.agents.loop.seats import RemoteSeats, Seat
from agentgym.agents.loop.stage import Fault, Reply, Reset, Stage, answer
from agentgym.errors import UsageError

__all__ = ["ProcessSeats", "serve"]

CLOSE_SECONDS = 10.0
CHUNK = 1 << 16
HEAD = struct.Struct("<Q")
CARRIED = ("process", "success", "events", "error", "task", "goal")
"""What the loop reads of an info; the rest stays in the worker."""


class ProcessSeat(Seat):
    """The loop's end of one worker process."""

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self.pid, self.socket = nursery.fork()
        self._buffer = bytearray()

    def send(self, data: bytes) -> None:
        # a worker that died or does not read shows in `receive` or by its deadline
        with contextlib.suppress(BrokenPipeError, ConnectionResetError, TimeoutError):
            self.socket.sendall(HEAD.pack(len(data)) + data)

    def receive(self) -> Reply | None:
        """The reply, or None while parts are missing. Called when there is something to read; EOF is a `Fault`."""
        try:
            chunk = self.socket.recv(CHUNK)
        except ConnectionResetError:
            chunk = b""
        if not chunk:
            self.dead = True
            return Fault(f"WorldError: the worker process died (exit code {self.kill()})")
        self._buffer += chunk
        if len(self._buffer) < HEAD.size or len(self._buffer) < HEAD.size + HEAD.unpack_from(self._buffer)[0]:
            return None
        reply: Reply = pickle.loads(memoryview(self._buffer)[HEAD.size :])
        self._buffer = bytearray()
        return reply

    def kill(self) -> int:
        """End the process and all that it started, at once; its exit code if it had ended by itself, else -9."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:  # it had no time yet to become the leader of a group
            os.kill(self.pid, signal.SIGKILL)
        self.socket.close()
        return self._nursery.reap(self.pid)


class ProcessSeats(RemoteSeats[ProcessSeat]):
    """Environments in processes; needs environments that can be named across processes and observations that pickle."""

    def __init__(self, slots: int, step_timeout: float, reset_timeout: float) -> None:
        super().__init__(slots, step_timeout, reset_timeout)
        self._selector = selectors.DefaultSelector()
        self._nursery: Nursery | None = None

    def _new(self, order: Reset) -> ProcessSeat:
        entry = order.spec.entry_point
        if self._nursery is None:
            preload = [entry.split(":")[0]] if isinstance(entry, str) else []
            self._nursery = Nursery(f"{__name__}:{serve.__name__}", preload)
        seat = ProcessSeat(self._nursery)
        seat.socket.settimeout(self._timeouts["step"])
        self._selector.register(seat.socket, selectors.EVENT_READ, seat)
        return seat

    def _send(self, seat: ProcessSeat, order: Reset | tuple[Any]) -> None:
        try:
            data = pickle.dumps(order, pickle.HIGHEST_PROTOCOL)
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"{order} cannot be sent to another process ({error}); name the environment's entry point as "
                "'module:callable' and give arguments that pickle, or use isolation='thread'"
            ) from error
        seat.send(data)

    def _receive(self, wait: float) -> list[tuple[ProcessSeat, Reply]]:
        replies = []
        for key, _ in self._selector.select(wait):
            seat: ProcessSeat = key.data
            reply = seat.receive()
            if seat.dead:
                self._selector.unregister(key.fileobj)
            if reply is not None:
                replies.append((seat, reply))
        return replies

    def _kill(self, seat: ProcessSeat) -> None:
        self._selector.unregister(seat.socket)
        seat.kill()

    def close(self) -> None:
        seats, self._idle = self._idle, []
        for seat in seats:
            seat.socket.shutdown(socket.SHUT_WR)  # the worker reads the end, closes its environment, and ends in turn
        deadline = time.monotonic() + CLOSE_SECONDS
        for seat in seats:
            seat.socket.settimeout(max(0.001, deadline - time.monotonic()))
            with contextlib.suppress(TimeoutError, ConnectionResetError):
                seat.socket.recv(1)
            self._kill(seat)
        self._selector.close()
        if self._nursery is not None:
            self._nursery.close()
            self._nursery = None


def serve(line: socket.socket) -> None:
    """The worker: answers orders until the loop closes its end."""
    stage = Stage()
    with line.makefile("rb") as stream:
        while (head := stream.read(HEAD.size)) and len(head) == HEAD.size:
            data = _packed(_answer(stage, stream.read(HEAD.unpack(head)[0])))
            line.sendall(HEAD.pack(len(data)) + data)
        stage.close()


def _answer(stage: Stage, data: bytes) -> Reply:
    try:
        order = pickle.loads(data)
    except Exception as error:  # noqa: BLE001  (what an argument raises when it is unpickled is the caller's mistake)
        return Fault(
            f"an order cannot be read in a worker process ({type(error).__name__}: {error}); what environments are "
            "made of must be importable, so not defined in the main program, or use isolation='thread'",
            usage=True,
        )
    return answer(stage, order)


def _packed(reply: Reply) -> bytes:
    if not isinstance(reply, Fault):
        reply = reply._replace(info={k: reply.info[k] for k in CARRIED if k in reply.info})
    try:
        return pickle.dumps(reply, pickle.HIGHEST_PROTOCOL)
    except Exception as error:  # noqa: BLE001  (what an observation raises when it is pickled is the environment's fault)
        return pickle.dumps(Fault(f"{type(error).__name__} in sending the reply: {error}"))
