"""The server's face: two WebSockets and a few HTTP routes, behind a token and the limits.

| route | what |
|---|---|
| ``/agentgym`` (WebSocket) | the protocol of `agentgym.serve.child`, MessagePack, for `agentgym/Remote-v0` |
| ``/ws`` (WebSocket) | OpenEnv's messages: reset, step, state, close |
| ``POST /reset``, ``POST /step``, ``GET /state`` | the same over HTTP; ``episode_id`` names the session |
| ``GET /health``, ``/metadata``, ``/schema`` | as OpenEnv's servers have them |

Each WebSocket is one session; HTTP sessions are made by ``/reset`` and end when idle.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import hmac
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agentgym.errors import AgentGymError, MissingExtra, UsageError, WorldError
from agentgym.serve import openenv
from agentgym.serve.child import failure
from agentgym.serve.codec import pack, space, unpack
from agentgym.serve.limits import Limits
from agentgym.serve.sessions import Busy, Relay, Served, Sessions

try:
    from starlette.applications import Starlette
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import JSONResponse, PlainTextResponse, Response
    from starlette.routing import Route, WebSocketRoute
    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.websockets import WebSocket, WebSocketDisconnect
except ImportError as error:
    raise MissingExtra("starlette", "serve") from error

__all__ = ["application"]

_POLICY_VIOLATION, _TRY_LATER, _TOO_BIG = 1008, 1013, 1009
_STATUS = {"usage": 400, "type": 400, "protocol": 400, "reset_needed": 409, "timeout": 504}


def application(served: Served, limits: Limits | None = None, *, token: str = "", loopback: bool = True) -> Starlette:
    """The ASGI application.

    Args:
        served: environments. limits: bounds.
        token: what clients must show as ``Authorization: Bearer …``; '' asks for none.
        loopback: without a token, answer only to loopback names in ``Host``: a page in a browser that has its own name
            point here must get nothing. False for Unix sockets, which no page reaches.

    Raises:
        UsageError: an id that does not exist.
    """
    bounds = limits or Limits()
    sessions = Sessions(served, bounds)
    face = _Face(sessions, served, bounds)

    @contextlib.asynccontextmanager
    async def life(_: Starlette) -> AsyncIterator[None]:
        sweeper = asyncio.create_task(face.sweep())
        try:
            yield
        finally:
            sweeper.cancel()
            await sessions.close()

    app = Starlette(
        lifespan=life,
        routes=[
            WebSocketRoute("/agentgym", face.own),
            WebSocketRoute("/ws", face.openenv),
            Route("/reset", face.reset, methods=["POST"]),
            Route("/step", face.step, methods=["POST"]),
            Route("/state", face.state),
            Route("/health", face.health),
            Route("/metadata", face.metadata),
            Route("/schema", face.schema),
        ],
    )
    app.add_middleware(_Gate, token=token, loopback=loopback)
    return app


class _Gate:
    """Lets in who shows the token; where there is none, who asks for a loopback name and is no page of another site."""

    def __init__(self, app: ASGIApp, *, token: str, loopback: bool) -> None:
        self.app, self.loopback = app, loopback
        self._token = token.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or (why := self._refusal(HTTPConnection(scope))) is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(_POLICY_VIOLATION, why)  # before accepting: HTTP 403
        else:
            await PlainTextResponse(why, 401 if self._token else 403)(scope, receive, send)

    def _refusal(self, connection: HTTPConnection) -> str | None:
        headers = connection.headers
        if self._token:
            shown = _shown(headers.get("authorization", ""))
            return None if hmac.compare_digest(shown, self._token) else "expected the server's token"
        if self.loopback and _name(headers.get("host", "")) not in ("localhost", "127.0.0.1", "::1"):
            return "this server has no token and answers to loopback names only"
        if headers.get("origin") and urlsplit(headers["origin"]).netloc != headers.get("host"):
            return "pages of other sites are not served"
        return None


def _shown(authorization: str) -> bytes:
    """The token of a header, as a bearer's or as the password of anybody, which is how a URL can carry it."""
    scheme, _, rest = authorization.partition(" ")
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2]
        except (binascii.Error, ValueError):
            return b""
    return rest.encode("utf-8", "replace") if scheme.lower() == "bearer" else b""


def _name(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


@dataclass
class _Episode:
    """One session that speaks OpenEnv."""

    relay: Relay
    told: dict[str, Any]
    episode_id: str = ""
    steps: int = 0
    heard: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    calls: int = 0

    async def call(self, operation: str, argument: Any) -> Any:
        self.heard = asyncio.get_running_loop().time()
        number = self.calls = self.calls + 1  # kept here: over HTTP, another call may begin while this one waits
        answered, kind, value = unpack(await self.relay.call(pack([number, operation, argument])))
        if answered != number:
            raise WorldError(f"answer {answered} came for call {number}")
        if kind == "error":
            raise _Told(value["kind"], value["message"])
        return value

    async def reset(self, data: Mapping[str, Any]) -> dict[str, Any]:
        seed, options = data.get("seed"), data.get("options")
        if seed is not None and (type(seed) is not int or seed < 0):
            raise UsageError(f"seed must be a whole number of at least 0, got {str(seed)[:50]!r}")
        if options is not None and not isinstance(options, dict):
            raise UsageError(f"options must be an object, got {type(options).__name__}")
        observation, info, *_ = await self.call("reset", [seed, options])
        self.steps = 0
        return openenv.result(observation, info, None, (False, False))

    async def step(self, data: Mapping[str, Any]) -> dict[str, Any]:
        action = openenv.as_action(data, space(self.told["action_space"]))
        observation, reward, terminated, truncated, info, *_ = await self.call("step", action)
        self.steps += 1
        return openenv.result(observation, info, reward, (terminated, truncated))

    def state(self) -> dict[str, Any]:
        return {"episode_id": self.episode_id or None, "step_count": self.steps, "env": self.told["id"]}


class _Told(AgentGymError):
    """An error that the session's process answered."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def _kind(error: Exception) -> str:
    if isinstance(error, _Told):
        return error.kind
    return "busy" if isinstance(error, Busy) else failure(error)["kind"]


class _Face:
    """The routes."""

    def __init__(self, sessions: Sessions, served: Served, limits: Limits) -> None:
        self.sessions, self.served, self.limits = sessions, served, limits
        self._http: dict[str, _Episode] = {}
        self._told: dict[str, Any] | None = None

    # ------------------------------------------------------------------ WebSockets

    async def own(self, socket: WebSocket) -> None:
        """`agentgym/Remote-v0`: the first message says what is wanted, the others go to the session's process."""
        await socket.accept()
        relay: Relay | None = None
        try:
            try:
                number, wish = _wish(await self._hear(socket))
                relay = await self.sessions.start(wish.get("id", ""), wish.get("options", {}))
                await socket.send_bytes(await relay.call(pack([number, "make", None])))
                pace = _Pace(self.limits.rate)
                while True:
                    await socket.send_bytes(await relay.call(await self._hear(socket, pace)))
            except AgentGymError as error:
                told = {"kind": _kind(error), "message": str(error)}
                await socket.send_bytes(pack([-1, "error", told]))
                await socket.close(_TRY_LATER)
        except _Silent as silent:
            await socket.close(_POLICY_VIOLATION, str(silent))
        except WebSocketDisconnect:
            pass  # the client is done
        finally:
            if relay is not None:
                await self.sessions.stop(relay)

    async def openenv(self, socket: WebSocket) -> None:
        """OpenEnv's messages."""
        await socket.accept()
        episode: _Episode | None = None
        pace = _Pace(self.limits.rate)
        try:
            while True:
                message = await self._hear(socket, pace)
                try:
                    data = openenv.read(message)
                    kind, inner = data.get("type"), data.get("data", {})
                    if kind == "close":
                        break
                    if kind not in ("reset", "step", "state") or not isinstance(inner, dict):
                        raise UsageError(f"expected a message of type reset, step, state or close, got {kind!r:.100}")
                    if episode is None:
                        episode = await self._begin(inner if kind == "reset" else {})
                    if kind == "state":
                        answer = {"type": "state", "data": episode.state()}
                    elif kind == "reset":
                        episode.episode_id = str(inner.get("episode_id") or "")[:255]
                        answer = {"type": "observation", "data": await episode.reset(inner)}
                    else:
                        answer = {"type": "observation", "data": await episode.step(inner)}
                except AgentGymError as error:
                    answer = {"type": "error", "data": openenv.error(_kind(error), str(error))}
                    if isinstance(error, Busy) or (episode is not None and episode.relay.over):
                        await socket.send_text(_json(answer))
                        break
                await socket.send_text(_json(answer))
            await socket.close()
        except _Silent as silent:
            await socket.close(_POLICY_VIOLATION, str(silent))
        except WebSocketDisconnect:
            pass
        finally:
            if episode is not None:
                await self.sessions.stop(episode.relay)

    async def _hear(self, socket: WebSocket, pace: _Pace | None = None) -> bytes:
        """The next message, text or bytes, no sooner than the rate allows."""
        if pace is not None:
            await pace.wait()
        try:
            async with asyncio.timeout(self.limits.idle_seconds):
                message = await socket.receive()
        except TimeoutError:
            raise _Silent(f"nothing was heard for {self.limits.idle_seconds:g} s") from None
        if message["type"] == "websocket.disconnect":
            raise WebSocketDisconnect(message.get("code", 1000))
        data: bytes = message.get("bytes") or (message.get("text") or "").encode("utf-8", "surrogatepass")
        return data

    # ------------------------------------------------------------------ HTTP

    async def reset(self, request: Request) -> Response:
        """A new session, or a new episode in the one that ``episode_id`` names."""

        async def work(data: dict[str, Any]) -> dict[str, Any]:
            key = str(data.get("episode_id") or secrets.token_urlsafe(16))[:255]
            episode = self._http.get(key)
            fresh = None
            if episode is None:
                episode = fresh = await self._begin(data)
                episode.episode_id = key
                if key in self._http:  # two asked for the same at once
                    await self.sessions.stop(fresh.relay)
                    episode, fresh = self._http[key], None
                else:
                    self._http[key] = episode
            try:
                answer = await episode.reset(data)
            except BaseException:
                if fresh is not None:  # nobody was told of it: it would be held until it is idle
                    self._http.pop(key, None)
                    await self.sessions.stop(fresh.relay)
                raise
            answer["observation"]["episode_id"] = key
            return answer

        return await self._answered(request, work)

    async def step(self, request: Request) -> Response:
        """One step of the session that ``episode_id`` names."""

        async def work(data: dict[str, Any]) -> dict[str, Any]:
            episode = self._found(data.get("episode_id"))
            answer = await episode.step(data)
            answer["observation"]["episode_id"] = episode.episode_id
            return answer

        return await self._answered(request, work)

    async def state(self, request: Request) -> Response:
        """How far the session that ``?episode_id=`` names is."""

        async def work(_: dict[str, Any]) -> dict[str, Any]:
            return self._found(request.query_params.get("episode_id")).state()

        return await self._answered(request, work)

    async def health(self, _: Request) -> Response:
        """Alive, and how full."""
        return JSONResponse({"status": "healthy", "sessions": len(self.sessions), "limit": self.limits.sessions})

    async def metadata(self, _: Request) -> Response:
        """What is served."""
        return JSONResponse({"name": self.served.ids[0], "description": "agentgym: " + ", ".join(self.served.ids)})

    async def schema(self, request: Request) -> Response:
        """JSON schemas of the first environment."""

        async def work(_: dict[str, Any]) -> dict[str, Any]:
            if self._told is None:
                episode = await self._begin({})
                self._told = episode.told
                await self.sessions.stop(episode.relay)
            return openenv.schema(self._told)

        return await self._answered(request, work)

    async def sweep(self) -> None:
        """End HTTP sessions that hear nothing."""
        while True:
            await asyncio.sleep(min(self.limits.idle_seconds / 4, 30.0))
            now = asyncio.get_running_loop().time()
            for key, episode in list(self._http.items()):
                if now - episode.heard > self.limits.idle_seconds:
                    del self._http[key]
                    await self.sessions.stop(episode.relay)

    async def _begin(self, data: Mapping[str, Any]) -> _Episode:
        options = data.get("env_options") or {}
        if not isinstance(options, dict):
            raise UsageError(f"env_options must be an object, got {type(options).__name__}")
        relay = await self.sessions.start(str(data.get("env") or ""), options)
        try:
            episode = _Episode(relay, {})
            episode.told = await episode.call("make", None)
        except BaseException:
            await self.sessions.stop(relay)
            raise
        return episode

    def _found(self, key: Any) -> _Episode:
        episode = self._http.get(str(key or ""))
        if episode is None:
            raise UsageError("expected the episode_id of a session that runs; POST /reset begins one and tells its own")
        return episode

    async def _answered(
        self, request: Request, work: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]
    ) -> Response:
        try:
            body = await self._body(request)
            return _Answer(await work(openenv.read(body) if body else {}))
        except AgentGymError as error:
            for key, episode in list(self._http.items()):
                if episode.relay.over:
                    del self._http[key]
                    await self.sessions.stop(episode.relay)
            status = 503 if isinstance(error, Busy) else _STATUS.get(_kind(error), 500)
            return _Answer(openenv.error(_kind(error), str(error)), status)

    async def _body(self, request: Request) -> bytes:
        body = bytearray()
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                async for part in request.stream():
                    body += part
                    if len(body) > self.limits.request_bytes:
                        raise UsageError(f"the request is larger than {self.limits.request_bytes} bytes")
        except TimeoutError:
            raise UsageError(f"the request did not come within {self.limits.request_seconds:g} s") from None
        return bytes(body)


class _Silent(Exception):
    pass


class _Pace:
    """Holds a talkative client back: its messages are read at most at a rate, after a burst of one second's worth."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free = rate, 0.0

    async def wait(self) -> None:
        """Until the next message may be read."""
        now = asyncio.get_running_loop().time()
        self._free = max(self._free, now - 1.0) + 1.0 / self._rate
        if self._free > now:
            await asyncio.sleep(self._free - now)


class _Answer(JSONResponse):
    def render(self, content: Any) -> bytes:
        return _json(content).encode()


def _json(content: Any) -> str:
    """In ASCII: what a client sent comes back in answers, and may be no text for UTF-8 (half of a surrogate pair)."""
    return json.dumps(content, allow_nan=False, separators=(",", ":"))


def _wish(message: bytes) -> tuple[int, dict[str, Any]]:
    match unpack(message):
        case [int(number), "open", {"id": str(id), "options": dict(options)}]:
            return number, {"id": id, "options": options}
        case _:
            raise _Silent("expected [number, 'open', {id, options}] first")
