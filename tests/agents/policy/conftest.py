"""Tiny models with weights large enough that every token of the context matters to every logit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

torch.set_num_threads(1)

VOCABULARY = 97


def build_model(kind: str, seed: int = 0) -> Any:
    """A model of two layers in evaluation mode; ``kind`` is "family" or "family-attention"."""
    family, _, attention = kind.partition("-")
    torch.manual_seed(seed)
    common: dict[str, Any] = {
        "vocab_size": VOCABULARY,
        "attn_implementation": attention or "sdpa",
        "initializer_range": 0.3,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
    }
    decoder = {
        **common,
        "hidden_size": 48,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
    }
    match family:
        case "llama":
            return LlamaForCausalLM(LlamaConfig(**decoder)).eval()
        case "qwen2":
            return Qwen2ForCausalLM(Qwen2Config(**decoder)).eval()
        case "qwen3":  # normalises every head's queries and keys
            model = Qwen3ForCausalLM(Qwen3Config(**decoder, head_dim=16)).eval()
            with torch.no_grad():
                for layer in model.model.layers:
                    layer.self_attn.q_norm.weight.uniform_(0.5, 2.0)
            return model
        case "mistral":
            return MistralForCausalLM(MistralConfig(**decoder, sliding_window=None)).eval()
        case "windowed":  # a sliding window, which prepared masks cannot express for this engine
            return MistralForCausalLM(MistralConfig(**decoder, sliding_window=16)).eval()
        case "gpt2":
            shape = {"n_embd": 48, "n_layer": 2, "n_head": 4, "n_positions": 256}
            return GPT2LMHeadModel(GPT2Config(**common, **shape)).eval()
    raise AssertionError(kind)


@pytest.fixture(scope="session")
def model_of() -> Callable[[str], Any]:
    """kind -> model, built once; tests that change weights build their own."""
    known: dict[str, Any] = {}

    def get(kind: str) -> Any:
        if kind not in known:
            known[kind] = build_model(kind)
        return known[kind]

    return get


@pytest.fixture(scope="session")
def fresh_model() -> Callable[[str], Any]:
    """kind -> a new model that the test may change."""
    return build_model
