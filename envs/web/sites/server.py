"""Serves one site to one environment on loopback, as the browser's proxy.

The browser's context sends every request here as to a proxy. So the site keeps its fixed virtual name whatever the
port, and nothing else can be reached: a request for any other host ends here, is answered 403 and written down, and no
packet leaves the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import uvicorn
from a2wsgi import WSGIMiddleware

from agentgym.envs.web.sites.site import Site, seed_folder
from agentgym.errors import WorldError
from agentgym.world import loop_thread

__all__ = ["SiteServer"]

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_BODY = 2_000_000
"""Bytes of a request's body; more is refused with 413."""
IDLE_SECONDS = 10.0
"""How long a reset waits for requests in flight."""
LOOP = "site-servers"


class SiteServer:
    """A running copy of a site.

    Args:
        site: what to serve.

    Attributes:
        proxy: ``http://127.0.0.1:<port>``, for the browser context's proxy setting.
        cookies: of the signed-in user.
        blocked: requests for other places since the last `take_blocked`, as ``METHOD host``.

    Raises:
        WorldError: the server did not start.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.blocked: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix=f"agentgym-{site.name}-"))
        self.data = self._folder / "data"
        self._pristine = self._folder / "pristine"
        try:
            shutil.copytree(seed_folder(site), self.data)
            app = site.app(self.data)
            self.cookies: Mapping[str, str] = site.login(app) if site.login else {}
            self._keep()
            self._gate = _Gate(app if site.asgi else WSGIMiddleware(app, workers=4), site.hosts, self.blocked)
            self._start()
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise

    def reset(self) -> None:
        """Put the seed data back, once no request is in flight.

        Raises:
            WorldError: a request does not end.
        """
        if not self._gate.idle.wait(IDLE_SECONDS):
            raise WorldError(f"{self.site.name}: a request is still running after {IDLE_SECONDS:g} s; cannot reset")
        for name in self.site.mutable:
            path, kept = self.data / name, self._pristine / name
            if path.is_dir():
                shutil.rmtree(path)
            elif path.exists():
                path.unlink()
            if kept.is_dir():
                shutil.copytree(kept, path)
            elif kept.exists():
                shutil.copy2(kept, path)
        self.blocked.clear()

    def state(self) -> Any:
        """What `Site.read` finds in the data now."""
        return self.site.read(self.data)

    def take_blocked(self) -> tuple[str, ...]:
        """The requests for other places since the last call."""
        taken = tuple(self.blocked)
        del self.blocked[: len(taken)]
        return taken

    def close(self) -> None:
        """Stop serving and remove the data."""
        self._server.should_exit = True
        self._server.force_exit = True
        self._served.result(timeout=IDLE_SECONDS)
        self._socket.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------ inside

    def _keep(self) -> None:
        """Remember what reset must bring back."""
        for name in self.site.mutable:
            path, kept = self.data / name, self._pristine / name
            kept.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                shutil.copytree(path, kept)
            elif path.exists():
                shutil.copy2(path, kept)

    def _start(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.proxy = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        config = uvicorn.Config(
            self._gate,
            http="h11",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            date_header=False,
            limit_concurrency=64,
            timeout_graceful_shutdown=1,
        )
        self._server = _Server(config)
        self._served = asyncio.run_coroutine_threadsafe(self._server.serve(sockets=[self._socket]), loop_thread(LOOP))
        if not self._server.ready.wait(IDLE_SECONDS):
            raise WorldError(f"{self.site.name}: the server did not start within {IDLE_SECONDS:g} s")


class _Server(uvicorn.Server):
    """uvicorn off the main thread: it leaves the process's signals alone, and says when it is up."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Any:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class _Gate:
    """Lets requests for the site through, writes down all others, and knows when nothing is in flight."""

    def __init__(self, app: Any, hosts: tuple[str, ...], blocked: list[str]) -> None:
        self.idle = threading.Event()
        self.idle.set()
        self._app, self._hosts, self._blocked = app, hosts, blocked
        self._running = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        host = self._admit(scope)
        if host not in self._hosts:
            self._blocked.append(f"{scope['method']} {host[:200]}")
            return await _answer(send, 403, "this place cannot be reached from here")
        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > MAX_BODY:
            return await _answer(send, 413, f"at most {MAX_BODY} bytes")
        self._running += 1
        self.idle.clear()
        try:
            await self._app(scope, receive, send)
        finally:
            self._running -= 1
            if not self._running:
                self.idle.set()

    def _admit(self, scope: Scope) -> str:
        """The host that is asked for; turns a proxy's absolute address into the path an application expects."""
        target: str = scope["raw_path"].decode("latin-1")
        if scope["method"] == "CONNECT":
            return target
        if "://" not in target:
            return f"(not by proxy) {target}"
        parts = urlsplit(target)
        path = parts.path or "/"
        scope["raw_path"], scope["path"] = path.encode("latin-1"), unquote(path)
        return parts.netloc


async def _answer(send: Send, status: int, text: str) -> None:
    body = text.encode()
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
