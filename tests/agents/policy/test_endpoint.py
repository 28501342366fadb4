"""The endpoint policy against a real HTTP server on this machine that speaks the chat-completions protocol."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agentgym.agents.loop import Job, collect_trees
from agentgym.agents.policy.endpoint import EndpointPolicy
from agentgym.agents.policy.types import Policy, Request
from agentgym.errors import EndpointError, PolicyError, UsageError
from tests.agents.model_server import Answer, Server, completion
from tests.toy import TEXT_ID, register_toys

register_toys()

KEY = "sk-secret-0123456789"


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def policy(server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., EndpointPolicy]]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    made: list[EndpointPolicy] = []

    def make(**options: Any) -> EndpointPolicy:
        made.append(EndpointPolicy(server.url, "m", **{"backoff": 0.001, "timeout": 10.0, "retries": 2, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


def request(episode: int = 0, step: int = 0, **more: Any) -> Request:
    return Request(episode, step, f"you see {step}", "find the key", **more)


def test_conversations_grow_and_actions_come_back(server, policy):
    made = policy(temperature=0.7, max_new_tokens=9)
    assert isinstance(made, Policy)
    server.answer = lambda body, number: completion(f" go {number}\n")
    [first] = made.act([request()])
    [second] = made.act([request(step=1, greedy=True)])
    assert (first.action, second.action) == ("go 1", "go 2")
    assert server.paths == ["/v1/chat/completions"] * 2
    assert server.bodies[0]["messages"] == [{"role": "user", "content": "find the key\n\nyou see 0"}]
    assert server.bodies[1]["messages"] == [
        {"role": "user", "content": "find the key\n\nyou see 0"},
        {"role": "assistant", "content": " go 1\n"},
        {"role": "user", "content": "you see 1"},
    ]
    assert [b["temperature"] for b in server.bodies] == [0.7, 0.0]
    assert {(b["model"], b["max_tokens"]) for b in server.bodies} == {("m", 9)}
    assert {h["Authorization"] for h in server.headers} == {f"Bearer {KEY}"}


def test_admissible_actions_are_shown_and_matched(server, policy):
    names = {3: "left", 5: "right"}
    [decision] = policy(render=names.__getitem__).act([request(admissible=(5, 3))])
    assert decision.action == 3
    assert decision.text == "left"
    assert server.bodies[0]["messages"][0]["content"].endswith("actions:\nright\nleft")


def test_only_the_last_turns_are_sent(server, policy):
    made = policy(last_turns=1)
    for step in range(4):
        made.act([request(step=step)])
    assert [m["content"] for m in server.bodies[3]["messages"]] == ["find the key\n\nyou see 2", "left", "you see 3"]
    made.end(0)
    made.act([request()])
    assert len(server.bodies[4]["messages"]) == 1


def test_requests_run_together_up_to_the_limit(server, policy):
    """Every answer waits until as many requests are in flight as are allowed: fewer would time out, more be counted."""
    gate = threading.Barrier(4)

    def wait(body: dict[str, Any], number: int) -> Answer:
        gate.wait(timeout=10)
        return completion(body["messages"][0]["content"])

    server.answer = wait
    decisions = policy(concurrency=4).act([request(e, e) for e in range(12)])
    assert server.most == 4
    assert [d.action for d in decisions] == [f"find the key\n\nyou see {e}" for e in range(12)]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_passing_trouble_is_tried_again(server, policy, status):
    server.answer = lambda body, number: (status, {}, b"busy") if number < 3 else completion("right")
    assert policy().act([request()])[0].action == "right"
    assert len(server.bodies) == 3


def test_retry_after_is_honoured(server, policy, monkeypatch):
    """The server's wish (no wait) goes before a back-off that would outlast the test's time limit."""
    monkeypatch.setattr("agentgym.agents.policy.endpoint._LONGEST_WAIT", 1e6)
    server.answer = lambda body, number: (429, {"Retry-After": "0"}, b"") if number == 1 else completion("right")
    assert policy(backoff=1e6).act([request()])[0].action == "right"


def test_one_failure_ends_the_batch_at_once(server, policy):
    """The others are called off, not left running behind the caller's back."""
    server.answer = lambda body, number: (400, {}, b"no") if "see 1" in body["messages"][0]["content"] else None
    made = policy()
    with pytest.raises(EndpointError, match="refused"):
        made.act([request(0, 0), request(1, 1), request(2, 2)])


def test_lasting_trouble_names_what_came(server, policy):
    server.answer = lambda body, number: (500, {}, b"out of memory " + b"x" * 5000)
    with pytest.raises(EndpointError, match=r"3 tries.*status 500.*out of memory.*more characters") as caught:
        policy().act([request()])
    assert len(str(caught.value)) < 500
    assert len(server.bodies) == 3


def test_a_refusal_is_not_tried_again(server, policy):
    server.answer = lambda body, number: (401, {}, f"bad key {KEY}".encode())
    with pytest.raises(EndpointError, match=r"refused.*401.*bad key \*\*\*"):
        policy().act([request()])
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "content",
    [
        b"<html>hello</html>",
        b"{}",
        b'{"choices": []}',
        b'{"choices": [{"message": {"content": null}}]}',
        b"[]",
        b"\xff",
    ],
)
def test_garbage_is_named(server, policy, content):
    server.answer = lambda body, number: (200, {}, content)
    with pytest.raises(EndpointError, match=r"expected a chat completion .* got .*OpenAI-compatible") as caught:
        policy().act([request()])
    assert KEY not in str(caught.value)


def test_a_server_that_hangs_times_out(server, policy):
    server.answer = lambda body, number: None
    with pytest.raises(EndpointError, match=r"2 tries.*Timeout"):
        policy(timeout=0.1, retries=1).act([request()])


def test_no_server(policy, server):
    made = EndpointPolicy("http://127.0.0.1:9", "m", retries=0)
    with pytest.raises(EndpointError, match="ConnectError"):
        made.act([request()])
    made.close()
    made.close()


def test_a_failed_batch_can_be_asked_again(server, policy):
    made = policy(retries=0)
    server.answer = lambda body, number: (500, {}, b"") if number == 1 else completion("left")
    with pytest.raises(EndpointError):
        made.act([request()])
    made.act([request()])
    assert server.bodies[-1]["messages"] == server.bodies[0]["messages"]


def test_the_key_shows_nowhere(server, policy, caplog):
    with caplog.at_level("DEBUG"):
        made = policy()
        made.act([request()])
    assert KEY not in repr(made) + str(vars(made).keys()) + caplog.text


def test_senseless_arguments_are_refused():
    with pytest.raises(UsageError, match="http"):
        EndpointPolicy("localhost:8000", "m")
    with pytest.raises(UsageError, match="concurrency"):
        EndpointPolicy("http://x", "m", concurrency=0)
    with pytest.raises(UsageError, match="last_turns"):
        EndpointPolicy("http://x", "m", last_turns=-1)


def test_observations_without_text_are_refused(policy):
    with pytest.raises(PolicyError, match="text view"):
        policy().act([Request(0, 0, [1, 2])])


def test_branches_of_a_tree_go_on_with_the_conversation(server, policy):
    """Branches part after two turns: each sends these two and its own, never those of the other."""
    server.answer = lambda body, number: completion("right" if number <= 2 else "wait")
    with policy(concurrency=1) as made:
        job = Job(TEXT_ID, seed=3, trajectory=0)
        found = collect_trees(made, [job], branching=2, branch_at=(2,))
        assert not made._turns
    steps = found.steps
    assert steps.parent_t[steps.trajectory == 1][0] == 1
    chats = [body["messages"] for body in server.bodies]
    branch = chats[(steps.trajectory == 0).sum()]  # the root is played to its end first
    assert [m["content"] for m in branch if m["role"] == "assistant"] == ["right", "right"]
    assert len(branch) == 5
    assert branch[:4] == chats[2][:4]
    assert all(len(chat) == 2 * t + 1 for chat, t in zip(chats, steps.t, strict=True))
