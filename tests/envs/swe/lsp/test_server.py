"""The two servers, truly run; their records, replayed; and what happens when a server fails."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agentgym.containers import bubblewrap
from agentgym.envs.swe.lsp import SERVERS, Judge, LanguageServer, ServerTrouble, Transcript, reward, server
from agentgym.envs.swe.lsp.wire import Wire
from agentgym.errors import RunError, UnknownName, UsageError, WorldError

BEFORE = {
    "box/__init__.py": b"",
    "box/parts.py": b"def size(x: int) -> int:\n    return x\n",
    "box/main.py": b"import os\nfrom box.parts import size\n\n\ndef run() -> str:\n    return size('a') + z  # noqa\n",
    # Were they read, nothing would be found.
    "pyproject.toml": b"[tool.ruff.lint]\nselect = []\n[tool.basedpyright]\ntypeCheckingMode = 'off'\n",
    "ruff.toml": b"lint.select = []\n",
    "pyrightconfig.json": b'{"typeCheckingMode": "off", "reportUndefinedVariable": false}',
}
AFTER = BEFORE | {"box/main.py": b"from box.parts import size\n\n\ndef run() -> str:\n    return str(size(1))\n"}
CODES = {
    "ruff": {"F401", "F821"},
    "basedpyright": {"reportArgumentType", "reportUndefinedVariable"},
}


@pytest.fixture(scope="module", params=sorted(SERVERS))
def running(request: pytest.FixtureRequest, need: Callable[[object, str, str], None]) -> Iterator[LanguageServer]:
    """Each server; kept alive over all tests of this module."""
    need(importlib.util.find_spec(request.param), request.param, 'run `pip install -e ".[swe]"` in the checkout')
    with LanguageServer(request.param) as one:
        yield one


def _python(tree: dict[str, bytes]) -> dict[str, bytes]:
    return {path: data for path, data in tree.items() if path.endswith(".py")}


def test_faults_are_found_whatever_the_repository_configures(running: LanguageServer) -> None:
    found = Judge([running]).start(BEFORE)
    assert found.count
    codes = {d.code for each in running.diagnostics(_python(BEFORE)).values() for d in each}
    assert codes >= CODES[running.about["server"]]


def test_a_repair_pays_and_a_syntax_error_does_not(running: LanguageServer) -> None:
    judge = Judge([running])
    start = judge.start(BEFORE)
    assert start.count is not None
    good = reward(start, judge.measure(AFTER))
    assert good.value == pytest.approx(0.5 * start.count)
    for broken in (b"def run() -> str:\n    return (\n", BEFORE["box/main.py"] + b")"):
        assert reward(start, judge.measure(BEFORE | {"box/main.py": broken})).value < 0


def test_a_server_kept_alive_says_what_a_fresh_one_says(running: LanguageServer) -> None:
    """Through edits, additions, removals and a file that becomes a folder."""
    states = [
        _python(BEFORE),
        _python(AFTER),
        _python(BEFORE) | {"box/parts.py": b"def size(x: str) -> str:\n    return x\n"},
        {k: v for k, v in _python(BEFORE).items() if k != "box/parts.py"},
        {"box.py": b"x = undefined\n"},
        _python(BEFORE),
    ]
    alive = [running.diagnostics(state) for state in states]
    for state, said in list(zip(states, alive, strict=True))[2:5]:
        with LanguageServer(running.about["server"]) as fresh:
            assert fresh.diagnostics(state) == said
    assert alive[0] == alive[-1]


def test_a_record_replays_to_the_same_rewards_without_a_server(
    running: LanguageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = [
        AFTER,
        BEFORE | {"box/main.py": b"("},
        AFTER | {"box/parts.py": b"def size(x: str) -> int:\n    return 1\n"},
    ]

    def play(judge: Judge) -> list[float]:
        reference, values = judge.start(BEFORE), []
        for state in states:
            step = reward(reference, judge.measure(state))
            reference = step.reference
            values.append(step.value)
        return values

    transcript = Transcript()
    live = play(Judge([transcript.recording(running)]))
    transcript.save(tmp_path / "t.json")
    loaded = Transcript.load(tmp_path / "t.json")
    monkeypatch.setattr(subprocess, "Popen", None)  # nothing can be started any more
    assert play(Judge(loaded.replays())) == live
    assert loaded.to_json() == transcript.to_json()
    assert loaded.replays()[0].about == running.about
    with pytest.raises(UsageError, match="not those of the recorded episode"):
        Judge(loaded.replays()).start({"other.py": b""})


def test_a_server_that_is_killed_comes_back(running: LanguageServer) -> None:
    said = running.diagnostics(_python(BEFORE))
    assert running._process is not None
    os.killpg(running._process.pid, signal.SIGKILL)
    running._process.wait()
    with pytest.raises(ServerTrouble) as caught:
        running.diagnostics(_python(AFTER))
    assert caught.value.kind == "lost"
    assert not running.running
    assert running.diagnostics(_python(BEFORE)) == said


def _group(group: int) -> list[int]:
    pids = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
    return [pid for pid in pids if _stat(pid)[2:3] == [str(group)]]


def _state(pid: int) -> str:
    return (_stat(pid) or ["X"])[0]


def _stat(pid: int) -> list[str]:
    """From the state on; nothing for a process that is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def test_nothing_is_left_after_closing(need: Callable[[object, str, str], None]) -> None:
    one = LanguageServer("ruff")
    one.diagnostics({"a.py": b"x = y\n"})
    assert one._process is not None
    assert one._folder is not None
    group, folder = one._process.pid, one._folder
    one.close()
    assert not folder.exists()
    until = time.monotonic() + 10
    while alive := [pid for pid in _group(group) if _state(pid) not in "ZX"]:
        assert time.monotonic() < until, alive
        time.sleep(0.01)
    one.close()


def test_where_bubblewrap_works_a_server_has_no_network_and_no_files_of_ours(
    need: Callable[[object, str, str], None], tmp_path: Path
) -> None:
    need(not bubblewrap.refusal(), "bubblewrap", bubblewrap.refusal())
    look = f"ls {Path(__file__).parent} /home; cat /proc/net/dev; touch {tmp_path}/x /usr/x"
    words = server._bounded(server._jailed(["/bin/sh", "-c", look], [], tmp_path), server.MEMORY)
    done = subprocess.run(words, capture_output=True, text=True)
    assert Path(__file__).name not in done.stdout
    assert "eth" not in done.stdout
    assert done.stderr.count("Read-only") == 2


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        ("print('hello ' * 1000)", "not its protocol"),
        ("print('Content-Length: 99999999999\\r\\n\\r\\n')", "at most"),
        ("print('Content-Length: x\\r\\n\\r\\n')", "-1 bytes"),
        ("sys.stdout.write('Content-Length: 3\\r\\n\\r\\nabc')", "not JSON"),
        ("sys.stdout.write('Content-Length: 2\\r\\n\\r\\n[]')", "a list for a message"),
        ("pass", "ended"),
        ("time.sleep(60)", "in time"),
        ('sys.stdout.write(\'Content-Length: 34\\r\\n\\r\\n\' + \'{"id": 1, "error": {"message": 1}}\')', "refuses"),
    ],
)
def test_a_server_gone_wrong_is_an_error_and_no_wait(reply: str, message: str) -> None:
    code = f"import sys, time\n{reply}\nsys.stdout.flush()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            with pytest.raises(WorldError, match=message):
                Wire(process, lambda method, params: None).request("hello", {}, time.monotonic() + 1.5)
        finally:
            process.kill()


def test_big_messages_both_ways_do_not_lock() -> None:
    code = """
import json, sys
body = json.dumps({"id": 1, "result": "x" * 3_000_000})
sys.stdout.write(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}"); sys.stdout.flush()
sys.stdin.read(3_000_000)
body = json.dumps({"id": 2, "result": "done"})
sys.stdout.write(f"Content-Length: {len(body)}\\r\\n\\r\\n{body}"); sys.stdout.flush()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wire = Wire(process, lambda method, params: None)
        wire.notify("much", "x" * 3_000_000)
        assert len(wire.request("one", None, time.monotonic() + 20)) == 3_000_000
        assert wire.request("two", None, time.monotonic() + 20) == "done"


@pytest.mark.parametrize(
    "data",
    [
        [],
        {},
        {"format": 2, "servers": []},
        {"format": 1, "servers": [{}]},
        {"format": 1, "servers": [{"about": {}, "answers": {"x": {"a.py": [{"line": 1}]}}}]},
        {"format": 1, "servers": 5},
    ],
)
def test_a_file_that_is_no_transcript_is_refused(data: Any, tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps(data))
    with pytest.raises(RunError, match="transcript"):
        Transcript.load(tmp_path / "t.json")


def test_an_unknown_server_is_answered() -> None:
    with pytest.raises(UnknownName, match="ruff"):
        LanguageServer("rufff")
