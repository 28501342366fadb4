"""A language model as annotator, against a real HTTP server on this machine."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import pytest

from agentgym.errors import EndpointError, UsageError
from agentgym.rewards.models.annotator import Annotator
from agentgym.rewards.models.sources import EndpointSource, Question, label_of, preference_of
from tests.rewards.credit.tables import rollouts

KEY = "sk-secret-0123456789"
PATIENCE = 30.0
Answer = tuple[int, dict[str, str], bytes]


def completion(text: str) -> Answer:
    return 200, {}, json.dumps({"choices": [{"message": {"role": "assistant", "content": text}}]}).encode()


class Server:
    """Answers as the test decides; None hangs until the end."""

    def __init__(self) -> None:
        self.answer: Callable[[str, int], Answer | None] = lambda said, number: completion("1")
        self.asked: list[str] = []
        self.headers: list[dict[str, str]] = []
        self.end, self.arrived = threading.Event(), threading.Event()
        lock, outer = threading.Lock(), self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with lock:
                    outer.asked.append(body["messages"][0]["content"])
                    outer.headers.append(dict(self.headers))
                    number = len(outer.asked)
                outer.arrived.set()
                answer = outer.answer(body["messages"][0]["content"], number)
                if answer is None:
                    outer.end.wait(PATIENCE)
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def close(self) -> None:
        self.end.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    running = Server()
    yield running
    running.close()


def source(server: Server, **options: Any) -> EndpointSource:
    return EndpointSource(server.url, "m", **{"backoff": 0.001, "timeout": PATIENCE, "retries": 2, **options})


def steps(*texts: str) -> Any:
    return rollouts([0.0] * len(texts)).with_extra(text=np.array(texts, dtype=object))


def test_every_message_is_asked_about_once_and_labels_come_back(server: Server) -> None:
    server.answer = lambda said, number: completion("1" if "a key" in said else " No.")
    with Annotator(source(server, goal="find the key")) as annotator:
        table = steps("a key", "a wall", "a key")
        annotator.submit(table)
        assert annotator.wait(PATIENCE)
        assert annotator.take().join(table).extras["label"].tolist() == [1.0, 0.0, 1.0]
    assert len(server.asked) == 2
    assert all("find the key" in said for said in server.asked)
    assert server.headers[0]["Authorization"] == f"Bearer {KEY}"


def test_two_messages_are_compared(server: Server) -> None:
    server.answer = lambda said, number: completion("2" if said.index("good") > said.index("poor") else "1")
    found = source(server).label([Question("poor", "good"), Question("good", "poor")])
    assert found == [0.0, 1.0]


@pytest.mark.parametrize("said", ["maybe", "", "0 or 1", "10", "it is 0.5"])
def test_an_answer_that_is_no_label_is_counted_and_teaches_nothing(server: Server, said: str) -> None:
    server.answer = lambda asked, number: completion(said)
    with Annotator(source(server)) as annotator:
        annotator.submit(steps("a"))
        assert annotator.wait(PATIENCE)
        assert (annotator.stats.unanswered, annotator.stats.labelled) == (1, 0)


@pytest.mark.parametrize("content", [b"<html>", b"{}", b'{"choices": []}', b"\xff", b"[]"])
def test_garbage_fails_the_batch_and_is_named(server: Server, content: bytes) -> None:
    server.answer = lambda said, number: (200, {}, content)
    with Annotator(source(server)) as annotator:
        annotator.submit(steps("a"))
        assert annotator.wait(PATIENCE)
        assert annotator.stats.failed == 1
        assert "expected a chat completion" in annotator.stats.error
        server.answer = lambda said, number: completion("1")
        annotator.submit(steps("a"))
        assert annotator.wait(PATIENCE)
        assert annotator.stats.labelled == 1, "the next batch goes on"


def test_a_busy_server_is_asked_again_when_it_says(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """It wishes no wait; the back-off would outlast the test."""
    monkeypatch.setattr("agentgym.rewards.models.sources._LONGEST_WAIT", 1e6)
    server.answer = lambda said, number: (429, {"Retry-After": "0"}, b"") if number < 3 else completion("yes")
    assert source(server, backoff=1e6).label([Question("a")]) == [1.0]
    assert len(server.asked) == 3


def test_a_slow_server_holds_up_nobody_and_closing_breaks_it_off(server: Server) -> None:
    server.answer = lambda said, number: None
    annotator = Annotator(source(server))
    annotator.submit(steps("a"))
    assert server.arrived.wait(PATIENCE)
    before = time.process_time()
    for k in range(50):
        annotator.submit(steps(f"message {k}"))
        annotator.take()
    assert annotator.stats.pending == 51
    assert time.process_time() - before < 5.0
    assert annotator.close(PATIENCE), "well before the server's or the request's own patience ends"
    assert not server.end.is_set()


def test_a_server_that_hangs_times_out(server: Server) -> None:
    server.answer = lambda said, number: None
    with pytest.raises(EndpointError, match=r"2 tries.*Timeout"):
        source(server, timeout=0.1, retries=1).label([Question("a")])


def test_no_server() -> None:
    with Annotator(EndpointSource("http://127.0.0.1:9", "m", retries=0)) as annotator:
        annotator.submit(steps("a"))
        assert annotator.wait(PATIENCE)
        assert "ConnectError" in annotator.stats.error
        assert annotator.stats.failed == 1


def test_a_refusal_is_not_repeated_and_hides_the_key(server: Server) -> None:
    server.answer = lambda said, number: (401, {}, f"bad key {KEY}".encode())
    made = source(server)
    with pytest.raises(EndpointError, match=r"refused.*401.*bad key \*\*\*"):
        made.label([Question("a")])
    assert len(server.asked) == 1
    assert KEY not in repr(made)
    made.close()
    with pytest.raises(EndpointError, match="has been closed"):
        made.label([Question("a")])


def test_braces_in_a_message_are_only_text(server: Server) -> None:
    assert source(server).label([Question("{goal} {0} %s")]) == [1.0]
    assert "{goal} {0} %s" in server.asked[0]


def test_answers_are_read_strictly() -> None:
    assert [label_of(t) for t in ("1", "Yes!", "no", "Answer: 0.", "1 1")] == [1.0, 1.0, 0.0, 0.0, 1.0]
    assert [preference_of(t) for t in ("1", "Message 2", "neither", "tie", "1 and 2")] == [1.0, 0.0, 0.5, 0.5, None]


def test_senseless_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="http"):
        EndpointSource("localhost", "m")
    with pytest.raises(UsageError, match="concurrency"):
        EndpointSource("http://x", "m", concurrency=0)
