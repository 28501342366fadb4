"""Temperature, nucleus and inverse distribution function, against their definitions."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from agentgym.agents.policy.sampling import behaviour, check_sampling, choose, pick
from agentgym.errors import UsageError

logits_lists = st.lists(st.floats(-8, 8, width=32), min_size=2, max_size=12)
units = st.floats(0, 1, exclude_max=True)
temperatures = st.floats(0.2, 3.0)
nuclei = st.floats(0.05, 1.0)


def nucleus_by_definition(logits, temperature, top_p):
    """Tokens by falling probability until their sum reaches top_p, then renormalised."""
    p = np.exp(np.array(logits) / temperature - max(logits) / temperature)
    p /= p.sum()
    kept, total = np.zeros_like(p), 0.0
    for i in sorted(range(len(p)), key=lambda i: (-p[i], i)):
        if total >= top_p:
            break
        kept[i], total = p[i], total + p[i]
    return kept / kept.sum()


def test_nucleus_of_a_worked_example():
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    assert behaviour(logits, 1.0, 0.7)[0].tolist() == pytest.approx([0.625, 0.375, 0, 0])


@given(logits_lists, temperatures, nuclei)
def test_behaviour_is_the_renormalised_nucleus(logits, temperature, top_p):
    want = nucleus_by_definition(np.float32(logits).astype(float), temperature, top_p)
    got = behaviour(torch.tensor([logits]), temperature, top_p)[0].numpy()
    if (got > 0).sum() == (want > 0).sum():  # a sum within rounding of top_p may end the nucleus one token apart
        np.testing.assert_allclose(got, want, atol=1e-6)
    else:
        assert abs((got > 0).sum() - (want > 0).sum()) == 1


@given(logits_lists, temperatures, nuclei, units, st.booleans())
def test_batched_choice_and_single_choice_are_one_law(logits, temperature, top_p, u, greedy):
    rows = torch.tensor([logits])
    token, raw, own = choose(
        rows, torch.tensor([greedy]), torch.tensor([u], dtype=torch.float64), temperature=temperature, top_p=top_p,
        all_greedy=False,
    )  # fmt: skip
    index, logprob = pick(rows[0].double().numpy(), u, temperature=temperature, top_p=top_p, greedy=greedy)
    assert int(token[0]) == index
    assert float(own[0]) == pytest.approx(logprob, abs=1e-6)
    assert float(raw[0]) == pytest.approx(float(torch.log_softmax(rows.double(), -1)[0, index]), abs=1e-5)


@given(logits_lists, units)
def test_inverse_distribution_function_runs_in_token_order(logits, u):
    p = torch.softmax(torch.tensor(logits, dtype=torch.float32).double(), 0).numpy()
    index, _ = pick(np.float32(logits).astype(np.float64), u, temperature=1.0, top_p=1.0, greedy=False)
    assert p[:index].sum() <= u + 1e-9
    assert u < p[: index + 1].sum() + 1e-9


def test_frequencies_follow_the_distribution():
    logits = torch.tensor([[1.0, 0.0, -1.0]])
    u = (torch.arange(3000, dtype=torch.float64) + 0.5) / 3000
    token, _, _ = choose(
        logits.expand(3000, 3), torch.zeros(3000, dtype=torch.bool), u, temperature=2.0, top_p=1.0, all_greedy=False
    )
    got = torch.bincount(token, minlength=3) / 3000
    assert got.tolist() == pytest.approx(torch.softmax(logits[0] / 2, 0).tolist(), abs=1e-3)


@pytest.mark.parametrize(("temperature", "top_p"), [(0.0, 1.0), (-1.0, 1.0), (1.0, 0.0), (1.0, 1.1), (float("nan"), 1)])
def test_what_is_no_distribution_is_refused(temperature, top_p):
    with pytest.raises(UsageError, match="expected"):
        check_sampling(temperature, top_p)
