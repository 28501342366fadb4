"""A small stock model with its own word-level tokenizer: the offline default.

The model is an ordinary ``LlamaForCausalLM`` (about 0.23M parameters plus the vocabulary), the tokenizer an ordinary
``PreTrainedTokenizerFast``; saved and loaded like any Hugging Face folder. Nothing is downloaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from agentgym.errors import UsageError

__all__ = ["small_model", "word_tokenizer"]

_SPECIAL = ["<pad>", "<s>", "</s>", "<unk>"]
_WORD = r"\w+|[^\w\s]"
_FRAME = "Observation : Action Earlier actions , times ( )"  # the words of the plain template and of `digest`


def word_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the words and single punctuation marks of ``texts``; others become ``<unk>``.

    The vocabulary is sorted, so it depends on the set of words alone.
    """
    split = pre_tokenizers.Split(Regex(_WORD), behavior="removed", invert=True)
    words = {word for text in [_FRAME, *texts] for word, _ in split.pre_tokenize_str(text)}
    vocabulary = {word: i for i, word in enumerate([*_SPECIAL, *sorted(words - set(_SPECIAL))])}
    core = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    core.pre_tokenizer = split
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # not annotated upstream
        tokenizer_object=core, pad_token="<pad>", bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


def small_model(
    texts: Iterable[str],
    *,
    hidden: int = 96,
    layers: int = 2,
    heads: int = 4,
    max_length: int = 2048,
    seed: int = 0,
) -> tuple[Any, PreTrainedTokenizerFast]:
    """A fresh model and tokenizer for the language of ``texts``.

    Args:
        texts: samples or single words that cover goals, observations and actions.
        hidden: width; a multiple of ``2 * heads``. The feed-forward part is 8/3 of it, as in Llama.
        layers: decoder layers.
        heads: attention heads.
        max_length: positions.
        seed: of the initial weights; torch's global generator is left alone.

    Returns:
        (model in evaluation mode, float32, on the CPU; tokenizer).
    """
    if hidden % (2 * heads) or min(hidden, layers, heads) < 1:
        raise UsageError(f"expected hidden a multiple of twice the heads, got hidden={hidden}, heads={heads}")
    if isinstance(texts, str):
        raise UsageError("expected several texts, got one string; pass [text]")
    tokenizer = word_tokenizer(texts)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=hidden * 8 // 3,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=heads,
        max_position_embeddings=max_length,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = LlamaForCausalLM(config)
    return model.eval(), tokenizer
