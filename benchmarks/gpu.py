"""The engine and one learner step on a CUDA device, beside Hugging Face's own batched generation.

A Qwen2 shape of 0.5B parameters with random weights, bfloat16; wall seconds after a warm-up and with the device
synchronised. The peer is `generate` on the left-padded batch, greedy, with its own cache inside each turn.

- ``ratio_history``: all turns of ragged multi-turn episodes, peer seconds over engine seconds.
- ``decode_64``, ``decode_256``: new tokens per second at that batch, for both.
- ``tokens_equal_float32``: whether every greedy token equals the peer's in float32;
  ``rows_equal_bfloat16``: share of rows that do in bfloat16, where rounding depends on the shape of the batch.
- ``learner_tokens_per_second``: forward, backward and AdamW on generated segments.

Without CUDA it says so and ends well. Less than nine minutes on one data-centre GPU.

    python benchmarks/gpu.py [--quick] [--json] [--save]
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import torch
from common import finish, parser
from engine import episodes, peer_generate
from transformers import Qwen2Config, Qwen2ForCausalLM

from agentgym.agents.policy.engine import Engine
from agentgym.agents.train.learner import Learner
from agentgym.tokens import TokenStep

T = TypeVar("T")
CACHED_TOKENS = 600_000


def build(
    device: torch.device, dtype: torch.dtype, layers: int = 24, hidden: int = 896, vocabulary: int = 151_936
) -> Any:
    """The Qwen2-0.5B shape, or a smaller one of its kind."""
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=vocabulary,
        hidden_size=hidden,
        intermediate_size=hidden * 4864 // 896,
        num_hidden_layers=layers,
        num_attention_heads=14,
        num_key_value_heads=2,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
        initializer_range=0.05,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=0,
    )
    with device:
        model: Any = Qwen2ForCausalLM(config)
    return model.to(dtype).eval()


def timed(device: torch.device, work: Callable[[], T]) -> tuple[float, T]:
    """Wall seconds of ``work``, the device idle before and after."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    start = time.perf_counter()
    result = work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start, result


def multi_turn(model: Any, device: torch.device, count: int, turns: int, new: int) -> dict[str, Any]:
    """Seconds of both over ragged multi-turn episodes; the peer's tokens go on in both histories."""
    engine = Engine(model, max_cached_tokens=CACHED_TOKENS)
    observations = episodes(np.random.default_rng(0), count, turns, 0, low=128, high=257)
    histories: list[list[int]] = [[] for _ in observations]
    peer = mine = 0.0
    same = np.ones(count, dtype=bool)
    for turn in range(turns):
        for history, episode in zip(histories, observations, strict=True):
            history += episode[turn]
        a, theirs = timed(device, lambda: peer_generate(model, histories, new))
        b, ours = timed(device, lambda: engine.generate(range(count), histories, max_new_tokens=new, greedy=True))
        peer, mine = peer + a, mine + b
        for i, (history, x, y) in enumerate(zip(histories, theirs, ours, strict=True)):
            same[i] &= x == y.tokens.tolist()
            history += x
    return {"peer_seconds": peer, "engine_seconds": mine, "rows_equal": float(same.mean())}


def decode(model: Any, device: torch.device, batch: int, new: int) -> dict[str, float]:
    """New tokens per second, the prompt's pass included, of the peer and the engine."""
    prompts = np.random.default_rng(1).integers(1, 4096, size=(batch, 128)).tolist()
    engine = Engine(model, max_cached_tokens=CACHED_TOKENS)
    a, _ = timed(device, lambda: peer_generate(model, prompts, new))
    b, _ = timed(device, lambda: engine.generate(range(batch), prompts, max_new_tokens=new, greedy=True))
    return {"peer_tokens_per_second": batch * new / a, "engine_tokens_per_second": batch * new / b}


def learn(model: Any, device: torch.device, count: int, new: int) -> dict[str, float]:
    """One policy-gradient update on generated segments, the first (which allocates) not counted."""
    prompts = np.random.default_rng(2).integers(1, 4096, size=(count, 256)).tolist()
    uniforms = np.random.default_rng(3).random((count, new))
    answers = Engine(model, max_cached_tokens=CACHED_TOKENS).generate(
        range(count), prompts, max_new_tokens=new, uniforms=uniforms
    )
    steps = [
        TokenStep(i, 0, np.array(p), a.tokens, a.logprob, a.logprob_behaviour, None, -1, 0)
        for i, (p, a) in enumerate(zip(prompts, answers, strict=True))
    ]
    advantages = np.random.default_rng(4).standard_normal(count)
    learner = Learner(model, lr=1e-6)
    learner.update(steps, advantages, aggregation="token-mean", epochs=1)
    seconds, _ = timed(device, lambda: learner.update(steps, advantages, aggregation="token-mean", epochs=1))
    return {"seconds": seconds, "tokens_per_second": count * (256 + new) / seconds}


def measure(device: torch.device, quick: bool, **shape: int) -> dict[str, Any]:
    """All figures on one device; ``shape`` makes the model smaller."""
    exact = multi_turn(build(device, torch.float32, **shape), device, 4 if quick else 8, 2 if quick else 3, 16)
    model = build(device, torch.bfloat16, **shape)
    decode(model, device, 4, 4)  # warms both sides up
    history = multi_turn(model, device, 16 if quick else 64, 3 if quick else 8, 32)
    figures: dict[str, Any] = {
        "tokens_equal_float32": exact["rows_equal"] == 1.0,
        "rows_equal_bfloat16": history["rows_equal"],
        "ratio_history": history["peer_seconds"] / history["engine_seconds"],
        "history": history,
        "parameters": sum(p.numel() for p in model.parameters()),
    }
    for batch in (16,) if quick else (64, 256):
        figures[f"decode_{batch}"] = decode(model, device, batch, 16 if quick else 64)
    figures["learner"] = learn(model, device, 8 if quick else 64, 32)
    figures["learner_tokens_per_second"] = figures["learner"]["tokens_per_second"]
    return figures


def main() -> None:
    assert __doc__ is not None
    options = parser(__doc__).parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device here: nothing measured")
        finish("gpu", {"cuda": False}, options)
        return
    device = torch.device("cuda")
    figures = {"cuda": True, "device": torch.cuda.get_device_name(device), **measure(device, options.quick)}
    for name, value in figures.items():
        print(f"{name:26} {value}")
    finish("gpu", figures, options)


if __name__ == "__main__":
    main()
