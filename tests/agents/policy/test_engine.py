"""The engine against plain whole-sequence runs of the same model: equal answers, less work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentgym.agents.policy.cached import CachedCore
from agentgym.agents.policy.cores import FullCore
from agentgym.agents.policy.engine import Engine
from agentgym.agents.policy.sampling import behaviour
from agentgym.errors import UsageError

WAYS = {
    "llama": "stock", "llama-eager": "stock", "qwen2": "stock", "qwen3": "stock", "mistral": "stock",
    "gpt2": "model", "gpt2-eager": "model", "windowed": "whole",
}  # fmt: skip
KINDS = list(WAYS)
STOPS = frozenset(range(2, 8))
NEVER = frozenset({97})  # outside the vocabulary
NEW = 8


def by_generate(model, prompt, new=NEW, stops=STOPS):
    """Hugging Face's own greedy answer, one row at a time, without any cache."""
    tokens = torch.tensor([prompt])
    out = model.generate(
        tokens, attention_mask=torch.ones_like(tokens), max_new_tokens=new, do_sample=False, use_cache=False,
        eos_token_id=sorted(stops), pad_token_id=0,
    )  # fmt: skip
    return out[0, len(prompt) :].tolist()


def whole(model, prompt, tokens):
    """Raw log-probability of every token after ``prompt``, from one plain run of the whole sequence."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0].double()
    lines = torch.log_softmax(logits, -1)[len(prompt) - 1 : -1]
    return lines.gather(1, torch.tensor(tokens)[:, None])[:, 0].numpy()


def ragged(seed, count, low=3, high=30):
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 97, size=rng.integers(low, high)).tolist() for _ in range(count)]


def two_letter_candidates(seed, count=6):
    """Candidates over few tokens, so that they share beginnings; some are beginnings of others."""
    rng = np.random.default_rng(seed)
    return tuple(tuple(rng.integers(1, 4, size=rng.integers(1, 6)).tolist()) for _ in range(count))


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_tokens_over_ragged_turns_equal_generate_without_cache(model_of, kind):
    model = model_of(kind)
    engine = Engine(model)
    assert engine.way == WAYS[kind]
    histories = ragged(0, 5)
    for turn in range(4):
        answers = engine.generate(range(5), histories, max_new_tokens=NEW, stop_ids=STOPS, greedy=True)
        for history, answer, more in zip(histories, answers, ragged(turn + 1, 5), strict=True):
            assert answer.tokens.tolist() == by_generate(model, history)
            history += answer.tokens.tolist() + more


@pytest.mark.parametrize("kind", KINDS)
def test_scores_equal_full_sequences(model_of, kind):
    model = model_of(kind)
    engine = Engine(model)
    prompts = ragged(1, 4)
    engine.score(
        range(4), [p[: len(p) // 2] for p in prompts], [((1,), (2,))] * 4
    )  # a kept beginning, on single tokens
    candidates = [two_letter_candidates(seed) for seed in range(4)]
    for prompt, options, scored in zip(prompts, candidates, engine.score(range(4), prompts, candidates), strict=True):
        for option, logprobs in zip(options, scored.logprobs, strict=True):
            np.testing.assert_allclose(logprobs, whole(model, prompt, option), atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_hidden_states_equal_full_sequences(model_of, kind):
    model = model_of(kind)
    engine = Engine(model)
    prompts = ragged(4, 4, low=6)
    engine.generate([0, 1], [prompts[0], prompts[1][:-3]], max_new_tokens=1, greedy=True)  # known, and known in part
    first = [2, 0, len(prompts[2]) - 1, 3]
    for prompt, start, hidden in zip(prompts, first, engine.hidden(range(4), prompts, first), strict=True):
        with torch.no_grad():
            want = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0, start:]
        torch.testing.assert_close(hidden, want, atol=1e-4, rtol=1e-3)


def test_what_was_read_is_not_fed_again(model_of):
    engine = Engine(model_of("llama"))
    (prompt,) = ragged(5, 1, low=20)
    engine.hidden([0], [prompt], [3])
    before = engine.fed_tokens
    engine.generate([0], [[*prompt, 1, 2]], max_new_tokens=1, greedy=True)
    assert engine.fed_tokens - before == 2


@pytest.mark.parametrize("kind", ["llama", "gpt2", "windowed"])
def test_log_probabilities_of_sampled_tokens(model_of, kind):
    """Raw: the model's own. Behaviour: the nucleus at the temperature, computed directly from the model's logits."""
    model = model_of(kind)
    prompts = ragged(2, 3)
    uniforms = np.random.default_rng(0).random((3, 6))
    answers = Engine(model).generate(range(3), prompts, max_new_tokens=6, temperature=0.7, top_p=0.8, uniforms=uniforms)
    for prompt, answer in zip(prompts, answers, strict=True):
        tokens = answer.tokens.tolist()
        np.testing.assert_allclose(answer.logprob, whole(model, prompt, tokens), atol=1e-4)
        with torch.no_grad():
            logits = model(torch.tensor([prompt + tokens])).logits[0, len(prompt) - 1 : -1]
        p = behaviour(logits, 0.7, 0.8)
        want = torch.log(p[torch.arange(6), torch.tensor(tokens)]).numpy()
        np.testing.assert_allclose(answer.logprob_behaviour, want, atol=1e-4)


def test_only_new_tokens_are_fed(model_of):
    engine = Engine(model_of("llama"))
    history = ragged(3, 1, 40, 41)[0]
    engine.generate([0], [history], max_new_tokens=1, greedy=True)
    before = engine.fed_tokens
    engine.generate([0], [[*history, 5, 6, 7]], max_new_tokens=1, greedy=True)
    assert engine.fed_tokens - before == 3


def test_a_common_prefix_is_computed_once(model_of):
    """Sixty tokens shared by all, forty more by pairs: fed once each, in the batch and for a later row."""
    model = model_of("llama")
    engine = Engine(model)
    common, tails = ragged(4, 1, 60, 61)[0], ragged(5, 8, 5, 6)
    middle = ragged(6, 4, 40, 41)
    prompts = [common + middle[i // 2] + tail for i, tail in enumerate(tails)]
    answers = engine.generate(range(8), prompts, max_new_tokens=1, greedy=True)
    assert engine.fed_tokens <= 60 + 4 * 40 + 8 * 5
    late = common + middle[0] + [9, 9]
    before = engine.fed_tokens
    [answer] = engine.generate([100], [late], max_new_tokens=1, greedy=True)
    assert engine.fed_tokens - before == 2
    for prompt, got in zip([*prompts, late], [*answers, answer], strict=True):
        assert got.tokens.tolist() == by_generate(model, prompt, 1)


def test_many_samples_of_one_prompt_share_it(model_of):
    engine = Engine(model_of("llama"))
    prompt = ragged(16, 1, 80, 81)[0]
    uniforms = np.random.default_rng(16).random((6, 4))
    answers = engine.generate(range(6), [prompt] * 6, max_new_tokens=4, uniforms=uniforms)
    assert engine.fed_tokens == 80 + 6 * 1 + 6 * 3  # the prompt, its last token for each row, three of four new ones
    assert len({tuple(a.tokens.tolist()) for a in answers}) > 1
    for answer in answers:
        np.testing.assert_allclose(answer.logprob, whole(engine.model, prompt, answer.tokens.tolist()), atol=1e-4)


def test_equal_requests_are_computed_once_and_remembered(model_of):
    engine = Engine(model_of("llama"))
    prompt, options = ragged(7, 1)[0], two_letter_candidates(0)
    first = engine.score(range(5), [prompt] * 5, [options] * 5)
    fed = engine.fed_tokens
    assert fed <= len(prompt) + sum(map(len, options))
    again = engine.score([77], [list(prompt)], [options])
    assert engine.fed_tokens == fed
    assert engine.memo_hits == 1
    assert all(a is first[0] for a in [*first, *again])


@pytest.mark.parametrize("seed", range(3))
def test_answers_do_not_depend_on_the_batch(model_of, seed):
    model = model_of("llama")
    prompts, uniforms = ragged(seed, 6), np.random.default_rng(seed).random((6, NEW))
    kwargs = {"max_new_tokens": NEW, "stop_ids": STOPS, "temperature": 1.3, "top_p": 0.9}
    together = Engine(model).generate(range(6), prompts, uniforms=uniforms, **kwargs)
    one = Engine(model)
    for i in reversed(range(6)):
        [alone] = one.generate([i], [prompts[i]], uniforms=uniforms[i : i + 1], **kwargs)
        assert alone.tokens.tolist() == together[i].tokens.tolist()
        np.testing.assert_allclose(alone.logprob, together[i].logprob, atol=1e-5)


def test_rows_of_one_batch_may_mix_greedy_and_sampling(model_of):
    model = model_of("llama")
    prompts, uniforms = ragged(8, 4), np.random.default_rng(8).random((4, NEW))
    mixed = Engine(model).generate(
        range(4), prompts, max_new_tokens=NEW, greedy=[True, False, True, False], uniforms=uniforms
    )
    sampled = Engine(model).generate(range(4), prompts, max_new_tokens=NEW, uniforms=uniforms)
    for i in (0, 2):
        assert mixed[i].tokens.tolist() == by_generate(model, prompts[i], stops=NEVER)
        assert (mixed[i].logprob_behaviour == 0).all()
    for i in (1, 3):
        assert mixed[i].tokens.tolist() == sampled[i].tokens.tolist()


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_history_of_calls_gives_the_answers_of_a_fresh_model(model_of, data):
    """The cache is only a cache: rows come, grow, change their past, are dropped and evicted, in any order."""
    model = model_of("llama")
    engine = Engine(model, max_cached_tokens=data.draw(st.sampled_from([1, 130, 200, 400, 100_000])))
    common = ragged(9, 1, 40, 41)[0]
    past: dict[int, list[int]] = {}
    for _ in range(data.draw(st.integers(2, 5))):
        rows = data.draw(st.lists(st.integers(0, 6), min_size=1, max_size=5, unique=True))
        for row in rows:
            how = data.draw(st.sampled_from(["grow", "restart", "shared", "drop", "cut"]))
            fresh = data.draw(st.lists(st.integers(1, 96), min_size=1, max_size=20))
            match how:
                case "grow":
                    past[row] = past.get(row, []) + fresh
                case "restart":
                    past[row] = fresh
                case "shared":
                    past[row] = common[: data.draw(st.integers(17, 40))] + fresh
                case "drop":
                    engine.drop(row)
                    past[row] = past.get(row, []) + fresh
                case "cut":
                    past[row] = past.get(row, fresh)[: data.draw(st.integers(1, 60))]
            past[row] = past[row][-150:]
        prompts = [past[row] for row in rows]
        if data.draw(st.booleans()):
            for row, answer in zip(rows, engine.generate(rows, prompts, max_new_tokens=3, greedy=True), strict=True):
                np.testing.assert_allclose(answer.logprob, whole(model, past[row], answer.tokens.tolist()), atol=1e-4)
                past[row] = past[row] + answer.tokens.tolist()
        else:
            options = [two_letter_candidates(len(p)) for p in prompts]
            for prompt, some, answer in zip(prompts, options, engine.score(rows, prompts, options), strict=True):
                for option, logprobs in zip(some, answer.logprobs, strict=True):
                    np.testing.assert_allclose(logprobs, whole(model, prompt, option), atol=1e-4)


def test_memory_stays_below_its_bound(model_of):
    engine = Engine(model_of("llama"), max_cached_tokens=640)
    for start in range(0, 40, 8):
        engine.generate(range(start, start + 8), ragged(start, 8), max_new_tokens=4, greedy=True)
        core = engine._core
        assert isinstance(core, CachedCore)
        assert len(core.pool.slots) * core.pool.columns <= 640


def test_new_weights_leave_nothing_stale(fresh_model):
    model = fresh_model("llama")
    engine = Engine(model)
    prompt, options = ragged(10, 1)[0], two_letter_candidates(1)
    old = engine.score([0], [prompt], [options])[0].logprobs
    with torch.no_grad():
        model.lm_head.weight.mul_(0.5)
        model.model.layers[0].mlp.up_proj.weight.add_(0.1)
    new = engine.score([0], [prompt], [options])[0].logprobs  # noticed without a call
    longer = engine.score([0], [[*prompt, 4]], [options])[0].logprobs
    for option, before, now, later in zip(options, old, new, longer, strict=True):
        np.testing.assert_allclose(now, whole(model, prompt, option), atol=1e-4)
        np.testing.assert_allclose(later, whole(model, [*prompt, 4], option), atol=1e-4)
        assert np.abs(before - now).max() > 1e-3
    model.lm_head.weight.data = model.lm_head.weight.data * 2  # unusual: not counted by autograd
    engine.flush()
    again = engine.score([0], [prompt], [options])[0].logprobs
    np.testing.assert_allclose(again[0], whole(model, prompt, options[0]), atol=1e-4)


def test_the_model_is_left_as_it_was(fresh_model):
    model = fresh_model("gpt2").train()  # has dropout: an engine that forgot evaluation mode would be noisy
    engine = Engine(model)
    prompt = ragged(11, 1)[0]
    first = engine.generate([0], [prompt], max_new_tokens=4, greedy=True)[0].logprob
    second = Engine(model).generate([0], [prompt], max_new_tokens=4, greedy=True)[0].logprob
    assert first.tolist() == second.tolist()
    assert model.training
    assert all(p.requires_grad and p.grad is None for p in model.parameters())


def test_stop_rules(model_of):
    engine = Engine(model_of("llama"))
    prompt = ragged(12, 1)[0]
    free = engine.generate([0], [prompt], max_new_tokens=12, greedy=True)[0].tokens.tolist()
    assert len(free) == 12
    third = free[2]
    by_token = engine.generate([1], [prompt], max_new_tokens=12, stop_ids={third}, greedy=True)[0].tokens.tolist()
    assert by_token == free[: free.index(third) + 1]  # the stop token belongs to the answer
    by_rule = engine.generate([2], [prompt], max_new_tokens=12, stop_when=lambda new: len(new) == 5, greedy=True)
    assert by_rule[0].tokens.tolist() == free[:5]


def test_generation_ends_where_the_positions_end(model_of):
    engine = Engine(model_of("gpt2"))
    prompt = ragged(13, 1, 250, 251)[0]
    [answer] = engine.generate([0], [prompt], max_new_tokens=50, greedy=True)
    assert len(prompt) + len(answer.tokens) == 256


def test_value_head_reads_the_last_prompt_token(model_of):
    model = model_of("llama")
    head = torch.nn.Linear(48, 1)
    prompts = ragged(14, 3)
    engine = Engine(model, value_head=head)
    written = engine.generate(range(3), prompts, max_new_tokens=1, greedy=True)
    scored = engine.score(range(3), prompts, [((1,), (2, 3))] * 3)
    full = Engine(model, value_head=head)
    full._core = FullCore(model)
    slow = full.score(range(3), prompts, [((1,), (2, 3))] * 3)
    for prompt, a, b, c in zip(prompts, written, scored, slow, strict=True):
        with torch.no_grad():
            hidden = model(torch.tensor([prompt]), output_hidden_states=True).hidden_states[-1][0, -1]
            want = head(hidden).item()
        assert a.value == pytest.approx(want, abs=1e-4)
        assert b.value == pytest.approx(want, abs=1e-4)
        assert c.value == pytest.approx(want, abs=1e-4)


def test_prompts_longer_than_one_piece(model_of, monkeypatch):
    monkeypatch.setattr("agentgym.agents.policy.cached._PIECE", 16)
    monkeypatch.setattr("agentgym.agents.policy.passes.PASS", 64)
    model = model_of("llama")
    prompts = ragged(15, 5, 30, 90)
    for prompt, answer in zip(
        prompts, Engine(model).generate(range(5), prompts, max_new_tokens=4, greedy=True), strict=True
    ):
        assert answer.tokens.tolist() == by_generate(model, prompt, 4, stops=NEVER)


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda e: e.generate([0, 0], [[1], [2]], max_new_tokens=1, greedy=True), "distinct rows"),
        (lambda e: e.generate([0], [[]], max_new_tokens=1, greedy=True), "at least one token"),
        (lambda e: e.generate([0], [[1]], max_new_tokens=0, greedy=True), "max_new_tokens"),
        (lambda e: e.generate([0], [[1]], max_new_tokens=2), "uniforms"),
        (lambda e: e.generate([0], [[1]], max_new_tokens=2, uniforms=np.zeros((1, 1))), "shape"),
        (lambda e: e.generate([0], [[1]], max_new_tokens=1, temperature=0.0), "temperature"),
        (lambda e: e.generate([0], [[1] * 256], max_new_tokens=1, greedy=True), "256 positions"),
        (lambda e: e.score([0], [[1] * 250], [((1,) * 9,)]), "LastK"),
        (lambda e: e.hidden([0], [[1, 2]], [2]), "one of the prompt's 2 tokens, got 2"),
        (lambda e: e.score([0], [[1]], [()]), "at least one candidate"),
        (lambda e: e.score([0], [[1]], [((1,), ())]), "at least one token"),
    ],
)
def test_senseless_arguments_are_refused(model_of, call, match):
    with pytest.raises(UsageError, match=match):
        call(Engine(model_of("llama")))
