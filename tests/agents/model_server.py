"""A real HTTP server on this machine that speaks the chat-completions protocol, for tests of what stands before it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answer = tuple[int, dict[str, str], bytes]


def completion(text: str) -> Answer:
    body = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}]}  # fmt: skip  # noqa: E501
    return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()


class Server:
    """A model server whose answers the test decides; counts what is in flight."""

    def __init__(self) -> None:
        self.answer: Callable[[dict[str, Any], int], Answer | None] = lambda body, number: completion("left")
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.flying = self.most = 0
        self.lock = threading.Lock()
        self.hang = threading.Event()  # set at the end, so that handlers that hang can leave
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                with outer.lock:
                    outer.bodies.append(body)
                    outer.headers.append(dict(self.headers))
                    outer.paths.append(self.path)
                    number = len(outer.bodies)
                    outer.flying += 1
                    outer.most = max(outer.most, outer.flying)
                answer = outer.answer(body, number)
                with outer.lock:
                    outer.flying -= 1
                if answer is None:
                    outer.hang.wait(20)
                    self.close_connection = True
                    return
                status, headers, content = answer
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(content)))
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
        self.hang.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
