"""Runs the application: on a loopback port, on a Unix socket, or, with a token, on any address."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import socket
import stat
import threading
from collections.abc import Callable
from pathlib import Path

from agentgym.errors import MissingExtra, UsageError
from agentgym.serve.app import application
from agentgym.serve.limits import Limits
from agentgym.serve.sessions import Served

try:
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol
except ImportError as error:
    raise MissingExtra("uvicorn", "serve") from error

__all__ = ["read_token", "run"]


def run(
    served: Served,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    uds: Path | None = None,
    token: str = "",
    limits: Limits | None = None,
    until: int | None = None,
    ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve until SIGTERM or Ctrl-C; then every session's process is ended.

    Args:
        served: environments.
        host, port: where; port 0 takes a free one.
        uds: path of a Unix socket instead; made for this user alone (mode 0600), removed afterwards.
        token: see `application`. limits: bounds.
        until: a descriptor; the server also ends when it is at its end.
        ready: is told the address once connections are answered.

    Raises:
        UsageError: an address off loopback without a token; an address in use or not allowed.
    """
    bounds = limits or Limits()
    if uds is None and not token and not _is_loopback(host):
        raise UsageError(f"{host} can be reached from elsewhere: give the server a token (--token-file)")
    app = application(served, bounds, token=token, loopback=uds is None)
    listener = _listen_unix(uds) if uds is not None else _listen(host, port)
    where = f"unix://{uds}" if uds is not None else "http://{}:{}".format(*_shown(listener))
    config = uvicorn.Config(
        app,
        http=_http(bounds),
        log_level="warning",
        access_log=False,
        ws="websockets-sansio",
        ws_max_size=bounds.request_bytes,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=5,
        lifespan="on",
    )
    try:
        _Server(config, lambda: ready(where), until).run(sockets=[listener])
    finally:
        listener.close()
        if uds is not None:
            uds.unlink(missing_ok=True)


def read_token(path: Path) -> str:
    """The token in a file's first line.

    Raises:
        UsageError: the file cannot be read, or its token is shorter than 16 characters.
    """
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise UsageError(f"cannot read the token: {error}") from error
    if len(token) < 16 or not token.isascii() or not token.isprintable() or " " in token:
        raise UsageError(f"expected a token of at least 16 printable ASCII characters in {path}")
    return token


def _http(limits: Limits) -> type[H11Protocol]:
    """HTTP that bounds those who ask for nothing: connections beyond a number, and those that send no whole request."""

    class Protocol(H11Protocol):
        _patience: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            full = len(self.connections) >= limits.connections
            super().connection_made(transport)
            if full:
                transport.abort()
            self._wait()

        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            if self._patience is not None:
                self._patience.cancel()

        def on_response_complete(self) -> None:
            super().on_response_complete()
            self._wait()

        def _wait(self) -> None:
            if self._patience is not None:
                self._patience.cancel()
            self._patience = self.loop.call_later(limits.request_seconds, self._give_up)

        def _give_up(self) -> None:
            waits = self.cycle is None or self.cycle.response_complete
            if waits and self.transport.get_protocol() is self:  # else it became a WebSocket
                self.transport.abort()

    return Protocol


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None], until: int | None) -> None:
        super().__init__(config)
        self._ready, self._until = ready, until

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            if self._until is not None:
                threading.Thread(target=self._wait, args=(self._until,), daemon=True).start()
            self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self._captured_signals.clear()  # being told to end is no failure: exit code 0

    def _wait(self, descriptor: int) -> None:
        while os.read(descriptor, 1024):
            pass
        self.should_exit = True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror}; --port 0 takes a free one") from error
    return listener


def _listen_unix(path: Path) -> socket.socket:
    if path.exists():
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise UsageError(f"{path} exists and is no socket")
        _remove_if_dead(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        listener.bind(str(path))
    except OSError as error:
        listener.close()
        raise UsageError(f"cannot make the socket {path}: {error.strerror}") from error
    finally:
        os.umask(before)
    return listener


def _remove_if_dead(path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink()
            return
    raise UsageError(f"a server listens on {path} already")


def _shown(listener: socket.socket) -> tuple[str, int]:
    host, port = listener.getsockname()[:2]
    return (f"[{host}]" if ":" in host else host), port
