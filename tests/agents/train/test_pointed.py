"""Learning to point and to write: the same numbers as a plain computation, and gradients that go the right way."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agentgym.agents.policy.lexicon import Lexicon
from agentgym.agents.policy.pointing import PointingPolicy, pointing_model
from agentgym.agents.policy.types import Request
from agentgym.agents.train.examples import build_examples, parted, step_weights
from agentgym.agents.train.forward import forward
from agentgym.agents.train.learner import Learner
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep

LEXICON = Lexicon(["textbox", "button", "Login"])
PAGE = 'page: Login\n[1] textbox\n[2] textbox value="x"\n[3] button "Login"'


@pytest.fixture
def policy() -> PointingPolicy:
    return PointingPolicy(pointing_model(LEXICON, hidden=16, layers=2, heads=2, seed=2), LEXICON, max_new_tokens=4)


def collected(policy: PointingPolicy, count: int) -> list[TokenStep]:
    """Steps as the loop's table would give them, on pages of two lengths."""
    pages = (PAGE, PAGE + '\n[4] button "more"')
    requests = [Request(k, 0, {"text": pages[k % 2]}, "go", seed=9) for k in range(count)]
    steps = []
    for request, decision in zip(requests, policy.act(requests), strict=True):
        s = decision.segment
        assert s is not None
        steps.append(
            TokenStep(request.episode, 0, s.prompt, s.action, s.logprob, s.logprob_behaviour, s.candidates, s.chosen, 0)
        )
        policy.end(request.episode)
    return steps


def test_a_step_that_wrote_becomes_a_choice_and_a_text(policy: PointingPolicy) -> None:
    steps = collected(policy, 20)
    parts, (column,) = parted(steps, np.arange(20.0))
    at = 0
    for k, s in enumerate(steps):
        assert s.candidates is not None
        name = s.candidates[s.chosen]
        choice = parts[at]
        assert (tuple(choice.action), choice.chosen, column[at]) == (name, s.chosen, k)
        at += 1
        if len(s.action) > len(name):
            text = parts[at]
            assert text.candidates is None
            assert column[at] == k
            assert (*text.prefix, *text.action) == (*s.prefix, *s.action)
            assert np.array_equal(
                np.concatenate((choice.logprob_behaviour, text.logprob_behaviour)), s.logprob_behaviour
            )
            at += 1
    assert at == len(parts) > 20


def test_the_learner_finds_the_probabilities_that_the_policy_acted_by(policy: PointingPolicy) -> None:
    """Else the ratio of an on-policy step would not be 1."""
    parts, _ = parted(collected(policy, 40))
    for written in (False, True):
        mine = [s for s in parts if (s.candidates is None) == written]
        examples = build_examples(mine, np.ones(len(mine)), step_weights(mine, "step-mean"))
        out = forward(policy.model, examples, packed=written, pointer=policy.pointer)
        assert out.logprob.detach().numpy() == pytest.approx(out.old().numpy(), abs=1e-4)


def test_entropy_is_that_of_the_choice(policy: PointingPolicy) -> None:
    parts, _ = parted(collected(policy, 2))
    mine = [s for s in parts if s.candidates is not None]
    examples = build_examples(mine, np.ones(len(mine)), step_weights(mine, "step-mean"))
    out = forward(policy.model, examples, pointer=policy.pointer, temperature=2.0)
    for entropy, e in zip(out.entropy.tolist(), examples, strict=True):
        logits = policy.model(input_ids=torch.from_numpy(e.prefix[None])).logits[0, :, LEXICON.pick]
        p = torch.softmax(logits[torch.from_numpy(e.prefix == LEXICON.mark)] / 2.0, 0)
        assert entropy == pytest.approx(-(p * p.log()).sum().item(), abs=1e-5)


def test_an_update_raises_what_was_good_and_lowers_what_was_bad(policy: PointingPolicy) -> None:
    steps = collected(policy, 24)
    good = np.array([1.0 if s.chosen == 0 else -1.0 for s in steps])
    learner = Learner(policy.model, lr=1e-2, pointer=policy.pointer)
    stats = learner.update(steps, good, epochs=3)
    assert stats.steps == 24
    policy.set_weights_version(1)
    after = collected(policy, 24)
    assert sum(s.chosen == 0 for s in after) > sum(s.chosen == 0 for s in steps)


def test_marks_and_candidates_must_agree(policy: PointingPolicy) -> None:
    parts, _ = parted(collected(policy, 1))
    examples = build_examples(parts[:1], np.ones(1), [1.0])
    examples[0].prefix = examples[0].prefix[:-1]
    with pytest.raises(UsageError, match="as many marks"):
        forward(policy.model, examples, pointer=policy.pointer)


def test_a_value_head_is_refused(policy: PointingPolicy) -> None:
    with pytest.raises(UsageError, match="value head"):
        Learner(policy.model, value_head=torch.nn.Linear(16, 1), pointer=policy.pointer)
