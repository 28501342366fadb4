"""The language-model policy: decisions, segments, randomness, folders."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agentgym.agents.policy.context import Append, LastK, Summarise
from agentgym.agents.policy.small import small_model
from agentgym.agents.policy.transformers import TransformersPolicy
from agentgym.agents.policy.types import Policy, Request
from agentgym.errors import ModelFolderError, PolicyError, UsageError

ACTIONS = ("turn left", "turn right", "forward", "turn")  # "turn" begins others: the end mark tells them apart
TEXTS = ["find the red key", *ACTIONS, "you see 0 1 2 3 4 5 6 7 8 9"]


@pytest.fixture(scope="module")
def small():
    model, tokenizer = small_model(TEXTS, hidden=32, heads=2, seed=1)
    with torch.no_grad():  # large enough that the context matters and choices differ
        for parameter in model.parameters():
            parameter.mul_(4)
    return model, tokenizer


def make(small, **options):
    return TransformersPolicy(*small, **{"max_new_tokens": 6, **options})


def request(episode=0, step=0, *, see=None, admissible=None, **more):
    see = f"you see {episode} {step}" if see is None else see
    return Request(episode, step, see, "find the red key", admissible, **more)


def play(policy, episodes=3, steps=5, *, admissible=None, together=True, greedy=False):
    """decisions[episode][step]."""
    decisions = [[] for _ in range(episodes)]
    order = (
        [[(e, t) for e in range(episodes)] for t in range(steps)]
        if together
        else [[(e, t)] for e in reversed(range(episodes)) for t in range(steps)]
    )
    for batch in order:
        asked = [request(e, t, admissible=admissible, seed=7, greedy=greedy) for e, t in batch]
        for (e, _), decision in zip(batch, policy.act(asked), strict=True):
            decisions[e].append(decision)
    return decisions


def test_it_is_a_policy(small):
    policy = make(small)
    assert isinstance(policy, Policy)
    assert (policy.wants_admissible, policy.wants_env) == (True, False)
    assert not make(small, mode="generate").wants_admissible
    assert policy.act([]) == []


@pytest.mark.parametrize("context", [Append(), LastK(0), LastK(2), Summarise(45)])
@pytest.mark.parametrize("admissible", [None, ACTIONS, ("forward", "key")])
def test_segments_run_again_through_the_model_give_their_log_probabilities(small, context, admissible):
    """The segments are all a learner gets: concatenated, they must be what the model saw."""
    policy = make(small, context=context, temperature=1.5)
    for decisions in play(policy, admissible=admissible):
        sequence: list[int] = []
        last = -1
        for decision in decisions:
            segment = decision.segment
            sequence = sequence if segment.index == last else []
            last = segment.index
            sequence = sequence + segment.prompt.tolist()
            with torch.no_grad():
                logits = small[0](torch.tensor([sequence + segment.action.tolist()])).logits[0].double()
            lines = logits[len(sequence) - 1 : -1]
            taken = torch.from_numpy(segment.action)[:, None]
            raw = torch.log_softmax(lines, -1).gather(1, taken)[:, 0].numpy()
            np.testing.assert_allclose(segment.logprob, raw, atol=1e-4)
            assert segment.prompt.dtype == segment.action.dtype == np.int64
            if admissible is None:
                own = torch.log_softmax(lines / 1.5, -1).gather(1, taken)[:, 0].numpy()
                np.testing.assert_allclose(segment.logprob_behaviour, own, atol=1e-4)
                assert (segment.candidates, segment.chosen) == (None, -1)
            else:
                assert tuple(segment.action.tolist()) == segment.candidates[segment.chosen]
                assert decision.action == admissible[segment.chosen]
            assert decision.logprob == pytest.approx(segment.logprob_behaviour.sum())
            sequence = sequence + segment.action.tolist()


def test_candidates_are_chosen_by_their_tempered_probability(small):
    [decision] = make(small, temperature=2.0).act([request(admissible=ACTIONS)])
    segment = decision.segment
    prompt = segment.prompt.tolist()
    sums = []
    for candidate in segment.candidates:
        with torch.no_grad():
            logits = small[0](torch.tensor([[*prompt, *candidate]])).logits[0].double()
        lines = torch.log_softmax(logits[len(prompt) - 1 : -1], -1)
        sums.append(lines.gather(1, torch.tensor(candidate)[:, None]).sum())
    want = torch.log_softmax(torch.stack(sums) / 2.0, 0)[segment.chosen].item()
    assert segment.logprob_behaviour[0] == pytest.approx(want, abs=1e-4)
    assert (segment.logprob_behaviour[1:] == 0).all()


def test_end_marks_are_scored_only_where_they_tell_candidates_apart(small):
    policy = make(small)
    [with_prefix] = policy.act([request(0, admissible=ACTIONS)])
    [without] = policy.act([request(1, admissible=("turn left", "forward"))])
    assert all(c[-1:] == policy.template.end for c in with_prefix.segment.candidates)
    assert [len(c) for c in without.segment.candidates] == [2, 1]


@pytest.mark.parametrize("admissible", [None, ACTIONS])
@pytest.mark.parametrize("greedy", [False, True])
def test_decisions_do_not_depend_on_batching(small, admissible, greedy):
    together = play(make(small), admissible=admissible, greedy=greedy)
    apart = play(make(small), admissible=admissible, greedy=greedy, together=False)
    for a, b in zip(together, apart, strict=True):
        assert [d.action for d in a] == [d.action for d in b]
        assert [d.segment.action.tolist() for d in a] == [d.segment.action.tolist() for d in b]


def test_randomness_is_keyed_by_run_and_step(small):
    policy = make(small)
    actions = set()
    for seed in range(8):
        [decision] = policy.act([request(admissible=ACTIONS, seed=seed)])
        policy.end(0)
        [again] = policy.act([request(admissible=ACTIONS, seed=seed)])
        policy.end(0)
        assert again.action == decision.action
        actions.add(decision.action)
    assert len(actions) > 1


def test_greedy_takes_the_best_candidate_with_certainty(small):
    [decision] = make(small).act([request(admissible=ACTIONS, greedy=True)])
    policy = make(small)
    sums = [
        lp.sum()
        for lp in policy.engine.score([0], [decision.segment.prompt.tolist()], [decision.segment.candidates])[
            0
        ].logprobs
    ]
    assert decision.segment.chosen == int(np.argmax(sums))
    assert decision.logprob == 0.0


def test_equal_situations_are_computed_once(small):
    policy = make(small, context=LastK(0))
    for step in range(5):
        policy.act([request(e, step, see="you see 1", admissible=ACTIONS, seed=e) for e in range(4)])
    assert policy.engine.memo_hits == 16
    fed = policy.engine.fed_tokens
    policy.set_weights_version(1)
    policy.act([request(9, see="you see 1", admissible=ACTIONS)])
    assert policy.engine.fed_tokens > fed
    policy.set_weights_version(1)
    policy.act([request(10, see="you see 1", admissible=ACTIONS)])
    assert policy.engine.memo_hits == 17


@pytest.mark.parametrize("admissible", [None, ("turn left", "forward key")])
def test_a_turn_feeds_only_what_is_new(small, admissible):
    """The prompt of a segment's next turn is the tokens added to it; those before it are not fed again."""
    policy = make(small, mode="score" if admissible else "generate")
    fed, answered = 0, 0
    for step in range(4):
        [decision] = policy.act([request(0, step, admissible=admissible, greedy=True)])
        segment = decision.segment
        assert segment.index == 0
        # Of the former action: all its tokens when it was scored (they were in a tree), else the last, never fed yet.
        carried = answered if admissible else min(answered, 1)
        answered = len(segment.action)
        own = 2 if admissible else answered - 1  # the first token of each candidate; all generated ones but the last
        assert policy.engine.fed_tokens - fed == carried + len(segment.prompt) + own
        fed = policy.engine.fed_tokens


def test_equal_prompts_are_generated_from_one_computation(small):
    """Four episodes in the same state: the prompt once, then one token a row to branch from, then each its own."""
    policy = make(small, mode="generate")
    decisions = policy.act([request(e, see="you see 1", seed=3) for e in range(4)])
    prompt = len(decisions[0].segment.prompt)
    assert prompt > 8
    new = sum(len(d.segment.action) - 1 for d in decisions)
    assert policy.engine.fed_tokens <= prompt + 4 + new
    assert policy.engine.fed_tokens < 4 * prompt


@pytest.mark.parametrize("admissible", [None, ACTIONS])
def test_a_new_version_of_the_weights_leaves_nothing_of_the_old(admissible):
    """They are put in so that nothing but the version tells: what was kept would be used if it were there."""
    old, tokenizer = small_model(TEXTS, hidden=32, heads=2, seed=1)
    new, _ = small_model(TEXTS, hidden=32, heads=2, seed=2)
    for model in (old, new):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(4)
    policy = make((old, tokenizer))
    [first] = policy.act([request(0, 0, admissible=admissible, greedy=True)])
    for mine, theirs in zip(old.parameters(), new.parameters(), strict=True):
        mine.data = theirs.data.clone()
    policy.set_weights_version(1)
    [got] = policy.act([request(0, 1, admissible=admissible, greedy=True)])
    prompt = [*first.segment.prompt.tolist(), *first.segment.action.tolist(), *got.segment.prompt.tolist()]
    with torch.no_grad():
        logits = new(torch.tensor([prompt + got.segment.action.tolist()])).logits[0, len(prompt) - 1 : -1].double()
    want = torch.log_softmax(logits, -1).gather(1, torch.from_numpy(got.segment.action)[:, None])[:, 0].numpy()
    np.testing.assert_allclose(got.segment.logprob, want, atol=1e-4)


def test_generated_text_becomes_an_action(small):
    [plain] = make(small, mode="generate").act([request(greedy=True)])
    assert isinstance(plain.action, str)
    [parsed] = make(small, parse=lambda text: len(text)).act([request(greedy=True)])
    assert parsed.action == len(plain.action)
    assert parsed.text == plain.action
    spoken = small[1].encode(plain.action)
    offered = (object(), plain.action.replace(" ", "  "))  # the same words, other spaces
    [matched] = make(small, mode="generate").act([request(greedy=True, admissible=offered)])
    assert small[1].encode(plain.action) == spoken
    assert matched.action is offered[1]


def test_stop_texts_end_the_action(small):
    [free] = make(small, mode="generate").act([request(greedy=True)])
    words = free.action.split()
    stop = words[2]
    [cut] = make(small, mode="generate", stop=[stop]).act([request(greedy=True)])
    first = words.index(stop)
    assert cut.action.split() == words[:first]
    assert cut.segment.action.tolist() == free.segment.action.tolist()[: first + 1]


def test_actions_that_are_not_texts(small):
    names = {0: "turn left", 1: "forward"}
    [decision] = make(small, render=names.__getitem__).act([request(admissible=(0, 1))])
    assert decision.action in (0, 1)
    assert decision.segment.candidates == make(small)._candidates(request(admissible=("turn left", "forward")))


def test_recorded_demonstrations_make_the_segments_of_acting(small):
    for admissible in (ACTIONS, None):
        actor, student = make(small, context=LastK(1)), make(small, context=LastK(1))
        for step in range(4):
            asked = request(0, step, admissible=admissible or ACTIONS)
            asked_student = request(0, step, admissible=admissible)
            [acted] = actor.act([asked])
            [shown] = student.record([asked_student], [acted.action])
            assert shown.action == acted.action
            assert np.isnan(shown.segment.logprob).all()
            if admissible:
                for name in ("prompt", "action"):
                    assert getattr(shown.segment, name).tolist() == getattr(acted.segment, name).tolist()
                assert (shown.segment.candidates, shown.segment.chosen) == (
                    acted.segment.candidates, acted.segment.chosen,
                )  # fmt: skip
            else:
                assert student.template.say(tuple(shown.segment.action.tolist())) == acted.action
    with pytest.raises(PolicyError, match="not among the admissible"):
        make(small).record([request(admissible=ACTIONS)], ["fly"])


def test_the_model_may_write_its_own_summaries(small):
    policy = make(small, context=Summarise(40, 0, write=None, ask="find the key", summary_tokens=4))
    sequence: list[int] = []
    for step in range(4):
        [decision] = policy.act([request(0, step, greedy=True)])
        segment = decision.segment
        if segment.index == 0:
            last = tuple(segment.action.tolist())
            sequence = [*sequence, *segment.prompt.tolist(), *last]
            continue
        asked = sequence + list(policy.template.turn(last, "find the key"))
        [answer] = policy.engine.generate(
            [99], [asked], max_new_tokens=4, greedy=True, stop_ids=policy.template.stop_ids
        )
        summary = policy.template.say(tuple(answer.tokens.tolist()))
        assert summary
        want = policy.template.opening("find the red key", f"you see 0 {step}", summary)
        assert segment.prompt.tolist() == list(want)
        break
    else:
        raise AssertionError("no segment ended")


def test_ended_episodes_are_forgotten(small):
    policy = make(small)
    policy.act([request(0, 0)])
    with pytest.raises(PolicyError, match=r"expected step 1 .* got step 0.*end"):
        policy.act([request(0, 0)])
    policy.end(0)
    policy.end(12345)
    policy.act([request(0, 0)])


def test_a_failed_batch_can_be_asked_again(small):
    policy = make(small)
    with pytest.raises(PolicyError, match="lists none"):
        TransformersPolicy(*small, mode="score").act([request()])
    with pytest.raises(PolicyError, match="reads a string"):
        policy.act([request(0), request(1, see=3.5)])
    policy.act([request(0), request(1)])


def test_requests_that_make_no_sense(small):
    policy = make(small)
    with pytest.raises(PolicyError, match="at most one request per episode"):
        policy.act([request(0), request(0)])
    with pytest.raises(PolicyError, match="same tokens"):
        policy.act([request(admissible=("dragon", "unicorn"))])
    with pytest.raises(PolicyError, match="keys"):
        policy.act([request(see={"image": 1})])
    assert policy.act([request(see={"text": "you see 1"})])[0].segment is not None


@pytest.mark.parametrize(
    "options",
    [{"temperature": 0}, {"top_p": 0}, {"mode": "think"}, {"stop": "word"}, {"stop": [""]}, {"max_new_tokens": 0}],
)
def test_senseless_options_are_refused(small, options):
    with pytest.raises(UsageError, match="expected"):
        make(small, **options)


def test_training_on_a_nucleus_is_refused_with_the_reason(small):
    assert make(small).trainable
    policy = make(small, top_p=0.9)
    assert not policy.trainable
    assert "top_p=0.9" in policy.untrainable_reason


def test_folder_round_trip(small, tmp_path):
    policy = make(small, critic=True)
    with torch.no_grad():
        policy.value_head.bias.fill_(0.5)
        policy.value_head.weight.normal_(generator=torch.Generator().manual_seed(0))
    policy.save(tmp_path)
    again = TransformersPolicy.from_pretrained(tmp_path, critic=True, max_new_tokens=6, device="cpu")
    for admissible in (None, ACTIONS):
        [a], [b] = (p.act([request(int(admissible is None), admissible=admissible)]) for p in (policy, again))
        assert a.action == b.action
        assert a.value == b.value != 0.0
    assert np.isnan(make(small).act([request()])[0].value)
    assert sum(p.numel() for p in policy.parameters()) == sum(p.numel() for p in small[0].parameters()) + 33


def test_folders_that_hold_no_policy(small, tmp_path):
    for name, match in [
        (tmp_path / "nowhere", "no folder"),
        ("./nowhere", "no folder"),
        (tmp_path, "config.json"),
    ]:
        with pytest.raises(ModelFolderError, match=match):
            TransformersPolicy.from_pretrained(name)
    small[0].save_pretrained(tmp_path)
    with pytest.raises(ModelFolderError, match="no tokenizer"):
        TransformersPolicy.from_pretrained(tmp_path)
    small[1].save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"\0" * 100)
    with pytest.raises(ModelFolderError, match="cannot be loaded"):
        TransformersPolicy.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{ not json")
    with pytest.raises(ModelFolderError, match="cannot be loaded"):
        TransformersPolicy.from_pretrained(tmp_path)


def test_a_context_that_outgrows_the_model_says_what_to_do():
    model, tokenizer = small_model(TEXTS, hidden=32, heads=2, max_length=24)
    policy = TransformersPolicy(model, tokenizer)
    policy.act([request(0, 0, admissible=ACTIONS)])
    with pytest.raises(UsageError, match=r"24 positions.*LastK"):
        policy.act([request(0, 1, admissible=ACTIONS)])
