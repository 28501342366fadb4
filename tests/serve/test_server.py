"""The server as its clients meet it: sessions, limits, the token, OpenEnv's messages."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from agentgym.serve.codec import pack, unpack
from tests.serve.servers import ROOT, serving

GRID = "agentgym/Grid-DoorKey-5x5-v0"
CORRIDOR = "tests.serve.worlds:serving/Corridor-v0"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(CORRIDOR, GRID, "--max-sessions", "3", "--max-request", "20000", "--step-timeout", "6") as address:
        yield address


class Talk:
    """A client of OpenEnv's protocol, by hand."""

    def __init__(self, url: str, **options: Any) -> None:
        self._stack = contextlib.ExitStack()
        self.socket = self._stack.enter_context(connect(url.replace("http", "ws") + "/ws", **options))

    def __call__(self, kind: str, data: Any = None) -> Any:
        self.socket.send(json.dumps({"type": kind} if data is None else {"type": kind, "data": data}))
        return json.loads(self.socket.recv())

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()


def idle(url: str) -> bool:
    """No session is left, within the time that an end may take."""
    end = time.monotonic() + 20
    while httpx.get(url + "/health").json()["sessions"]:
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def test_openenvs_messages(url: str) -> None:
    with Talk(url) as talk:
        began = talk("reset", {"seed": 3, "episode_id": "e", "env": GRID, "env_options": {"view": "memory"}})
        assert began["type"] == "observation"
        assert began["data"]["done"] is False
        assert began["data"]["reward"] is None
        info = began["data"]["observation"]["info"]
        assert info["goal"]
        assert set(info["process"]) == {"milestones", "progress", "danger", "grounded", "anchor"}
        stepped = talk("step", {"action": "turn left"})["data"]
        assert stepped["reward"] == 0.0
        assert isinstance(stepped["observation"]["observation"], str | dict)
        assert talk("state")["data"] == {"episode_id": "e", "step_count": 1, "env": GRID}


@pytest.mark.parametrize(
    ("kind", "data", "words"),
    [
        ("dance", {}, "expected a message of type"),
        ("step", {"act": 1}, '"action": VALUE'),
        ("step", {"action": 5}, "action must be a str"),
        ("reset", {"seed": -1}, "seed"),
        ("reset", {"seed": "0"}, "seed"),
        ("reset", {"options": 5}, "options must be an object"),
    ],
)
def test_bad_messages_are_answered_and_the_session_goes_on(url: str, kind: str, data: Any, words: str) -> None:
    with Talk(url) as talk:
        talk("reset", {"seed": 0})
        answer = talk(kind, data)
        assert answer["type"] == "error"
        assert answer["data"]["code"] == "VALIDATION_ERROR"
        assert words in answer["data"]["message"]
        assert talk("step", {"action": "go"})["data"]["observation"]["observation"]["text"] == "place 1"


def test_what_is_not_json_is_answered_too(url: str) -> None:
    with Talk(url) as talk:
        for text in ("{", "[]", "[" * 10_000):
            talk.socket.send(text)
            assert "expected a JSON object" in json.loads(talk.socket.recv())["data"]["message"]


def test_clients_choose_only_what_they_may(url: str) -> None:
    for wish, words in (
        ({"env": "agentgym/Grid-Empty-5x5-v0"}, "this server has"),
        ({"env_options": {"executable_path": "/bin/sh"}}, "may choose"),
        ({"env_options": {"view": ["a"]}}, "must be a number"),
    ):
        with Talk(url) as talk:
            assert words in talk("reset", wish)["data"]["message"]


def test_over_http_an_episode_id_names_the_session(url: str) -> None:
    with httpx.Client(base_url=url, timeout=30) as client:
        began = client.post("/reset", json={"seed": 0}).json()
        key = began["observation"]["episode_id"]
        other = client.post("/reset", json={"seed": 0}).json()["observation"]["episode_id"]
        assert key != other
        for n in (1, 2):
            stepped = client.post("/step", json={"action": "go", "episode_id": key}).json()
            assert stepped["observation"]["observation"]["place"] == [n, 0]
        assert client.get("/state", params={"episode_id": other}).json()["step_count"] == 0
        lost = client.post("/step", json={"action": "go", "episode_id": "nobody's"})
        assert (lost.status_code, lost.json()["code"]) == (400, "VALIDATION_ERROR")
        assert client.get("/schema").json()["action"]["properties"]["action"]["type"] == "string"
        for session in (key, other):  # they would stay until they are idle: end them by a broken world
            assert client.post("/step", json={"action": "exit", "episode_id": session}).status_code == 500


def test_a_request_that_is_too_large_is_refused(url: str) -> None:
    large = httpx.post(url + "/reset", content=b" " * 30_000)
    assert large.status_code == 400
    assert "larger than 20000 bytes" in large.json()["message"]
    with Talk(url) as talk, pytest.raises(ConnectionClosed) as closed:
        talk("reset", {"padding": "x" * 30_000})
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


def test_a_step_out_of_time_ends_its_session_and_no_other(url: str) -> None:
    with Talk(url) as slow, Talk(url) as other:
        slow("reset", {"seed": 0})
        other("reset", {"seed": 0})
        answer = slow("step", {"action": "hang"})
        assert "did not answer within" in answer["data"]["message"]
        with pytest.raises(ConnectionClosed):
            slow("state")
        assert other("step", {"action": "go"})["type"] == "observation"


@pytest.mark.parametrize(("action", "words"), [("break", "the corridor fell in"), ("exit", "is gone")])
def test_a_broken_world_is_an_error_and_the_server_lives(url: str, action: str, words: str) -> None:
    with Talk(url) as talk:
        talk("reset", {"seed": 0})
        answer = talk("step", {"action": action})
        assert answer["data"]["code"] == "EXECUTION_ERROR"
        assert words in answer["data"]["message"]
    assert idle(url)


def test_no_more_sessions_than_the_limit_and_one_that_ends_makes_room(url: str) -> None:
    assert idle(url)
    talks = [Talk(url) for _ in range(3)]
    for talk in talks:
        assert talk("reset", {"seed": 0})["type"] == "observation"
    with Talk(url) as late:
        assert late("reset", {"seed": 0})["data"]["code"] == "CAPACITY_REACHED"
    for talk in talks:
        talk.close()
    assert idle(url)
    with Talk(url) as later:
        assert later("reset", {"seed": 0})["type"] == "observation"


@pytest.mark.parametrize(
    "message", [b"", b"\x00", pack(["open"]), pack([1, "open", {"id": 5, "options": {}}]), pack([1, "step", "go"])]
)
def test_the_own_protocol_begins_with_open(url: str, message: bytes) -> None:
    with connect(url.replace("http", "ws") + "/agentgym") as socket:
        socket.send(message)
        answers = []
        with contextlib.suppress(ConnectionClosed):
            while True:
                answers.append(socket.recv())
    assert all(unpack(bytes(answer))[1] == "error" for answer in answers)  # type: ignore[arg-type]


def test_pages_of_other_sites_get_nothing(url: str) -> None:
    """A page may open WebSockets to loopback, and may point its own name there."""
    with pytest.raises(InvalidStatus) as refused:
        Talk(url, additional_headers={"Origin": "https://example.org"})
    assert refused.value.response.status_code == 403
    assert httpx.get(url + "/health", headers={"Host": "example.org"}).status_code == 403


def test_a_token_is_asked_for_and_never_said(tmp_path: Path) -> None:
    secret = "correct-horse-battery"
    (tmp_path / "token").write_text(secret + "\n")
    with serving(GRID, "--token-file", str(tmp_path / "token")) as address:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": f"Basic {secret}"}):
            answer = httpx.get(address + "/health", headers=headers)
            assert answer.status_code == 401
            assert secret not in answer.text
        assert httpx.get(address + "/health", headers={"Authorization": f"Bearer {secret}"}).status_code == 200


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([GRID, "--host", "0.0.0.0"], "--token-file"),
        (["agentgym/Grid-DorKey-5x5-v0"], "did you mean"),
        ([GRID, "--token-file", "/nowhere"], "cannot read the token"),
        ([GRID, "--uds", "/nowhere/socket"], "cannot make the socket"),
        ([GRID, "--max-sessions", "0"], "above 0"),
        ([GRID, "--port", "70000"], "--port"),
    ],
)
def test_what_cannot_be_served_is_one_line_and_exit_code_2(words: list[str], said: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "agentgym", "serve", *words], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_port_in_use_is_said(url: str) -> None:
    port = url.rpartition(":")[2]
    words = [sys.executable, "-m", "agentgym", "serve", GRID, "--port", port]
    done = subprocess.run(words, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, "cannot listen on" in done.stderr) == (2, True)


def children(pid: int) -> set[int]:
    """All processes below one."""
    below: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (FileNotFoundError, ProcessLookupError):
                continue
            below.setdefault(parent, []).append(int(entry.name))
    found: set[int] = set()
    ahead = [pid]
    while ahead:
        ahead += [c for c in below.get(ahead.pop(), []) if c not in found and not found.add(c)]  # type: ignore[func-returns-value]
    return found


def alive(pid: int) -> bool:
    """It runs: neither gone nor dead and waiting for its parent to notice."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_of_a_server_not_even_of_a_hanging_session(how: signal.Signals, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "agentgym", "serve", CORRIDOR, "--port", "0"]
    program = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdout is not None
    address = program.stdout.readline().split()[-1]
    with Talk(address) as talk:
        talk("reset", {"seed": 0})
        talk.socket.send(json.dumps({"type": "step", "data": {"action": "hang"}}))
        family = children(program.pid)
        assert family
        os.kill(program.pid, how)
        program.wait(30)
        end = time.monotonic() + 20
        while any(map(alive, family)):
            assert time.monotonic() < end, "a process of the server lives on"
            time.sleep(0.02)
    program.stdout.close()


def test_a_server_started_until_eof_ends_with_its_starter(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    words = [sys.executable, "-m", "agentgym", "serve", GRID, "--uds", str(path), "--until-eof"]
    program = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert program.stdin is not None
    assert program.stdout is not None
    assert program.stdout.readline().startswith("serving at unix:")
    assert path.stat().st_mode & 0o777 == 0o600
    program.stdin.close()
    assert program.wait(30) == 0
    assert not path.exists()
    program.stdout.close()
