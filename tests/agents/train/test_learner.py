"""The learner's update equals the textbook's, however it is summed, cut or padded."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from agentgym.agents.train.examples import build_examples, step_weights
from agentgym.agents.train.forward import choice_probabilities, forward, packs
from agentgym.agents.train.learner import Learner, UpdateStats
from agentgym.tokens import TokenStep

VOCABULARY = 12


@pytest.fixture
def model() -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    return LlamaForCausalLM(config).eval()


def token_steps(model: Any, n: int, *, kind: str, seed: int = 0, temperature: float = 1.0) -> list[TokenStep]:
    """``n`` steps with few distinct prefixes, their old log-probabilities taken from the model as it is."""
    rng = np.random.default_rng(seed)
    prefixes = [rng.integers(0, VOCABULARY, size=k) for k in (3, 5, 8)]
    candidates = {"single": ((1,), (2,), (3,)), "several": ((1, 4), (2,), (3, 5, 6)), "generated": None}[kind]
    steps = []
    for k in range(n):
        prefix = prefixes[int(rng.integers(3))]
        if candidates is None:
            action, chosen = rng.integers(0, VOCABULARY, size=int(rng.integers(1, 4))), -1
        else:
            chosen = int(rng.integers(3))
            action = np.array(candidates[chosen])
        old = old_logprobs(model, prefix, action, candidates, temperature)
        steps.append(TokenStep(k // 4, k % 4, prefix, action, old, old, candidates, chosen, 0))
    return steps


def token_logprobs(model: Any, prefix: Any, action: Any, temperature: float = 1.0) -> torch.Tensor:
    """Log-probability of every action token, one sequence at a time, without padding."""
    ids = torch.from_numpy(np.concatenate((prefix, action)))[None]
    logits = model(input_ids=ids).logits[0, len(prefix) - 1 : -1] / temperature
    return torch.log_softmax(logits, -1).gather(1, torch.from_numpy(np.asarray(action))[:, None]).squeeze(1)


def old_logprobs(model: Any, prefix: Any, action: Any, candidates: Any, temperature: float) -> Any:
    with torch.no_grad():
        if candidates is None:
            return token_logprobs(model, prefix, action, temperature).double().numpy()
        sums = torch.stack([token_logprobs(model, prefix, np.array(c)).sum() for c in candidates]) / temperature
        chosen = candidates.index(tuple(action.tolist()))
        first = float(torch.log_softmax(sums, 0)[chosen])
        return np.array([first] + [0.0] * (len(action) - 1))


def reference_loss(
    model: Any, steps: list[TokenStep], advantages: Any, clip: float, temperature: float
) -> torch.Tensor:
    """PPO-clip step by step, as the textbook writes it; a scored choice is one decision."""
    total = torch.zeros(())
    for s, a in zip(steps, advantages, strict=True):
        if s.candidates is None:
            new = token_logprobs(model, s.prefix, s.action, temperature)
            old = torch.from_numpy(s.logprob_behaviour).float()
        else:
            sums = torch.stack([token_logprobs(model, s.prefix, np.array(c)).sum() for c in s.candidates]) / temperature
            new = torch.log_softmax(sums, 0)[s.chosen : s.chosen + 1]
            old = torch.tensor([s.logprob_behaviour.sum()], dtype=torch.float32)
        ratio = torch.exp(new - old)
        surrogate = torch.minimum(ratio * float(a), ratio.clamp(1 - clip, 1 + clip) * float(a))
        total = total - surrogate.mean() / len(steps)
    return total


def gradient(model: Any) -> torch.Tensor:
    return torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


@pytest.mark.parametrize("kind", ["single", "several", "generated"])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_gradient_equals_the_textbook(model: Any, kind: str, temperature: float) -> None:
    steps = token_steps(model, 24, kind=kind, temperature=temperature)
    advantages = np.random.default_rng(1).normal(size=24)
    with torch.no_grad():  # move away from the old policy, so that some ratios are clipped
        for p in model.parameters():
            p.add_(0.1 * torch.randn_like(p))
    reference_loss(model, steps, advantages, 0.2, temperature).backward()
    expected = gradient(model)
    model.zero_grad()
    learner = Learner(model, clip=0.2, temperature=temperature)
    examples = build_examples(steps, advantages, step_weights(steps, "step-mean"))
    stats = UpdateStats()
    learner._policy_loss(examples, stats).backward()
    torch.testing.assert_close(gradient(model), expected, atol=1e-6, rtol=1e-4)
    assert stats.clip_fraction > 0


@pytest.mark.parametrize("kind", ["single", "several", "generated"])
def test_one_by_eight_equals_eight_by_one(model: Any, kind: str) -> None:
    """Gradient accumulation: the micro-batch is a matter of memory, never of the result."""
    advantages = np.random.default_rng(2).normal(size=32)
    found = []
    for micro_tokens in (10_000, 30, 1):
        twin = copy.deepcopy(model)
        learner = Learner(twin, micro_tokens=micro_tokens, entropy=0.01)
        learner.update(token_steps(model, 32, kind=kind), advantages, epochs=2)
        found.append(torch.cat([p.detach().flatten() for p in twin.parameters()]))
    for other in found[1:]:
        torch.testing.assert_close(found[0], other, atol=3e-5, rtol=1e-3)


@given(st.lists(st.floats(-3, 3), min_size=12, max_size=12), st.sampled_from(["step-mean", "token-mean", "horizon"]))
@settings(max_examples=20)
def test_equal_steps_are_summed_exactly(advantages: list[float], aggregation: Any) -> None:
    """Positive and negative parts add up to what each step would have added."""
    prefix = np.array([1, 2, 3])
    old = np.array([-1.0])
    steps = [TokenStep(k, 0, prefix, np.array([k % 2]), old, old, ((0,), (1,)), k % 2, 0) for k in range(12)]
    weights = step_weights(steps, aggregation, horizon=5)
    (example,) = build_examples(steps, np.array(advantages), weights)
    for action in (0, 1):
        mine = [(w, a) for k, (w, a) in enumerate(zip(weights, advantages, strict=True)) if k % 2 == action]
        entry = example.actions[(action,)]
        assert entry[1] == pytest.approx(sum(w * a for w, a in mine if a > 0), abs=1e-12)
        assert entry[2] == pytest.approx(sum(w * a for w, a in mine if a <= 0), abs=1e-12)
    assert example.weight == pytest.approx(sum(weights))


def test_aggregations_weigh_what_they_name(model: Any) -> None:
    steps = token_steps(model, 10, kind="generated")  # trajectories of 4, 4 and 2 steps
    sizes = np.array([len(s.action) for s in steps])
    assert np.dot(step_weights(steps, "step-mean"), sizes) == pytest.approx(1)
    assert np.dot(step_weights(steps, "token-mean"), sizes) == pytest.approx(1)
    by_trajectory = np.array(step_weights(steps, "trajectory-mean")) * sizes
    assert [by_trajectory[:4].sum(), by_trajectory[4:8].sum(), by_trajectory[8:].sum()] == pytest.approx([1 / 3] * 3)
    assert set(step_weights(steps, "horizon", horizon=50)) == {1 / 150}


def test_an_update_without_gradient_is_skipped_and_says_so(model: Any) -> None:
    before = copy.deepcopy(model.state_dict())
    stats = Learner(model).update(token_steps(model, 8, kind="single"), np.zeros(8))
    assert stats.skipped
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())


def test_the_update_raises_what_was_good(model: Any) -> None:
    steps = token_steps(model, 64, kind="single", seed=3)
    good = np.array([1.0 if s.chosen == 2 else -0.5 for s in steps])
    before = np.mean([p[2] for p in choice_probabilities(model, steps)])
    Learner(model, lr=1e-2).update(steps, good, epochs=4)
    assert np.mean([p[2] for p in choice_probabilities(model, steps)]) > before + 0.05


def test_muon_moves_the_hidden_matrices_alone(model: Any) -> None:
    """With AdamW's rate at zero, nothing else moves; rates change by one factor, and a checkpoint goes on alike."""
    before = copy.deepcopy(model.state_dict())
    steps = token_steps(model, 32, kind="generated", seed=6)
    advantages = np.random.default_rng(6).normal(size=32)
    learner = Learner(model, lr=1e-3, muon=2e-2)
    learner.set_lr(5e-4)
    assert [g["lr"] for o in learner.optimizers for g in o.param_groups] == pytest.approx([5e-4, 1e-2])
    for group in learner.optimizers[0].param_groups:
        group["lr"] = 0.0
    learner.update(steps, advantages)
    moved = {name for name, value in model.state_dict().items() if not torch.equal(before[name], value)}
    assert moved == {name for name in before if name.endswith("proj.weight")}
    twin = Learner(copy.deepcopy(model), lr=1e-3, muon=2e-2)
    twin.load_state_dict(copy.deepcopy(learner.state_dict()))
    for one in (learner, twin):
        one.set_lr(1e-3)
        one.update(steps, advantages, number=1)
    for mine, its in zip(learner.parameters, twin.parameters, strict=True):
        torch.testing.assert_close(mine, its)


def test_divergence_from_the_start_holds_the_policy_back(model: Any) -> None:
    steps = token_steps(model, 32, kind="single", seed=4)
    advantages = np.array([1.0 if s.chosen == 0 else -1.0 for s in steps])
    moved = {}
    for kl in (0.0, 10.0):
        twin = copy.deepcopy(model)
        learner = Learner(twin, lr=5e-3, kl=kl)
        learner.reference = model
        for number in range(5):
            stats = learner.update(steps, advantages, number=number)
        moved[kl] = np.mean([p[0] for p in choice_probabilities(twin, steps)])
        assert (stats.kl > 0) == (kl > 0)
    assert moved[10.0] < moved[0.0]


def test_value_head_learns_the_targets(model: Any) -> None:
    steps = token_steps(model, 48, kind="single", seed=5)
    targets = np.array([float(len(s.prefix)) for s in steps])
    head = torch.nn.Linear(16, 1)
    learner = Learner(model, value_head=head, lr=1e-2)
    losses = [
        learner.update(steps, np.full(48, 1e-6), value_targets=targets, number=k, epochs=1).value_loss
        for k in range(60)
    ]
    assert losses[-1] < 0.05 * losses[0]


def test_demonstrations_are_cloned(model: Any) -> None:
    steps = [s for s in token_steps(model, 40, kind="generated", seed=6) if len(s.prefix) == 5][:1]
    learner = Learner(model, lr=1e-2)
    losses = list(learner.fit_demonstrations(steps * 8, epochs=40, batch=4))
    assert losses[-1] < 0.05
    with torch.no_grad():
        out = forward(model, build_examples(steps, np.ones(1), [1.0]))
    assert float(out.logprob.sum()) > -0.1


def test_infinite_advantage_is_refused_by_name(model: Any) -> None:
    advantages = np.zeros(8)
    advantages[5] = np.inf
    with pytest.raises(ValueError, match="trajectory 1, t=1"):
        Learner(model).update(token_steps(model, 8, kind="single"), advantages)


@pytest.mark.parametrize("kind", ["single", "several", "generated"])
def test_a_shared_prefix_is_computed_once_with_the_same_gradient(
    model: Any, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A goal that stands before every prompt costs one pass; nothing else changes."""
    goal = np.arange(10) % VOCABULARY
    steps = [replace(s, prefix=np.concatenate((goal, s.prefix))) for s in token_steps(model, 16, kind=kind, seed=7)]
    advantages = np.random.default_rng(8).normal(size=16)
    examples = build_examples(steps, advantages, step_weights(steps, "step-mean"))
    found, widths = [], []
    learners = [Learner(model) for _ in range(2)]
    assert all(learner._takes_masks for learner in learners)
    monkeypatch.setattr(
        model, "forward", lambda *a, _real=model.forward, **k: widths.append(k["input_ids"].shape) or _real(*a, **k)
    )
    for least, learner in zip((8, 1000), learners, strict=True):
        monkeypatch.setattr("agentgym.agents.train.forward._WORTH_SHARING", least)
        model.zero_grad()
        learner._policy_loss(examples, UpdateStats()).backward()
        found.append(gradient(model))
    torch.testing.assert_close(found[0], found[1], atol=1e-6, rtol=1e-4)
    assert widths[0] == (1, 10)
    assert widths[1][1] == widths[2][1] - 10


@pytest.mark.parametrize("goal", [0, 10])
@pytest.mark.parametrize("kind", ["single", "several", "generated"])
def test_packed_actions_share_their_prefix_with_the_same_result(model: Any, kind: str, goal: int) -> None:
    """One row a prefix, whatever was done there: values and gradients of a row for each action."""
    begin = np.arange(goal) % VOCABULARY
    steps = [replace(s, prefix=np.concatenate((begin, s.prefix))) for s in token_steps(model, 40, kind=kind, seed=9)]
    examples = build_examples(steps, np.ones(40), step_weights(steps, "step-mean"))
    several = [e for e in examples if len(e.sequences) > 1]
    assert [e.size(True)[0] for e in several] == [1] * 3
    assert [e.size(False)[0] for e in several] == [1 if kind == "single" else len(e.sequences) for e in several]
    found = []
    for packed in (False, True):
        model.zero_grad()
        out = forward(model, examples, temperature=0.7, hidden=True, packed=packed)
        assert out.hidden is not None
        (out.logprob * out.numbers()[0]).sum().backward()
        found.append((out.logprob, out.entropy, out.hidden, gradient(model)))
    for plain, tree in zip(*found, strict=True):
        torch.testing.assert_close(tree, plain, atol=2e-6, rtol=1e-4)


def test_what_cannot_be_packed_is_found_out(model: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sliding windows, models without positions, and models that ignore the mask get a row for each action."""
    assert packs(model)
    windowed = MistralConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        sliding_window=512,
    )
    assert not packs(MistralForCausalLM(windowed).eval())
    monkeypatch.setattr(
        model, "forward", lambda *a, _real=model.forward, **k: _real(*a, **k | {"attention_mask": None})
    )
    assert not packs(model)
    monkeypatch.setattr(model, "forward", lambda input_ids, past_key_values=None, **k: None)
    assert not packs(model)
