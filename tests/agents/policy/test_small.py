"""The offline default: an ordinary Hugging Face folder with words for tokens."""

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from agentgym.agents.policy.small import small_model, word_tokenizer
from agentgym.errors import UsageError

TEXTS = ["you see a red door .", "pick-up the key", "# . #"]


def test_size_and_determinism():
    random_state = torch.random.get_rng_state()
    model, _ = small_model(TEXTS, seed=3)
    same, _ = small_model(reversed(TEXTS), seed=3)
    other, _ = small_model(TEXTS, seed=4)
    assert 0.2e6 < sum(p.numel() for p in model.parameters()) < 0.26e6
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), same.parameters(), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(model.parameters(), other.parameters(), strict=True))
    assert torch.equal(random_state, torch.random.get_rng_state())
    assert not model.training


def test_words_and_single_marks_are_tokens():
    tokenizer = word_tokenizer(TEXTS)
    assert tokenizer.convert_ids_to_tokens(tokenizer.encode("pick-up ## door")) == ["pick", "-", "up", "#", "#", "door"]
    assert tokenizer.encode("dragon") == [tokenizer.unk_token_id]


def test_saved_and_loaded_like_any_folder(tmp_path):
    model, tokenizer = small_model(TEXTS)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    again = AutoModelForCausalLM.from_pretrained(tmp_path)
    tokens = torch.tensor([AutoTokenizer.from_pretrained(tmp_path).encode(TEXTS[0])])
    assert tokens.tolist() == [tokenizer.encode(TEXTS[0])]
    assert torch.equal(model(tokens).logits, again(tokens).logits)


def test_senseless_shapes_are_refused():
    with pytest.raises(UsageError, match="twice the heads"):
        small_model(TEXTS, hidden=50, heads=4)
    with pytest.raises(UsageError, match="several texts"):
        small_model("one text")
