"""JSON-RPC of the Language Server Protocol over a process's stdin and stdout, with bounds on time and size."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import Any

from agentgym.errors import WorldError, WorldTimeout

__all__ = ["Wire"]

MAX_MESSAGE = 32 << 20
"""Bytes of one message: thousands of diagnostics; more is a server gone wrong."""
_MAX_HEADER = 4096


class Wire:
    """Requests and notifications to one server. One thread at a time.

    Args:
        process: with pipes for stdin and stdout.
        answer: what to say to a request of the server: (method, params) -> result.
    """

    def __init__(self, process: subprocess.Popen[bytes], answer: Callable[[str, Any], Any]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._in, self._out = process.stdin.fileno(), process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        self._answer = answer
        self._unsent, self._unread = bytearray(), bytearray()
        self._replies: dict[int, dict[str, Any]] = {}
        self._count = 0

    def notify(self, method: str, params: Any) -> None:
        """Queue a message without an answer; the next request sends it."""
        self._queue({"method": method, "params": params})

    def request(self, method: str, params: Any, until: float) -> Any:
        """The result of a request.

        Args:
            method, params: as in the protocol.
            until: `time.monotonic` when to give up.

        Raises:
            WorldTimeout: no answer in time.
            WorldError: the server ended, broke the protocol, or refused.
        """
        self._count += 1
        number = self._count
        self._queue({"id": number, "method": method, "params": params})
        while number not in self._replies:
            self._pump(until)
        reply = self._replies.pop(number)
        if "error" in reply:
            raise WorldError(f"the language server refuses {method}: {str(reply['error'])[:300]}")
        return reply.get("result")

    def _queue(self, message: dict[str, Any]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}).encode()
        self._unsent += b"Content-Length: %d\r\n\r\n" % len(body) + body

    def _pump(self, until: float) -> None:
        """Send and read what can be sent and read; wait for either."""
        # Both at once: a server that waits for us to read its output does not read what we send.
        poll = select.poll()
        poll.register(self._out, select.POLLIN)
        if self._unsent:
            poll.register(self._in, select.POLLOUT)
        left = until - time.monotonic()
        if left <= 0 or not (ready := dict(poll.poll(left * 1000))):
            raise WorldTimeout("the language server did not answer in time")
        try:
            if self._in in ready:
                del self._unsent[: os.write(self._in, self._unsent[: 1 << 16])]
            if self._out in ready:
                data = os.read(self._out, 1 << 20)
                if not data:
                    raise WorldError("the language server ended")
                self._unread += data
        except BlockingIOError:
            return
        except OSError as error:
            raise WorldError(f"the language server ended: {error.strerror}") from error
        while (message := self._next()) is not None:
            self._take(message)

    def _next(self) -> dict[str, Any] | None:
        """One whole message of what was read."""
        end = self._unread.find(b"\r\n\r\n", 0, _MAX_HEADER)
        if end < 0:
            if len(self._unread) >= _MAX_HEADER:
                raise WorldError("the language server sends what is not its protocol")
            return None
        length = -1
        for line in bytes(self._unread[:end]).split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.strip().lower() == b"content-length" and value.strip().isdigit():
                length = int(value)
        if not 0 <= length <= MAX_MESSAGE:
            raise WorldError(f"the language server sends a message of {length} bytes; at most {MAX_MESSAGE} are taken")
        start = end + 4
        if len(self._unread) < start + length:
            return None
        body = bytes(self._unread[start : start + length])
        del self._unread[: start + length]
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise WorldError(f"the language server sends a message that is not JSON: {error}") from None
        if not isinstance(message, dict):
            raise WorldError(f"the language server sends a {type(message).__name__} for a message")
        return message

    def _take(self, message: dict[str, Any]) -> None:
        if "method" in message:
            if "id" in message:
                self._queue({"id": message["id"], "result": self._answer(message["method"], message.get("params"))})
        elif isinstance(message.get("id"), int):
            self._replies[message["id"]] = message
