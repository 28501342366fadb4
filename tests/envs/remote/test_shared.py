"""``shared=True``: environments in one session are each what they would be alone, for a message a round."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import gymnasium
import httpx
import numpy as np
import pytest

from agentgym.agents.loop import Job, collect
from agentgym.agents.policy import OraclePolicy, RandomPolicy
from agentgym.envs.remote.line import Line
from agentgym.errors import UsageError, WorldError
from tests.serve.servers import serving

ID = "agentgym/Grid-DoorKey-5x5-v0"
REMOTE = "agentgym/Remote-v0"
CORRIDOR = "tests.serve.worlds:serving/Corridor-v0"

Make = Callable[..., Any]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(CORRIDOR, ID, "--environments", "8") as address:
        yield address


@pytest.fixture
def make(url: str) -> Iterator[Make]:
    """Gives shared environments of the server; all are closed in the end."""
    with ExitStack() as stack:

        def one(**options: Any) -> Any:
            env = gymnasium.make(REMOTE, **{"url": url, "shared": True, **options}).unwrapped
            stack.callback(env.close)
            return env

        yield one


@pytest.fixture
def messages(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The operations of every message that is sent."""
    sent: list[str] = []
    call = Line.call

    def counted(self: Line, operation: str, *rest: Any, **options: Any) -> Any:
        sent.append(operation)
        return call(self, operation, *rest, **options)

    monkeypatch.setattr(Line, "call", counted)
    return sent


def sessions(url: str) -> int:
    return int(httpx.get(url + "/health").json()["sessions"])


@pytest.mark.parametrize("deterministic", [True, False])
def test_the_loop_collects_the_same_table_with_a_message_a_round(
    url: str, messages: list[str], deterministic: bool
) -> None:
    def play(env: str, policy: Any, **kwargs: Any) -> Any:
        kwargs = {"view": "memory", "max_steps": 30, "admissible": True, **kwargs}
        jobs = [Job(env, seed=k, trajectory=k, kwargs=kwargs) for k in range(12)]
        return collect(policy(), jobs, seed=5, slots=6, deterministic=deterministic).steps

    for policy in (RandomPolicy, OraclePolicy):
        messages.clear()
        far, near = play(REMOTE, policy, url=url, env_id=ID, shared=True), play(ID, policy)
        for column in ("reward", "milestones", "progress", "danger", "grounded", "anchor", "next_anchor", "action"):
            np.testing.assert_array_equal(getattr(far, column), getattr(near, column))
        if policy is RandomPolicy:  # (an oracle plays there, and is asked action by action)
            assert len(messages) < len(far) / 3


def test_they_are_one_session_and_the_last_ends_it(url: str, make: Make) -> None:
    before = sessions(url)
    first, second, other = make(), make(), make(env_id=ID)
    assert sessions(url) == before + 2, "environments that are made differently do not share"
    first.reset(seed=0), second.reset(seed=0)
    first.step("go")
    assert second.step("go")[0]["text"] == "place 1", "each walks alone"
    first.close()
    assert second.step("go")[0]["text"] == "place 2"
    assert make().reset(seed=0)[0]["text"] == "place 0", "a place that was left is taken again"
    other.close()


def test_no_more_of_them_than_the_server_allows(url: str, make: Make) -> None:
    for _ in range(8):
        make()
    with pytest.raises(UsageError, match=r"gives one session 8 environments.*--environments"):
        make()


def test_by_default_a_server_gives_a_session_one(make: Make) -> None:
    with serving(CORRIDOR) as alone:
        make(url=alone)
        with pytest.raises(UsageError, match="gives one session 1 environments"):
            make(url=alone)


def test_what_breaks_there_breaks_for_all_and_each_begins_anew(make: Make) -> None:
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)
    with pytest.raises(WorldError, match="is gone"):
        first.step("exit")
    with pytest.raises(WorldError, match=r"this environment shares is over .*is gone"):
        second.step("go")
    for env in (second, first):
        assert env.reset(seed=0)[0]["text"] == "place 0"
        assert env.step("go")[0]["text"] == "place 1"


def test_an_error_of_one_is_its_own(make: Make) -> None:
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)
    first.announce("step", "break")
    second.announce("step", "go")
    with pytest.raises(WorldError, match="the corridor fell in"):
        first.step("break")
    assert second.step("go")[0]["text"] == "place 1"
    second.announce("step", 5)  # nothing that could be sent: the step itself says so
    with pytest.raises(TypeError, match="must be a str"):
        second.step(5)


def test_what_was_announced_is_done_once(make: Make, messages: list[str]) -> None:
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)
    messages.clear()
    actions = ["go", "go"]
    for env, action in zip((first, second), actions, strict=True):
        env.announce("step", action)
    for env, action in zip((first, second), actions, strict=True):
        assert env.step(action)[0]["text"] == "place 1"
    assert messages == ["many"]


def test_a_reset_forgets_what_was_announced_and_done(make: Make) -> None:
    """(As after Ctrl-C, between the message and its answers.)"""
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)
    first.announce("step", "go")
    second.announce("step", "go")
    first.step("go")
    assert second.reset(seed=0)[0]["text"] == "place 0"
    assert second.step("go")[0]["text"] == "place 1"


def test_another_step_than_the_one_that_was_announced_and_done_is_refused(make: Make) -> None:
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)
    first.announce("step", "go")
    second.announce("step", "go")
    first.step("go")
    with pytest.raises(WorldError, match="was announced and done"):
        second.step("sleep0")


def test_they_are_for_one_thread(make: Make) -> None:
    first, second = make(), make()
    first.reset(seed=0), second.reset(seed=0)

    def slow() -> None:
        with pytest.raises(WorldError):
            first.step("sleep5")

    thread = threading.Thread(target=slow)
    thread.start()
    while not first._line._session._busy.locked():
        assert thread.is_alive()
    with pytest.raises(WorldError, match="two threads"):
        second.step("go")
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize(
    "calls", [5, [5], [["0", "reset", []]], [[-1, "reset", [0, None]]], [[8, "reset", [0, None]]], [[0, "reset"]]]
)
def test_calls_of_another_form_end_nobody_elses_session(url: str, make: Make, calls: Any) -> None:
    other = make()
    other.reset(seed=0)
    line = Line(url, "", {}, token="", timeout=20.0, start_timeout=20.0)
    with pytest.raises(WorldError, match=r"expected call|unknown operation"):
        line.call("many", calls)
    line.close()
    assert other.step("go")[0]["text"] == "place 1"


def test_many_within_many_is_unknown(url: str) -> None:
    line = Line(url, "", {}, token="", timeout=20.0, start_timeout=20.0)
    ((kind, told),) = line.call("many", [[0, "many", []]])
    assert (kind, told["kind"]) == ("error", "protocol")
    assert told["message"].startswith("unknown operation 'many'")
    line.close()
