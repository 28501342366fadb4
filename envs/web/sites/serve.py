"""AppSite: an application, answering the pages of one environment from a copy of its data.

The application is called in this process, through the request that the browser holds open: there is no port, no name to
resolve and nothing that another program could reach.

An episode's opening (the requests of its first page) is the same every time, since the data are. It is played by the
application once; from then on the data are put back as they stood after it, and the answers that led there are told
from memory. A start that runs a script of its own on that page is played every time.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import httpx
from werkzeug.test import EnvironBuilder, run_wsgi_app

from agentgym.envs.web.site import Answer, Request, Site
from agentgym.envs.web.sites.application import Application, seed_folder
from agentgym.errors import WorldError

__all__ = ["MAX_BODY", "AppSite"]

MAX_BODY = 2_000_000
"""Bytes of a request's body; more is answered 413."""
IDLE_SECONDS = 10.0
"""How long a reset waits for requests under way."""
MAX_KEPT = 500
"""Static answers kept in memory, at most."""
MAX_OPENINGS = 64
"""First pages whose opening is remembered."""


@dataclass(frozen=True)
class _Opening:
    """What the application answered while a first page was loaded (address -> answer), and the data after that."""

    answers: Mapping[str, Answer]
    data: Path


class AppSite(Site):
    """A running copy of an application.

    Args:
        application: what to run.

    Attributes:
        data: the folder of this copy.
        faults: what the application raised since the last reset, as text; the page saw a 500.
    """

    def __init__(self, application: Application) -> None:
        self.application = application
        self.origin = application.origin
        self.faults: list[str] = []
        self._folder = Path(tempfile.mkdtemp(prefix=f"agentgym-{application.name}-"))
        self.data, self._pristine = self._folder / "data", self._folder / "pristine"
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._seen: tuple[Any, Any] | None = None
        self._sign_in = False
        self._kept: dict[str, Answer] = {}
        self._start = ""
        self._openings: dict[str, _Opening] = {}
        self._playing: _Opening | None = None
        self._heard: dict[str, Answer] | None = None
        try:
            shutil.copytree(seed_folder(application), self.data)
            app = application.app(self.data)
            self._cookies: Mapping[str, str] = application.login(app) if application.login else {}
            for name in application.mutable:
                _copy(self.data / name, self._pristine / name)
        except BaseException:
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        self._app = app

    def known(self, method: str, url: str) -> Answer | None:
        """A static answer that was given before; the first request of a signed-in episode is never one."""
        if method != "GET" or self._sign_in:
            return None
        return (self._playing and self._playing.answers.get(url)) or self._kept.get(url)

    def opens(self, url: str) -> None:
        """The next `reset` is for an episode that begins at this address."""
        self._start = url

    def opened(self) -> None:
        """The first page is there: keep what was heard meanwhile, when it can be told again."""
        self._playing, heard, self._heard = None, self._heard, None
        if not heard or self._start not in heard or self._running or len(self._openings) >= MAX_OPENINGS:
            return
        folder = self._folder / f"opening-{len(self._openings)}"
        for name in self.application.mutable:
            _copy(self.data / name, folder / name)
        self._openings[self._start] = _Opening(heard, folder)

    async def answer(self, request: Request) -> Answer:
        """What the application says to one request."""
        if len(request.body) > MAX_BODY:
            return Answer(413, {"content-type": "text/plain"}, b"the request is too large")
        self._running += 1
        self._idle.clear()
        try:
            return await self._ask(request)
        finally:
            self._running -= 1
            if not self._running:
                self._idle.set()

    async def reset(self, setup: Any) -> None:
        """Put the seed data back, once no request is under way.

        Raises:
            WorldError: a request does not end.
        """
        try:
            await asyncio.wait_for(self._idle.wait(), IDLE_SECONDS)
        except TimeoutError:
            name = self.application.name
            raise WorldError(
                f"{name}: a request still runs after {IDLE_SECONDS:g} s; the data cannot be put back"
            ) from None
        self._playing = self._openings.get(self._start)
        source = self._playing.data if self._playing else self._pristine
        for name in self.application.mutable:
            _copy(source / name, self.data / name)
        self.faults.clear()
        self._seen = None
        self._sign_in = bool(self._cookies) and self._playing is None
        self._heard = {} if self._playing is None else None

    def digest(self) -> Any:
        """The state of the data, as `Application.read` tells it; read again only when a file has changed."""
        mark = tuple(_mark(self.data / name) for name in self.application.mutable)
        if self._seen is None or self._seen[0] != mark:
            self._seen = mark, self.application.read(self.data)
        return self._seen[1]

    def close(self) -> None:
        """Remove the copy."""
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------ inside

    async def _ask(self, request: Request) -> Answer:
        headers = {k: v for k, v in request.headers.items() if k.lower() not in ("content-length", "accept-encoding")}
        signing_in, self._sign_in = self._sign_in, False
        if signing_in:
            headers["cookie"] = "; ".join(f"{k}={v}" for k, v in self._cookies.items())
        try:
            if self.application.asgi:
                response = await self._through_asgi(request, headers)
            else:
                response = await asyncio.to_thread(self._through_wsgi, request, headers)
        except Exception as error:  # noqa: BLE001  (a bug of the application is an answer of the site: the page sees a 500)
            self.faults.append(f"{type(error).__name__}: {error}"[:500])
            return Answer(500, {"content-type": "text/plain"}, b"the application failed")
        status, pairs, body = response
        kept: dict[str, str] = {}
        for name, value in pairs:
            if (key := name.lower()) not in _DROPPED:  # several cookies travel in one value, a line each
                kept[key] = f"{kept[key]}\n{value}" if key in kept else value
        if signing_in:
            own = "\n".join(f"{k}={v}; Path=/; HttpOnly; SameSite=Lax" for k, v in self._cookies.items())
            kept["set-cookie"] = "\n".join(filter(None, (own, kept.get("set-cookie"))))
        answer = Answer(status, kept, body)
        if self._keeps(request, answer):
            self._kept[request.url] = answer
        self._hear(request, answer)
        return answer

    def _hear(self, request: Request, answer: Answer) -> None:
        """Note an answer of the opening; give up on one that could not be told again."""
        if self._heard is None:
            return
        same = self._heard.setdefault(request.url, answer) == answer
        if request.method != "GET" or answer.status >= 400 or not same or len(self._heard) > MAX_KEPT:
            self._heard = None

    def _keeps(self, request: Request, answer: Answer) -> bool:
        address = request.url.removeprefix(self.origin)
        static = request.method == "GET" and address.startswith(self.application.static)
        return static and answer.status == 200 and "set-cookie" not in answer.headers and len(self._kept) < MAX_KEPT

    def _through_wsgi(self, request: Request, headers: Mapping[str, str]) -> _Response:
        address = urlsplit(request.url)
        builder = EnvironBuilder(
            path=unquote(address.path),
            base_url=self.origin,
            query_string=address.query,
            method=request.method,
            headers=list(headers.items()),
            data=request.body,
        )
        chunks, status, answered = run_wsgi_app(self._app, builder.get_environ())
        return int(status.split(" ", 1)[0]), list(answered), b"".join(chunks)

    async def _through_asgi(self, request: Request, headers: Mapping[str, str]) -> _Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(self._app), trust_env=False) as client:
            response = await client.request(request.method, request.url, headers=headers, content=request.body)
        return response.status_code, response.headers.multi_items(), response.content


_Response = tuple[int, list[tuple[str, str]], bytes]
_DROPPED = frozenset(("content-length", "transfer-encoding", "connection", "date", "server", "content-encoding"))
"""Headers that speak of a connection or of the wall clock; httpx has undone the encoding."""


def _copy(source: Path, target: Path) -> None:
    """Make ``target`` what ``source`` is: a file, a folder, or nothing.

    A file of the same size and time of change is left alone: it was copied from there, and writing to it would have
    moved its time on.
    """
    if source.is_dir():
        if not target.is_dir():
            target.unlink(missing_ok=True)
            target.mkdir(parents=True)
        names = {file.name for file in source.iterdir()}
        for name in names | {file.name for file in target.iterdir()}:
            _copy(source / name, target / name)
    elif source.exists():
        wanted = source.stat()
        if target.is_dir():
            shutil.rmtree(target)
        found = target.stat() if target.exists() else None
        if found is None or (found.st_size, found.st_mtime_ns) != (wanted.st_size, wanted.st_mtime_ns):
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)
    elif target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)


def _mark(path: Path) -> tuple[Any, ...]:
    """Changes when the file, or a file directly in the folder, does.

    Not with what reading alone leaves beside an SQLite database: the index of its log, and a log without entries.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    found = [(f.name, s.st_mtime_ns, s.st_size) for f in files if f.exists() for s in (f.stat(),)]
    return tuple(f for f in found if not f[0].endswith("-shm") and (f[2] or not f[0].endswith("-wal")))
