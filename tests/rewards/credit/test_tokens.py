"""Credit by token: PRIME with a row per token, iStar with a step's value on its tokens."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.rewards.credit import istar, prime
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable, TokenWriter
from tests.rewards.credit.tables import full_table


def spoken(steps: StepTable, seed: int = 0, longest: int = 3) -> tuple[TokenTable, np.ndarray, np.ndarray]:
    """Tokens of every step, some prompt before each, and log-probabilities of two models (NaN on the prompts)."""
    rng, writer = np.random.default_rng(seed), TokenWriter()
    for trajectory, t in zip(steps.trajectory.tolist(), steps.t.tolist(), strict=True):
        n = int(rng.integers(1, longest + 1))
        writer.add(
            trajectory,
            t,
            segment=0,
            prompt=rng.integers(0, 9, size=2),
            action=rng.integers(0, 9, size=n),
            logprob=-rng.random(n),
            logprob_behaviour=-rng.random(n),
        )
    tokens = writer.table()
    columns = [np.where(tokens.mask, -rng.random(len(tokens)), np.nan) for _ in range(2)]
    return tokens, columns[0], columns[1]


def test_with_one_token_a_step_prime_by_token_is_prime_by_step() -> None:
    steps = full_table()
    tokens, model, reference = spoken(steps, longest=1)
    by_token = prime.assign_tokens(steps, tokens, logprob_model=model, logprob_reference=reference)
    by_step = prime.assign(steps, (model - reference)[tokens.mask])
    np.testing.assert_allclose(by_token[tokens.mask], by_step)
    assert not by_token[~tokens.mask].any()


def test_prime_tells_the_tokens_of_a_step_apart_and_istar_does_not() -> None:
    steps = full_table()
    tokens, model, reference = spoken(steps)
    options = {"logprob_model": model, "logprob_reference": reference}
    prime_value = prime.assign_tokens(steps, tokens, **options)
    istar_value = istar.assign_tokens(steps, tokens, **options)
    step = tokens.segment_trajectory[tokens.segment] * 1000 + tokens.step
    for values, kinds in ((prime_value, "many"), (istar_value, "one")):
        different = [len(set(values[(step == s) & tokens.mask].tolist())) for s in np.unique(step)]
        assert (max(different) > 1) == (kinds == "many")
    assert not istar_value[~tokens.mask].any()


def test_istar_by_token_sums_a_steps_log_ratios() -> None:
    steps = full_table()
    tokens, model, reference = spoken(steps)
    ratio = np.where(tokens.mask, model - reference, 0.0)
    sums = [
        ratio[(tokens.segment_trajectory[tokens.segment] == trajectory) & (tokens.step == t)].sum()
        for trajectory, t in zip(steps.trajectory, steps.t, strict=True)
    ]
    by_step = istar.assign(steps.with_extra(logprob_model=np.array(sums), logprob_reference=np.zeros(len(steps))))
    by_token = istar.assign_tokens(steps, tokens, logprob_model=model, logprob_reference=reference)
    lengths = [
        int((tokens.mask & (tokens.segment_trajectory[tokens.segment] == trajectory) & (tokens.step == t)).sum())
        for trajectory, t in zip(steps.trajectory, steps.t, strict=True)
    ]
    np.testing.assert_allclose(by_token[tokens.mask], np.repeat(by_step, lengths))


def test_tokens_of_a_step_that_is_not_there_are_named() -> None:
    steps = full_table()
    tokens, model, reference = spoken(steps)
    fewer = steps[: len(steps) - 1]
    with pytest.raises(ValueError, match=r"step \(trajectory=17, t=\d\) has tokens but no row"):
        istar.assign_tokens(fewer, tokens, logprob_model=model, logprob_reference=reference)


def test_columns_of_another_length_are_refused() -> None:
    steps = full_table()
    tokens, model, reference = spoken(steps)
    with pytest.raises(ValueError, match="'logprob_model' must have one value per token"):
        prime.assign_tokens(steps, tokens, logprob_model=model[1:], logprob_reference=reference)
