"""Clients that hold on, flood, race or lie take no more than their share, and nobody else notices."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from websockets.sync.client import connect

from agentgym.serve.codec import pack, unpack
from agentgym.serve.limits import Limits
from agentgym.serve.server import run
from agentgym.serve.sessions import Served

CORRIDOR = "tests.serve.worlds:serving/Corridor-v0"
TOKEN = "correct-horse-battery"


@contextlib.contextmanager
def running(*, token: str = "", **limits: Any) -> Iterator[str]:
    """A server in a thread of this process, with limits of its own; gives its address."""
    ours, theirs = os.pipe()
    addresses: queue.Queue[str] = queue.Queue()

    def serve() -> None:
        run(Served((CORRIDOR,)), token=token, limits=Limits(**limits), until=ours, ready=addresses.put)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield addresses.get(timeout=30)
    finally:
        os.close(theirs)
        thread.join(30)
        os.close(ours)
    assert not thread.is_alive()


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with running(sessions=6, seconds=30.0) as address:
        yield address


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60) as client:
        yield client


def sessions(http: httpx.Client) -> int:
    return int(http.get("/health").json()["sessions"])


def address(url: str) -> tuple[str, int]:
    return "127.0.0.1", int(url.rpartition(":")[2])


def test_a_first_reset_that_is_refused_holds_no_session(http: httpx.Client) -> None:
    before = sessions(http)
    assert http.post("/reset", json={"seed": -1}).status_code == 400
    assert sessions(http) == before


def test_requests_that_begin_one_episode_at_once_hold_one_session(http: httpx.Client) -> None:
    before = sessions(http)
    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(lambda _: http.post("/reset", json={"seed": 0, "episode_id": "one"}), range(3)))
    assert {answer.status_code for answer in answers} == {200}
    assert sessions(http) == before + 1


def test_steps_at_once_are_done_one_by_one_and_each_gets_its_own_answer(http: httpx.Client) -> None:
    http.post("/reset", json={"seed": 0, "episode_id": "busy"})
    with ThreadPoolExecutor(4) as pool:
        answers = list(
            pool.map(lambda _: http.post("/step", json={"action": "go", "episode_id": "busy"}).json(), range(4))
        )
    assert sorted(answer["observation"]["observation"]["place"][0] for answer in answers) == [1, 2, 3, 4]


def test_an_action_may_be_wrapped_as_openenvs_requests_are(http: httpx.Client) -> None:
    http.post("/reset", json={"seed": 0, "episode_id": "busy"})
    stepped = http.post("/step", json={"action": {"action": "go"}, "episode_id": "busy"}).json()
    assert stepped["observation"]["observation"]["place"] == [1, 0]


def test_half_a_surrogate_pair_is_answered_like_any_text(url: str, http: httpx.Client) -> None:
    answer = http.post("/reset", content=rb'{"seed": 0, "episode_id": "\ud800"}')
    assert answer.json()["observation"]["episode_id"] == "\ud800"
    with connect(url.replace("http", "ws") + "/ws") as talk:
        talk.send(r'{"type": "reset", "data": {"seed": 0, "episode_id": "\ud800"}}')
        assert json.loads(talk.recv())["type"] == "observation"
        talk.send('{"type": "state"}')
        assert json.loads(talk.recv())["data"]["episode_id"] == "\ud800"


@pytest.mark.parametrize("message", [b"", b"\xc1", b"\xdf" + b"\xff" * 4, pack([1, "open", {}])[:-1]])
def test_a_first_message_that_is_none_gets_an_error_and_no_session(url: str, message: bytes) -> None:
    with connect(url.replace("http", "ws") + "/agentgym") as talk:
        talk.send(message)
        number, kind, told = unpack(bytes(talk.recv()))  # type: ignore[arg-type]
        assert (number, kind, told["kind"]) == (-1, "error", "protocol")


def test_connections_that_ask_for_nothing_are_dropped() -> None:
    """A WebSocket may be silent for longer: it did ask for something."""
    with running(sessions=1, request_seconds=1.0) as other, connect(other.replace("http", "ws") + "/ws") as talk:
        silent = [socket.create_connection(address(other)) for _ in range(8)]
        for k, connection in enumerate(silent):
            connection.sendall(b"GET / HTTP/1.1\r\nHost: " if k % 2 else b"")
        for connection in silent:
            connection.settimeout(20)
            with contextlib.suppress(ConnectionResetError):
                assert connection.recv(1) == b""
            connection.close()
        talk.send(json.dumps({"type": "reset", "data": {"seed": 0}}))
        assert json.loads(talk.recv())["type"] == "observation"


def test_a_body_that_trickles_is_given_up() -> None:
    with running(request_seconds=1.0) as other, socket.create_connection(address(other), timeout=20) as slow:
        slow.sendall(b"POST /reset HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        assert slow.recv(1 << 16).startswith(b"HTTP/1.1 400")


def test_connections_beyond_the_bound_are_refused_and_those_before_are_served() -> None:
    with running(sessions=1) as other, connect(other.replace("http", "ws") + "/ws") as first:
        held = [socket.create_connection(address(other)) for _ in range(Limits(sessions=1).connections)]
        with pytest.raises(httpx.TransportError):
            httpx.get(other + "/health")
        first.send(json.dumps({"type": "reset", "data": {"seed": 0}}))
        assert json.loads(first.recv())["type"] == "observation"
        for connection in held:
            connection.close()


def test_a_talkative_client_is_held_back_and_another_is_not() -> None:
    with running(rate=50.0) as other:
        where = other.replace("http", "ws") + "/ws"
        began = time.monotonic()
        with connect(where) as talk:
            for _ in range(120):
                talk.send("{}")
                talk.recv()
        assert time.monotonic() - began >= 1.3, "50 at once, then 50 a second"


def test_a_url_may_carry_the_token_for_clients_that_send_no_header_of_ours() -> None:
    with running(token=TOKEN) as other:
        for user in (f"any:{TOKEN}", f":{TOKEN}"):
            with connect(other.replace("http://", f"ws://{user}@") + "/ws") as talk:
                talk.send('{"type": "close"}')
        assert httpx.get(other + "/health", auth=("any", "wrong")).status_code == 401
        for header in (TOKEN, f"Basic {TOKEN}", "Basic " + "=" * 9, "Bearer", "Bearer é"):
            assert httpx.get(other + "/health", headers={"Authorization": header.encode()}).status_code == 401
