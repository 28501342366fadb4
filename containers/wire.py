"""The host's end of the channel to a runner: frames over any byte stream, with a deadline on every wait."""

from __future__ import annotations

import json
import os
import re
import select
import struct
import time
from typing import Any, Protocol

from agentgym.errors import WorldError, WorldTimeout

__all__ = ["Pipes", "Stream", "Wire"]

_HALVES = re.compile("[\ud800-\udfff]")
_LARGEST = 1 << 30
"""Bytes of one frame; a sandbox that announces more is broken."""


class Stream(Protocol):
    """Bytes there and back. ``read`` and ``write`` move what they can by the deadline (`time.monotonic`)."""

    def write(self, data: memoryview, until: float) -> int: ...

    def read(self, n: int, until: float) -> bytes: ...

    def close(self) -> None: ...


class Wire:
    """Frames: two big-endian 32-bit lengths, a JSON object, a payload of raw bytes."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def raw(self, data: bytes, wait: float) -> None:
        """Send bytes that are no frame.

        Raises:
            WorldTimeout: they are not taken in time.
            WorldError: the other end is gone.
        """
        until = time.monotonic() + wait
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[self._stream.write(rest, until) :]
        except OSError as error:
            if isinstance(error, WorldTimeout):
                raise
            raise WorldError(f"its channel broke: {error.strerror or error}") from error

    def send(self, message: dict[str, Any], payload: bytes = b"", wait: float = 60.0) -> None:
        """Send one frame; raises as `raw`."""
        # Escapes are only those that JSON and Python read alike: control characters, and halves of surrogate pairs.
        text = _HALVES.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(message, ensure_ascii=False)).encode()
        self.raw(b"".join((struct.pack("!II", len(text), len(payload)), text, payload)), wait)

    def receive(self, wait: float) -> tuple[dict[str, Any], bytes]:
        """The next frame.

        Raises:
            WorldTimeout: it does not come in time.
            WorldError: the other end is gone, or sends no frame.
        """
        until = time.monotonic() + wait
        header, size = struct.unpack("!II", self._exactly(8, until))
        if header + size > _LARGEST:
            raise WorldError("what came over its channel is no frame")
        try:
            message = json.loads(self._exactly(header, until))
        except ValueError as error:
            raise WorldError("what came over its channel is no frame") from error
        if not isinstance(message, dict):
            raise WorldError("what came over its channel is no frame")
        return message, self._exactly(size, until)

    def close(self) -> None:
        self._stream.close()

    def _exactly(self, n: int, until: float) -> bytes:
        parts = []
        while n:
            try:
                part = self._stream.read(n, until)
            except OSError as error:
                if isinstance(error, WorldTimeout):
                    raise
                raise WorldError(f"its channel broke: {error.strerror or error}") from error
            if not part:
                raise WorldError("its runner has ended")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)


class Pipes:
    """A stream over two descriptors, which it owns (they may be one and the same)."""

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self.read_fd, self.write_fd = read_fd, write_fd
        self._open = True
        for fd in (read_fd, write_fd):
            os.set_blocking(fd, False)
        self._poll_read, self._poll_write = select.poll(), select.poll()
        self._poll_read.register(read_fd, select.POLLIN)
        self._poll_write.register(write_fd, select.POLLOUT)

    def write(self, data: memoryview, until: float) -> int:
        while True:
            try:
                return os.write(self.write_fd, data)
            except BlockingIOError:
                self._wait(self._poll_write, until)

    def read(self, n: int, until: float) -> bytes:
        while True:
            try:
                return os.read(self.read_fd, min(n, 1 << 20))
            except BlockingIOError:
                self._wait(self._poll_read, until)

    def _wait(self, poller: select.poll, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0 or not poller.poll(left * 1000):
            raise WorldTimeout("it did not answer in time")

    def close(self) -> None:
        if self._open:
            self._open = False
            for fd in {self.read_fd, self.write_fd}:
                os.close(fd)
