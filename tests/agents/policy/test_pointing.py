"""The policy that points and writes: its distribution, its memory of the last step, and what it records."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from agentgym.agents.policy.lexicon import Lexicon, Notes
from agentgym.agents.policy.pointing import PointingPolicy, pointing_model, quoted_call
from agentgym.agents.policy.types import Request
from agentgym.errors import PolicyError

LEXICON = Lexicon(["Enter", "textbox", "button", "Login"])
NOTES = Notes(LEXICON)
NOTES.text('Enter "ab"')  # the words that requests say
PAGE = 'page: Login\n[1] textbox\n[2] textbox value="x"\n[3] button "Login"'


@pytest.fixture
def policy() -> PointingPolicy:
    return PointingPolicy(pointing_model(LEXICON, hidden=16, layers=2, heads=2, seed=1), LEXICON, max_new_tokens=5)


def request(episode: int = 0, step: int = 0, text: str = PAGE, **more: Any) -> Request:
    return Request(episode, step, {"text": text, "last_action_error": ""}, 'Enter "ab"', **more)


def plain_scores(policy: PointingPolicy, prompt: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Log-probabilities of the marks by the model's own forward."""
    logits = policy.model(input_ids=torch.from_numpy(prompt[None])).logits[0, :, LEXICON.pick]
    return torch.log_softmax(logits[torch.from_numpy(prompt == LEXICON.mark)].double(), 0).detach().numpy()


def test_choices_follow_the_logit_at_the_marks(policy: PointingPolicy) -> None:
    decisions = policy.act([request(k, seed=3) for k in range(400)])
    prompt = decisions[0].segment.prompt  # type: ignore[union-attr]
    wanted = plain_scores(policy, prompt)
    chosen = np.array([d.segment.chosen for d in decisions])  # type: ignore[union-attr]
    for k, d in enumerate(decisions):
        assert d.segment is not None
        assert d.segment.logprob_behaviour[0] == pytest.approx(wanted[chosen[k]], abs=1e-5)
    assert np.bincount(chosen, minlength=3) / 400 == pytest.approx(np.exp(wanted), abs=0.08)


def test_a_chosen_field_is_written_token_by_token(policy: PointingPolicy) -> None:
    decisions = policy.act([request(k) for k in range(30)])
    written = [d for d in decisions if d.action.startswith("fill")]
    assert written
    for d in written:
        s = d.segment
        assert s is not None
        assert s.candidates is not None
        name = s.candidates[s.chosen]
        text = s.action[len(name) :]
        assert tuple(s.action[: len(name)]) == name
        assert 1 <= len(text) <= 5
        assert quoted_call(d.action)[2] == NOTES.say(text.tolist())
        tokens = np.concatenate((s.prompt, s.action))
        table = torch.log_softmax(policy.model(input_ids=torch.from_numpy(tokens[None])).logits[0].double(), -1)
        at = np.arange(len(s.prompt) + len(name) - 1, len(tokens) - 1)
        assert s.logprob_behaviour[len(name) :] == pytest.approx(table[at, text].detach().numpy(), abs=1e-4)


def test_writing_costs_no_second_pass_over_the_page(policy: PointingPolicy) -> None:
    for seed in range(30):
        policy.flush()
        before = policy.engine.fed_tokens
        (decision,) = policy.act([request(seed, seed=seed)])
        if decision.action.startswith("fill"):
            break
    segment = decision.segment
    assert segment is not None
    # The last token that is written is not read.
    assert policy.engine.fed_tokens - before == len(segment.prompt) + len(segment.action) - 1


def test_other_choices_are_clicks_without_text(policy: PointingPolicy) -> None:
    clicks = [d for d in policy.act([request(k) for k in range(30)]) if d.action == "click('3')"]
    assert clicks
    assert all(d.segment is not None and len(d.segment.action) == 3 for d in clicks)


def test_the_answer_does_not_depend_on_the_batch(policy: PointingPolicy) -> None:
    together = policy.act([request(k, text=PAGE + f'\n[9] button "{k}"', seed=5) for k in range(6)])
    policy.flush()
    for k in range(6):
        policy.end(k)
        alone = policy.act([request(k, text=PAGE + f'\n[9] button "{k}"', seed=5)])[0]
        assert alone.action == together[k].action
        assert alone.logprob == pytest.approx(together[k].logprob, abs=1e-4)


def test_the_next_prompt_tells_the_last_action_and_whether_it_changed_anything(policy: PointingPolicy) -> None:
    for after, mark in ((PAGE, True), (PAGE.replace('"x"', '"y"'), False)):
        policy.end(0)
        policy.record([request()], ["click('3')"])
        prompt = policy.act([request(step=1, text=after)])[0].segment.prompt.tolist()  # type: ignore[union-attr]
        assert (LEXICON.same in prompt) == mark
        at = prompt.index(LEXICON.did)
        assert prompt[at + 1 : at + 4] == [LEXICON.ordinals[2], *NOTES.text("button Login")]


def test_a_mark_that_was_written_is_none_of_the_page(policy: PointingPolicy) -> None:
    first = policy.act([request(k, seed=1) for k in range(600)])
    written = [k for k, d in enumerate(first) if d.segment is not None and LEXICON.mark in d.segment.action.tolist()]
    assert written
    for decision in policy.act([request(k, 1, seed=1) for k in written]):
        assert decision.segment is not None
        assert decision.segment.candidates is not None
        assert decision.segment.prompt.tolist().count(LEXICON.mark) == len(decision.segment.candidates)


def test_refused_actions_are_told_apart(policy: PointingPolicy) -> None:
    policy.record([request()], ["click('3')"])
    bad = Request(0, 1, {"text": PAGE, "last_action_error": "element 3 is covered"}, "Enter")
    assert LEXICON.refused in policy.act([bad])[0].segment.prompt.tolist()  # type: ignore[union-attr]


def test_demonstrations_are_recorded_as_the_policy_would_have_acted(policy: PointingPolicy) -> None:
    decision = policy.record([request()], ["fill('2', 'ab')"])[0]
    assert decision.segment is not None
    assert decision.segment.chosen == 1
    wanted = [LEXICON.ordinals[1], *NOTES.text("textbox ab"), LEXICON.stop]
    assert decision.segment.action.tolist() == wanted


@pytest.mark.parametrize("action", ["click('1')", "fill('3', 'a')", "fill('7', 'a')", "goto('x')", "noop()", "click("])
def test_what_the_policy_could_not_do_is_not_recorded(policy: PointingPolicy, action: str) -> None:
    with pytest.raises(PolicyError):
        policy.record([request()], [action])


def test_a_page_without_anything_to_do_is_waited_for(policy: PointingPolicy) -> None:
    decision = policy.act([request(text="page: Blank")])[0]
    assert (decision.action, decision.segment) == ("noop()", None)
    policy.act([request(step=1)])


def test_long_pages_lose_their_end(policy: PointingPolicy) -> None:
    policy.max_prompt = 100
    many = "\n".join(f'[{k}] button "abcdefgh"' for k in range(1, 75))
    segment = policy.act([request(text=many)])[0].segment
    assert segment is not None
    assert segment.candidates is not None
    assert len(segment.prompt) == policy.max_prompt
    assert len(segment.candidates) == (segment.prompt == LEXICON.mark).sum() < 74


def test_steps_out_of_order_are_refused(policy: PointingPolicy) -> None:
    with pytest.raises(PolicyError, match="expected step 0"):
        policy.act([request(step=1)])


def test_new_weights_are_noticed(policy: PointingPolicy) -> None:
    before = policy.act([request(0)])[0]
    with torch.no_grad():
        for p in policy.parameters():
            p += 0.3
    policy.set_weights_version(1)
    after = policy.act([request(1)])[0]
    assert after.segment is not None
    wanted = plain_scores(policy, after.segment.prompt)[after.segment.chosen]
    assert after.segment.logprob_behaviour[0] == pytest.approx(wanted, abs=1e-5)
    assert before.logprob != after.logprob
