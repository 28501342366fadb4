"""One connection to a server, with numbered calls that are answered one at a time."""

from __future__ import annotations

import contextlib
import os
import time
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gymnasium

from agentgym.errors import MissingExtra, TaskError, UsageError, WorldError, WorldTimeout
from agentgym.serve.codec import ProtocolError, pack, unpack

try:
    from websockets.exceptions import InvalidHandshake, InvalidStatus, InvalidURI, WebSocketException
    from websockets.sync.client import ClientConnection, connect, unix_connect
except ImportError as error:
    raise MissingExtra("websockets", "serve") from error

__all__ = ["Line", "failed"]

_REPLY_BYTES = 64 << 20
_ERRORS: dict[str, type[Exception]] = {
    "usage": UsageError,
    "type": TypeError,
    "reset_needed": gymnasium.error.ResetNeeded,
    "timeout": WorldTimeout,
    "task": TaskError,
    "protocol": ProtocolError,
}
_OVER = ("timeout", "busy", "protocol")


_reached: set[str] = set()
"""Sockets that were there once: where one is missing later, its server is gone, and nobody waits for it."""


def failed(kind: str, said: str) -> Exception:
    """The error that an answer tells of."""
    return _ERRORS.get(kind, WorldError)(said)


class Line:
    """A session of a server.

    Args:
        url: ``http://HOST:PORT``, ``https://…``, or ``unix:///PATH``.
        id: environment; '' takes the server's first.
        options: of the environment.
        token: the server's, '' for none.
        timeout: seconds that one answer may take.
        start_timeout: seconds that connecting and making the environment may take.

    Attributes:
        told: what the server says of the environment.
        broken: nothing is to be expected of this connection any more. A call that ran out of time breaks it, so that
            its answer, should it come, is never taken for another's.

    Raises:
        UsageError: no such address, token or environment. WorldError: nobody answers there.
    """

    def __init__(
        self, url: str, id: str, options: dict[str, Any], *, token: str, timeout: float, start_timeout: float
    ) -> None:
        self.url, self.timeout = url, timeout
        self.broken = False
        self._number = 0
        self._stack = contextlib.ExitStack()
        self._socket: ClientConnection = self._stack.enter_context(_connect(url, token, start_timeout))
        try:
            self.told: dict[str, Any] = self.call("open", {"id": id, "options": options}, timeout=start_timeout)
            if not isinstance(self.told, dict) or "observation_space" not in self.told:
                raise ProtocolError(f"{url} does not answer as `agentgym serve` does")
        except BaseException:
            self.close()
            raise

    def call(self, operation: str, argument: Any = None, *, timeout: float | None = None) -> Any:
        """One call.

        Raises:
            WorldError: the server is gone, or answers what it should not. WorldTimeout: no answer in time.
            UsageError, TypeError, TaskError, ResetNeeded: the environment's own.
        """
        if self.broken:
            raise WorldError(f"the connection to {self.url} is over; reset() opens another")
        self._number += 1
        message = pack([self._number, operation, argument])
        try:
            self._socket.send(message)
            answer = self._receive(self.timeout if timeout is None else timeout)
            match unpack(answer):
                case [number, "ok", value] if number == self._number:
                    return value
                case [number, "error", {"kind": str(kind), "message": str(said)}] if number in (self._number, -1):
                    self.broken |= number == -1 or kind in _OVER
                    raise failed(kind, said)
                case _:
                    raise ProtocolError(f"{self.url} answered call {self._number} with something else")
        except TimeoutError as error:
            self.close()
            if isinstance(error, WorldTimeout):
                raise
            raise WorldTimeout(f"{self.url} did not answer {operation!r} in time; a late answer is dropped") from None
        except ProtocolError:
            self.close()
            raise
        except (WebSocketException, OSError) as error:
            self.close()
            raise WorldError(f"the connection to {self.url} broke: {error}") from error

    def close(self) -> None:
        """Leave; the server ends the session."""
        self.broken = True
        with contextlib.suppress(WebSocketException, OSError):
            self._stack.close()

    def _receive(self, seconds: float) -> bytes:
        answer = self._socket.recv(timeout=seconds)
        return answer.encode() if isinstance(answer, str) else answer


def _connect(url: str, token: str, seconds: float) -> AbstractContextManager[ClientConnection]:
    parts = urlsplit(url)
    headers = {"Authorization": f"Bearer {token}"} if token else None
    options: dict[str, Any] = {
        "additional_headers": headers,
        "compression": None,
        "max_size": _REPLY_BYTES,
        "open_timeout": seconds,
        "close_timeout": 2.0,
        "ping_interval": None,
    }
    try:
        if parts.scheme == "unix":
            if not parts.path or parts.netloc:
                raise UsageError(f"expected a socket as unix:///PATH, got {url!r}")
            _await_socket(Path(parts.path), 0.0 if url in _reached else seconds)
            made: AbstractContextManager[ClientConnection] = unix_connect(
                parts.path, "ws://localhost/agentgym", **options
            )
            _reached.add(url)
            return made
        if parts.scheme not in ("http", "https", "ws", "wss") or not parts.netloc:
            raise UsageError(f"expected a url such as http://127.0.0.1:8000 or unix:///PATH, got {url!r}")
        scheme = "wss" if parts.scheme in ("https", "wss") else "ws"
        made = connect(f"{scheme}://{parts.netloc}{parts.path.rstrip('/')}/agentgym", proxy=None, **options)
        return made
    except InvalidStatus as error:
        status = error.response.status_code
        why = (
            "a wrong or missing token, or a name it does not answer to" if status in (401, 403) else "not such a server"
        )
        raise UsageError(f"{url} refused the connection with status {status}: {why}") from error
    except (InvalidURI, InvalidHandshake) as error:
        raise UsageError(f"{url} does not answer as `agentgym serve` does: {error}") from error
    except TimeoutError:
        raise WorldTimeout(f"{url} did not answer within {seconds:g} s") from None
    except OSError as error:
        raise WorldError(
            f"nobody answers at {url} ({error.strerror or error}); start one with `agentgym serve`"
        ) from error


def _await_socket(path: Path, seconds: float) -> None:
    """A container that was just started makes its socket in a moment."""
    end = time.monotonic() + seconds
    while not path.exists():
        if time.monotonic() > end or not os.path.isdir(path.parent):
            raise WorldError(f"there is no socket {path}; start a server with `agentgym serve ID --uds {path}`")
        time.sleep(0.01)
