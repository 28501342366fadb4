"""Implicit reward models that learn: gradients against the plain loss, held-out ranking, references, checkpoints."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from agentgym.agents.loop import Job, Rollouts, collect
from agentgym.agents.policy.small import small_model
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.errors import ModelFolderError
from agentgym.rewards import recipe
from agentgym.rewards.models import implicit
from agentgym.rewards.models.implicit_reward import ImplicitReward, rollout_loss
from agentgym.rewards.models.scorers import ColumnScorer, TokenScorer
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable
from tests.rewards.credit.tables import full_table
from tests.rewards.models.played import opening

LANGUAGE = "facing you are at the key door goal wall open closed left right forward pickup toggle drop"


def speaking(mode: Any, **options: Any) -> tuple[TransformersPolicy, Rollouts]:
    """A fresh small model and its rollouts of two layouts, three tries each; outcomes made up, so that some differ."""
    model, tokenizer = small_model([LANGUAGE], hidden=16, layers=1, heads=2, seed=0)
    policy = TransformersPolicy(model, tokenizer, mode=mode, max_new_tokens=3, **options)
    view = {"view": "memory", "max_steps": 5, **({"actions": "phrases"} if mode == "generate" else {})}
    jobs = [Job("agentgym/Grid-DoorKey-5x5-v0", seed=k // 3, trajectory=k, group=k // 3, kwargs=view) for k in range(6)]
    played = collect(policy, jobs, seed=0)
    trajectories = played.steps.trajectories
    trajectories.outcome[:] = [1.0, 0.0, 0.0, 0.0, 1.0, 1.0]
    return policy, played


@pytest.mark.parametrize("mode", ["score", "generate"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_an_untrained_copy_agrees_with_the_policy_s_own_log_probabilities(mode: str, temperature: float) -> None:
    """Scored and generated actions, whole and in parts: the reference "old" is what the policy itself wrote down."""
    policy, played = speaking(mode, temperature=temperature)
    for micro_tokens in (16384, 64):
        scorer = TokenScorer(policy.model, temperature=temperature, micro_tokens=micro_tokens)
        model = ImplicitReward(scorer)
        columns = model.columns(played.steps, played.tokens)
        np.testing.assert_allclose(columns["logprob_model"], columns["logprob_reference"], atol=2e-5)
        np.testing.assert_allclose(columns["logprob_reference"], played.steps.extras["logprob"], atol=1e-9)


@pytest.mark.parametrize("kind", ["preference", "cross-entropy"])
def test_the_loss_is_the_plain_one(kind: Any) -> None:
    rng = np.random.default_rng(0)
    q, y, group = rng.normal(size=9), rng.integers(0, 2, 9).astype(float), np.repeat([3, 1, 2], 3)
    loss = rollout_loss(torch.from_numpy(q), torch.from_numpy(y), torch.from_numpy(group), kind=kind, beta=0.7)
    plain = (
        implicit.preference(group, q, y, beta=0.7) if kind == "preference" else implicit.cross_entropy(q, y, beta=0.7)
    )
    np.testing.assert_allclose(float(loss), plain, rtol=1e-12)


@pytest.mark.parametrize("total", ["sum", "mean"])
def test_gradients_by_parts_are_those_of_the_whole_loss(total: Any) -> None:
    """The trick of the module (dLoss/dQ first, then part by part) against one backward pass through everything."""
    policy, played = speaking("score")
    steps, tokens = played.steps, played.tokens

    def step(micro_tokens: int) -> dict[str, torch.Tensor]:
        scorer = TokenScorer(_copy(policy.model), micro_tokens=micro_tokens)
        ImplicitReward(scorer, total=total, beta=1.0, lr=1e-2, max_grad_norm=1e9).fit(steps, tokens)
        return {k: p.grad.clone() for k, p in scorer.model.named_parameters() if p.grad is not None}

    whole = TokenScorer(_copy(policy.model))
    plan = whole.plan(steps, tokens)
    logprob = torch.zeros(plan.count)
    for part in plan.parts:
        entries, values = whole.score(part)
        logprob = logprob.index_add(0, torch.from_numpy(entries), values)
    reference = torch.from_numpy(ImplicitReward(whole).reference_log_probs(steps, tokens)).float()
    q = torch.zeros(len(steps.starts)).index_add(
        0, torch.from_numpy(steps.segment), logprob[torch.from_numpy(plan.entry)] - reference
    )
    if total == "mean":
        q = q / torch.from_numpy(steps.lengths)
    loss = rollout_loss(
        q, torch.from_numpy(steps.outcome), torch.from_numpy(steps.trajectory_group), kind="preference", beta=1.0
    )
    torch.autograd.backward(loss)
    for micro_tokens in (16384, 64):
        for name, gradient in step(micro_tokens).items():
            expected = whole.model.get_parameter(name).grad
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("reference", ["old", "start"])
@pytest.mark.parametrize("loss", ["preference", "cross-entropy"])
def test_it_ranks_successes_over_failures_on_layouts_it_never_saw(
    loss: Any, reference: Any, seen: StepTable, unseen: StepTable
) -> None:
    """Openings of one length, from texts: chance is a half, and 8 steps give no outcome away by themselves."""
    names = sorted(set(seen.extras["action_text"]))

    def numbered(steps: StepTable) -> StepTable:
        chosen = np.array([names.index(a) for a in steps.extras["action_text"]])
        return opening(steps.with_extra(choice=chosen, logprob=np.full(len(steps), -np.log(len(names)))), 8)

    taught, held_out = numbered(seen), numbered(unseen)
    scorer = ColumnScorer("text", len(names), seed=0).fit_inputs(taught)
    model = ImplicitReward(scorer, loss=loss, reference=reference, lr=3e-3, beta=0.5, minibatches=4)
    assert ranked(model, held_out) < 0.7
    for _ in range(8):
        model.fit(taught)
    assert ranked(model, held_out) > 0.75


def ranked(model: ImplicitReward, steps: StepTable) -> float:
    """Share of success-failure pairs inside a group that Q orders rightly; an equal Q is half right."""
    q, y, group = model.totals(steps), steps.outcome, steps.trajectory_group
    i, j = np.nonzero((group[:, None] == group[None, :]) & (y[:, None] > y[None, :]))
    assert len(i) > 100
    return float(np.mean((np.sign(q[i] - q[j]) + 1.0) / 2.0))


def test_a_language_model_learns_what_it_is_shown() -> None:
    policy, played = speaking("score")
    model = ImplicitReward(TokenScorer(_copy(policy.model)), lr=1e-2, beta=1.0)
    before = {k: p.clone() for k, p in policy.model.named_parameters()}
    losses = [model.fit(played.steps, played.tokens).loss for _ in range(15)]
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(before[k], p) for k, p in policy.model.named_parameters()), "the policy is not touched"
    steps = played.steps.with_extra(**model.columns(played.steps, played.tokens))
    for name in ("oprl", "prime"):
        assert np.isfinite(recipe(name).advantages(steps)).all()


def test_nothing_to_compare_is_said_not_hidden() -> None:
    policy, played = speaking("score")
    played.steps.trajectories.outcome[:] = 0.0
    model = ImplicitReward(TokenScorer(_copy(policy.model)))
    told = model.fit(played.steps, played.tokens)
    assert told.skipped
    assert told.count == 0


@pytest.mark.parametrize("reference", ["old", "start"])
def test_going_on_from_a_state_equals_never_having_stopped(reference: Any, tmp_path: Path) -> None:
    policy, played = speaking("score")

    def fresh() -> ImplicitReward:
        return ImplicitReward(TokenScorer(_copy(policy.model)), loss="cross-entropy", reference=reference, lr=1e-2)

    whole, half = fresh(), fresh()
    for model in (whole, half):
        model.fit(played.steps, played.tokens, epochs=2)
    torch.save(half.state_dict(), tmp_path / "state.pt")
    other = ImplicitReward(TokenScorer(_noise(_copy(policy.model))), loss="cross-entropy", reference=reference, lr=1e-2)
    other.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    for model in (whole, other):
        model.fit(played.steps, played.tokens)
    for name, column in whole.columns(played.steps, played.tokens).items():
        np.testing.assert_array_equal(other.columns(played.steps, played.tokens)[name], column)


@pytest.mark.parametrize("reference", ["old", "start"])
def test_saved_and_loaded_it_says_the_same(reference: Any, tmp_path: Path) -> None:
    policy, played = speaking("score")
    steps = full_table()
    steps = steps.with_extra(choice=np.arange(len(steps)) % 3, logprob=-np.ones(len(steps)))
    cases: list[tuple[ImplicitReward, StepTable, TokenTable | None]] = [
        (ImplicitReward(TokenScorer(_copy(policy.model)), reference=reference, lr=1e-2), played.steps, played.tokens),
        (ImplicitReward(ColumnScorer("features", 3).fit_inputs(steps), reference=reference, lr=1e-2), steps, None),
    ]
    for k, (model, table, tokens) in enumerate(cases):
        model.fit(table, tokens)
        model.save(tmp_path / str(k))
        again = ImplicitReward.load(tmp_path / str(k))
        for name, column in model.columns(table, tokens).items():
            np.testing.assert_array_equal(again.columns(table, tokens)[name], column)
    with pytest.raises(ModelFolderError, match=r"implicit.json is missing or damaged"):
        ImplicitReward.load(tmp_path / "nothing")


def test_bad_input_is_named() -> None:
    policy, played = speaking("score")
    model = ImplicitReward(TokenScorer(_copy(policy.model)), loss="cross-entropy")
    with pytest.raises(ValueError, match="reads tokens"):
        model.log_probs(played.steps)
    with pytest.raises(ValueError, match=r"step \(trajectory=0, t=0, row 0\) has no tokens"):
        model.log_probs(played.steps, played.tokens.only([1, 2, 3, 4, 5]))
    with pytest.raises(ValueError, match="has tokens but no row"):
        model.fit(played.steps.only([1, 2]), played.tokens)
    played.steps.trajectories.outcome[0] = 2.0
    with pytest.raises(ValueError, match=r"'outcome' must lie in \[0, 1\] .* trajectory 0 has 2.0"):
        model.fit(played.steps, played.tokens)
    trajectories = replace(played.steps.trajectories, outcome=np.full(6, np.nan))
    with pytest.raises(ValueError, match="'outcome' must be finite"):
        model.fit(replace(played.steps, trajectories=trajectories), played.tokens)
    with pytest.raises(ValueError, match="without steps"):
        model.fit(StepTable.empty(), TokenTable.empty())
    with pytest.raises(ValueError, match="'loss' must be one of"):
        ImplicitReward(TokenScorer(policy.model), loss="hinge")  # type: ignore[arg-type]
    steps = full_table()
    with pytest.raises(ValueError, match=r"call fit_inputs\(steps\)"):
        ImplicitReward(ColumnScorer("features", 3))
    columns = ImplicitReward(ColumnScorer("features", 3).fit_inputs(steps))
    with pytest.raises(ValueError, match="extra column 'choice'"):
        columns.log_probs(steps)
    with pytest.raises(ValueError, match=r"'choice' must lie in \[0, 3\), row 0 is 7"):
        columns.log_probs(steps.with_extra(choice=np.full(len(steps), 7)))
    with pytest.raises(ValueError, match="extra column 'logprob'"):
        columns.fit(steps.with_extra(choice=np.zeros(len(steps), dtype=np.int64)))


def _copy(model: Any) -> Any:
    return copy.deepcopy(model)


def _noise(model: Any) -> Any:
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.1)
    return model
