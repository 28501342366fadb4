"""The attacks: all of them, against both back-ends, with their controls; and that a weak sandbox is found out."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from agentgym.cli import main
from agentgym.containers import backends, new_sandbox, sandbox
from agentgym.containers.probes import LIMITS, PROBES, run_probes
from agentgym.containers.sandbox import RunnerSandbox


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_attack_is_blocked_and_every_control_works(backend: str) -> None:
    (here,) = [b for b in backends() if b.name == backend]
    found = list(run_probes(lambda: new_sandbox(backend, limits=LIMITS), cannot=here.unbounded))
    assert len(found) == len(PROBES) >= 60
    wrong = [f"{f.id}: {f.status}: {f.words}" for f in found if f.status != "held"]
    assert not wrong, "\n".join(wrong)


def _weak(backend: str, monkeypatch: pytest.MonkeyPatch, what: str) -> Callable[[], RunnerSandbox]:
    if what == "filter":
        # Classic BPF: return "allow".
        monkeypatch.setattr(sandbox, "filter_program", lambda: bytes.fromhex("060000000000ff7f"))
    elif what == "killing":
        source = sandbox.runner_source().replace(b"os.kill(-1, signal.SIGKILL)", b"pass", 1)
        source = source.replace(b"if not self.reap():", b"if not self.reap() or True:", 1)
        monkeypatch.setattr(sandbox, "runner_source", lambda: source)
    elif what == "dumpable":
        source = sandbox.runner_source().replace(b"prctl(PR_SET_DUMPABLE, 0)", b"prctl(PR_SET_DUMPABLE, 1)", 1)
        monkeypatch.setattr(sandbox, "runner_source", lambda: source)
    elif what == "links":
        source = sandbox.runner_source().replace(b"READ = os.O_RDONLY | os.O_NOFOLLOW |", b"READ = os.O_RDONLY |", 1)
        monkeypatch.setattr(sandbox, "runner_source", lambda: source)
    return lambda: new_sandbox(backend, limits=LIMITS)


@pytest.mark.parametrize(
    ("what", "id"),
    [
        ("filter", "sys-tty"),
        ("filter", "pid1-limits"),
        ("killing", "live-setsid"),
        ("dumpable", "file-proc1"),
        ("links", "get-link"),
    ],
)
def test_a_weak_sandbox_is_found_out(backend: str, monkeypatch: pytest.MonkeyPatch, what: str, id: str) -> None:
    (whole,) = run_probes(lambda: new_sandbox(backend, limits=LIMITS), [id])
    (weak,) = run_probes(_weak(backend, monkeypatch, what), [id])
    assert (whole.status, weak.status) == ("held", "BROKEN"), (whole, weak)


def test_doctor_prints_the_probes(backend: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["doctor", "--sandbox", "--backend", backend, "--probe", "get-link", "--probe", "step-stdin"]
    assert main([*words, "--json"]) == 0
    told: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert told["ok"] is True
    assert [(p["backend"], p["id"], p["status"]) for p in told["probes"]] == [
        (backend, "get-link", "held"),
        (backend, "step-stdin", "held"),
    ]
    assert main(words) == 0
    assert "2 held" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sandbox", "--probe", "get-lnik"], "did you mean 'get-link'"),
        (["--sandbox", "--backend", "podman"], "unknown back-end 'podman'"),
        (["--probe", "get-link"], "belong to `agentgym doctor --sandbox`"),
    ],
)
def test_doctor_refuses(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", *words]) == 2
    assert said in capsys.readouterr().err
