"""Policies without tokens, and finding policies by name."""

from __future__ import annotations

import sys
from collections import Counter

import gymnasium
import numpy as np
import pytest
import torch

from agentgym.agents.policy import Policy, Request
from agentgym.agents.policy.endpoint import EndpointPolicy
from agentgym.agents.policy.simple import ArrayPolicy, FunctionPolicy, OraclePolicy, RandomPolicy, load_policy
from agentgym.errors import ModelFolderError, PolicyError, UnknownName, UsageError
from tests.toy import TEXT_ID, register_toys


class Scripted(gymnasium.Env):
    """A world whose oracle counts observations up, and whose script ends after ``length`` actions."""

    action_space = gymnasium.spaces.Discrete(1000)

    def __init__(self, length=3, oracle=True):
        self.length, self.has_oracle = length, oracle

    def oracle(self):
        return self.script(1) if self.has_oracle else None

    def offenders(self):
        return {"backwards": self.script(-1)}

    def script(self, sign):
        seen = 0
        for _ in range(self.length):
            seen = yield sign * (seen + 1)


def play(policy, env, steps):
    actions = []
    for step in range(steps):
        [decision] = policy.act([Request(0, step, observation=10 * step, env=env)])
        actions.append(decision.action)
    return actions


def test_oracle_starts_and_then_is_sent_observations():
    policy = OraclePolicy()
    assert policy.wants_env
    assert play(policy, Scripted(), 3) == [1, 11, 21]
    policy.end(0)
    assert play(policy, Scripted(), 2) == [1, 11]


def test_offenders_are_scripts_too():
    assert play(OraclePolicy("backwards"), Scripted(), 2) == [-1, -11]
    with pytest.raises(UnknownName, match="backwards"):
        play(OraclePolicy("backward"), Scripted(), 1)


def test_oracles_that_cannot_play():
    with pytest.raises(PolicyError, match="oracle ended before the episode did, at step 3"):
        play(OraclePolicy(), Scripted(), 4)
    with pytest.raises(PolicyError, match="no oracle"):
        play(OraclePolicy(), Scripted(oracle=False), 1)
    with pytest.raises(PolicyError, match="in process"):
        play(OraclePolicy(), None, 1)
    with pytest.raises(PolicyError, match="from step 0"):
        OraclePolicy().act([Request(0, 2, None, env=Scripted())])


def test_random_is_uniform_over_admissible_and_keyed():
    policy = RandomPolicy()
    requests = [Request(e, 0, None, admissible=("a", "b", "c"), seed=5) for e in range(600)]
    decisions = policy.act(requests)
    counts = Counter(d.action for d in decisions)
    assert all(150 < counts[a] < 250 for a in "abc")
    assert decisions[0].logprob == pytest.approx(-np.log(3))
    backwards = policy.act(requests[::-1])
    assert [d.action for d in backwards[::-1]] == [d.action for d in decisions]


def test_random_without_a_list_samples_the_action_space():
    policy, env = RandomPolicy(), Scripted()
    actions = [policy.act([Request(e, 0, None, seed=1, env=env)])[0].action for e in range(50)]
    assert len(set(actions)) > 40
    assert actions == [policy.act([Request(e, 0, None, seed=1, env=env)])[0].action for e in range(50)]
    with pytest.raises(PolicyError, match="action space"):
        policy.act([Request(0, 0, None)])


class Net(torch.nn.Module):
    """Logits are the observation; the value is its sum."""

    def forward(self, x):
        return x, x.sum(dim=1)


def test_array_policy():
    policy = ArrayPolicy(Net(), encode=lambda seen: seen["x"], temperature=2.0)
    rows = [np.array([0.0, 3.0, 1.0]), np.array([2.0, 0.0, 0.0])]
    greedy = policy.act([Request(e, 0, {"x": x}, greedy=True) for e, x in enumerate(rows)])
    assert [d.action for d in greedy] == [1, 0]
    assert [d.value for d in greedy] == [4.0, 2.0]
    sampled = policy.act([Request(e, 0, {"x": rows[0]}) for e in range(2000)])
    share = np.bincount([d.action for d in sampled], minlength=3) / 2000
    want = torch.softmax(torch.tensor(rows[0]) / 2.0, 0).numpy()
    np.testing.assert_allclose(share, want, atol=0.04)
    assert all(d.logprob == pytest.approx(np.log(want[d.action])) for d in sampled[:20])
    assert type(sampled[0].action) is int
    with pytest.raises(PolicyError, match="one shape"):
        policy.act([Request(0, 0, {"x": rows[0]}), Request(1, 0, {"x": rows[0][:2]})])
    assert np.isnan(ArrayPolicy(torch.nn.Identity()).act([Request(0, 0, rows[0])])[0].value)
    assert policy.act([]) == []


def test_oracle_solves_a_real_task():
    register_toys()
    env = gymnasium.make(TEXT_ID)
    policy = OraclePolicy()
    observation, info = env.reset(seed=0)
    for step in range(100):
        [decision] = policy.act([Request(0, step, observation, env=env)])
        observation, _, terminated, truncated, info = env.step(decision.action)
        if terminated or truncated:
            break
    assert info["success"]


def test_policies_by_name():
    assert isinstance(load_policy("random"), RandomPolicy)
    assert isinstance(load_policy("oracle"), OraclePolicy)
    offender = load_policy("offender:backwards")
    assert isinstance(offender, OraclePolicy)
    assert offender.offender == "backwards"
    endpoint = load_policy("endpoint:http://127.0.0.1:8000/v1#my/model", concurrency=2)
    assert isinstance(endpoint, EndpointPolicy)
    assert (endpoint.url, endpoint.model) == ("http://127.0.0.1:8000/v1/chat/completions", "my/model")
    endpoint.close()


def test_policies_of_ones_own(tmp_path, monkeypatch):
    (tmp_path / "own_policies.py").write_text(
        "from agentgym.agents.policy import RandomPolicy\n"
        "def double(observation): return 2 * observation\n"
        "def build(size=1): return RandomPolicy()\n"
        "class Mine(RandomPolicy):\n"
        "    def __init__(self, size=0): self.size = size\n"
        "ready = Mine(3)\n"
        "number = 5\n"
    )
    (tmp_path / "needs_more.py").write_text("import surely_not_installed\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_policies", raising=False)
    function = load_policy("own_policies:double")
    assert isinstance(function, FunctionPolicy)
    assert function.act([Request(0, 0, 21)])[0].action == 42
    for name in ("build", "Mine", "ready"):
        assert isinstance(load_policy(f"own_policies:{name}"), Policy)
    assert load_policy("own_policies:Mine", size=4).size == 4
    with pytest.raises(UsageError, match="gives int"):
        load_policy("own_policies:number")
    with pytest.raises(UnknownName, match="double"):
        load_policy("own_policies:doubel")
    with pytest.raises(UsageError, match="cannot be found"):
        load_policy("no_such_module:policy")
    with pytest.raises(ModuleNotFoundError, match="surely_not_installed"):
        load_policy("needs_more:policy")


def test_unknown_names_get_the_nearest(tmp_path):
    with pytest.raises(UnknownName, match="'oracle'"):
        load_policy("oracel")
    with pytest.raises(UsageError, match="did you mean 'endpoint'"):
        load_policy("endpont:http://x#y")
    with pytest.raises(UsageError, match="URL#MODEL"):
        load_policy("endpoint:http://x")
    with pytest.raises(UsageError, match="takes no options"):
        load_policy("random", temperature=1.0)
    with pytest.raises(ModelFolderError, match="no model"):
        load_policy(str(tmp_path))
    with pytest.raises(ModelFolderError, match="no folder"):
        load_policy("/nowhere/at/all")
