"""Every arm credits every step; what some arms learn themselves is held against the rewards package."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agentgym.agents.evaluate.learning.arms import EIGHT, JUDGED, _Implicit, arm
from agentgym.agents.evaluate.learning.claims import CLAIMS
from agentgym.agents.evaluate.learning.plans import CLAIMED, SMALL
from agentgym.agents.evaluate.learning.small import Batch, Priced, Task, collect, network
from agentgym.agents.evaluate.learning.transformer import FOUR
from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import RECIPES, recipe
from agentgym.rewards.audit import named
from agentgym.rewards.audit.sample import View
from agentgym.rewards.models import implicit


@pytest.fixture(scope="module")
def played() -> tuple[Any, nn.Sequential, Batch]:
    """Rollouts of which some succeed, some fail, and some wade."""
    if importlib.util.find_spec("minigrid") is None:
        pytest.skip("needs minigrid")
    tables = Task("lava", "agentgym/Grid-LavaShortcut-v0", {}, range(6)).tables()
    net = network(tables.features.shape[1], tables.actions, (16, 8), 0)
    batch = collect(net, tables, np.arange(6), 8, np.random.default_rng(0).random((tables.horizon, 48)))
    assert 0 < batch.success < 1
    assert 0 < batch.danger < 1
    return tables, net, batch


@pytest.mark.parametrize("name", sorted({*EIGHT, *JUDGED, *CLAIMED.arms, "lagrangian"}))
def test_every_arm_gives_a_finite_number_a_step(name: str, played: tuple[Any, nn.Sequential, Batch]) -> None:
    tables, net, batch = played
    assign = arm(name, tables, net)
    draws = np.random.default_rng(1).random((tables.horizon, 48))
    later = collect(net, tables, np.arange(6), 8, draws, first=6)
    for each in (batch, later):  # those that learn have learnt by the second time
        found = assign(each)
        assert found.shape == (len(each.steps),)
        assert np.isfinite(found).all()
        assert found.any()


def test_what_needs_the_truth_or_a_critic_is_refused(played: tuple[Any, nn.Sequential, Batch]) -> None:
    tables, net, batch = played
    for name in ("exact", "fitted-critic", "ppo"):
        with pytest.raises(UsageError):
            arm(name, tables, net)(batch)
    with pytest.raises(UnknownName, match="gigpo"):
        arm("gigop", tables, net)


def test_the_recipe_progress_is_gae_on_progress(played: tuple[Any, nn.Sequential, Batch]) -> None:
    """So the transformer's progress-shaped arm and the small network's are one method."""
    _, _, batch = played
    view = View(batch.steps, np.full(len(batch.steps), np.nan))
    np.testing.assert_allclose(recipe("progress").advantages(batch.steps), named("progress-gae")(view), atol=1e-12)


def test_danger_grows_dearer_while_it_is_above_the_limit(played: tuple[Any, nn.Sequential, Batch]) -> None:
    tables, net, batch = played
    assign = arm("lagrangian", tables, net)
    assert isinstance(assign, Priced)
    free, cheap = arm("gigpo+progress", tables, net)(batch), assign(batch)
    assert assign.price == pytest.approx(0.05 * np.exp(0.3)), "far above the limit: the fastest that it grows"
    dear = [assign(batch) for _ in range(12)][-1]
    assert assign.price == pytest.approx(0.05 * np.exp(3.9))
    unsafe = batch.steps.danger
    assert dear[unsafe].mean() < cheap[unsafe].mean() < free[unsafe].mean()
    other = arm("lagrangian", tables, net)
    np.testing.assert_array_equal(other(batch), cheap, err_msg="a run's price is its own")
    assert not isinstance(arm("gigpo", tables, net), Priced)


@pytest.mark.parametrize("method", ["prime", "istar"])
def test_implicit_rewards_are_learnt_by_the_published_losses(
    method: str, played: tuple[Any, nn.Sequential, Batch]
) -> None:
    tables, net, batch = played
    steps = batch.steps
    ratio = np.random.default_rng(1).normal(size=len(steps))
    mine = _Implicit(method, tables, net).loss(steps, torch.from_numpy(ratio))
    total = np.add.reduceat(ratio, steps.starts)
    theirs = (
        implicit.cross_entropy(total, steps.outcome)
        if method == "prime"
        else implicit.preference(steps.trajectory_group, total, steps.outcome)
    )
    assert mine is not None
    assert float(mine) == pytest.approx(theirs)


@pytest.mark.parametrize("method", ["prime", "istar"])
def test_implicit_rewards_learn_to_tell_success(method: str, played: tuple[Any, nn.Sequential, Batch]) -> None:
    tables, net, batch = played
    judge = _Implicit(method, tables, net, lr=1e-2)
    losses = []
    for _ in range(12):
        x = torch.from_numpy(tables.features[batch.state])
        action = torch.from_numpy(batch.action)[:, None]
        ratio = torch.log_softmax(judge._judge(x).double(), -1).gather(1, action)[:, 0].detach()
        loss = judge.loss(batch.steps, ratio - torch.from_numpy(batch.logprob))
        assert loss is not None
        losses.append(float(loss))
        judge(batch)
    assert losses[-1] < losses[0]


def test_every_claim_is_asked_or_says_why_not() -> None:
    asked = [c.arm for c in CLAIMS if c.arm]
    assert len(set(asked)) == len(asked)
    assert all(c.arm or c.why for c in CLAIMS)
    assert set(CLAIMED.arms) == {"grpo", *asked}
    claimed = {name for c in CLAIMS for name in c.recipe.split(" / ")}
    plain = {"grpo", "rloo", "ppo", "pass@k", "pbrs", "quickstart", "progress", "lagrangian", "checklist"}
    ours = {name for name, made in RECIPES.items() if made.source == "ours"}
    told = {r for r in RECIPES if "+" not in r or r == "reinforce++"} - ours - plain - claimed
    assert not told, "recipes without a line in the table of claims"
    assert len(SMALL.arms) == len(set(SMALL.arms)) == 8
    assert len(FOUR) == 4
