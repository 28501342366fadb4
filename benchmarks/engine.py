"""The batched engine beside Hugging Face's own batched generation: CPU time and equal answers.

The peer is `generate` on the left-padded batch, greedy, with its own cache inside each turn (the fair batched way); it
keeps nothing between turns. Both sides see the same tokens, run on one thread, and alternate within one run. Figures
are ratios of process CPU seconds, peer over engine; larger is better.

- ``ratio_history``: every turn appends observation and action; the peer encodes the whole history again.
- ``ratio_shared_prefix``: the same behind a long prefix equal in all episodes (instructions).
- ``ratio_scoring``: K candidates behind a long prefix; the peer runs the K full sequences of each prompt as a batch.
- ``tokens_equal``: all greedy tokens of both multi-turn runs equal the peer's; ``score_max_diff``: largest absolute
  difference of candidate log-probabilities.

    python benchmarks/engine.py [--quick] [--json] [--save]

What is gained depends on the workload: observations here have 48 to 80 tokens and actions 6. With observations of 24 to
40 tokens and actions of 8 the history ratio was 4.5 (2026-11-20), below the 5 that is asked for.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
from common import finish, parser
from transformers import LlamaConfig, LlamaForCausalLM

from agentgym.agents.policy.engine import Engine

PAD = 0


def build(quick: bool) -> Any:
    """A stock Llama shape with random weights: about 20M parameters, or 2M."""
    width, layers = (192, 3) if quick else (384, 8)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=4096,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=6,
        num_key_value_heads=6,
        max_position_embeddings=4096,
        initializer_range=0.05,
        bos_token_id=1,
        eos_token_id=None,
        pad_token_id=PAD,
    )
    return LlamaForCausalLM(config).eval()


def peer_generate(model: Any, prompts: list[list[int]], new: int) -> list[list[int]]:
    """One turn of the peer: left-padded batch, cache within the turn."""
    longest = max(map(len, prompts))
    tokens = torch.tensor([[PAD] * (longest - len(p)) + p for p in prompts], device=model.device)
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts], device=model.device)
    out = model.generate(tokens, attention_mask=mask, max_new_tokens=new, do_sample=False, use_cache=True)
    result: list[list[int]] = out[:, longest:].tolist()
    return result


def episodes(
    rng: np.random.Generator, count: int, turns: int, prefix: int, low: int = 48, high: int = 81
) -> list[list[list[int]]]:
    """Ragged observations [episode][turn] of low to high - 1 tokens, every first one behind the common prefix."""
    common = rng.integers(1, 4096, size=prefix).tolist()
    return [
        [
            (common if t == 0 else []) + rng.integers(1, 4096, size=rng.integers(low, high)).tolist()
            for t in range(turns)
        ]
        for _ in range(count)
    ]


def multi_turn(model: Any, observations: list[list[list[int]]], new: int) -> tuple[float, float, bool]:
    """CPU seconds of the peer and of the engine over all turns, and whether every token was equal."""
    engine = Engine(model)
    histories: list[list[int]] = [[] for _ in observations]
    seconds = {"peer": 0.0, "engine": 0.0}
    equal = True
    for turn in range(len(observations[0])):
        for history, episode in zip(histories, observations, strict=True):
            history += episode[turn]
        start = time.process_time()
        theirs = peer_generate(model, histories, new)
        middle = time.process_time()
        ours = engine.generate(range(len(histories)), histories, max_new_tokens=new, greedy=True)
        end = time.process_time()
        seconds["peer"] += middle - start
        seconds["engine"] += end - middle
        for history, a, b in zip(histories, theirs, ours, strict=True):
            equal &= a == b.tokens.tolist()
            history += a
    return seconds["peer"], seconds["engine"], equal


def scoring(model: Any, rng: np.random.Generator, count: int, prefix: int) -> tuple[float, float, float]:
    """CPU seconds for K=8 candidates of 6 tokens behind long kept prefixes, and the largest difference."""
    engine = Engine(model)
    histories = [rng.integers(1, 4096, size=prefix + 3 * i).tolist() for i in range(count)]
    none = (((1,),),) * count
    engine.score(range(count), histories, none)  # the prefix of earlier turns: kept by us, encoded again by the peer
    candidates = []
    for history in histories:
        history += rng.integers(1, 4096, size=32).tolist()
        candidates.append(tuple(tuple(rng.integers(1, 4096, size=6).tolist()) for _ in range(8)))
    start = time.process_time()
    ours = engine.score(range(count), histories, candidates)
    middle = time.process_time()
    worst = 0.0
    with torch.inference_mode():
        for history, options, scored in zip(histories, candidates, ours, strict=True):
            tokens = torch.tensor([[*history, *option] for option in options])
            logits = model(tokens, logits_to_keep=7).logits[:, :-1]
            theirs = torch.log_softmax(logits, dim=-1).gather(2, tokens[:, -6:, None])[..., 0].numpy()
            worst = max(worst, float(np.abs(theirs - np.stack(scored.logprobs)).max()))
    return time.process_time() - middle, middle - start, worst


def main() -> None:
    assert __doc__ is not None
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    model = build(options.quick)
    rng = np.random.default_rng(0)
    count, turns, new = (8, 5, 6) if options.quick else (16, 10, 6)
    prefix = 128 if options.quick else 256
    peer, mine, equal = multi_turn(model, episodes(rng, count, turns, 0), new)
    peer_shared, mine_shared, equal_shared = multi_turn(model, episodes(rng, count, turns, prefix), new)
    peer_score, mine_score, worst = scoring(model, rng, 4 if options.quick else 8, 128 if options.quick else 384)
    figures = {
        "ratio_history": peer / mine,
        "ratio_shared_prefix": peer_shared / mine_shared,
        "ratio_scoring": peer_score / mine_score,
        "tokens_equal": equal and equal_shared,
        "score_max_diff": worst,
        "parameters": sum(p.numel() for p in model.parameters()),
        "cpu_seconds": {
            "history": [peer, mine],
            "shared_prefix": [peer_shared, mine_shared],
            "scoring": [peer_score, mine_score],
        },
    }
    print(f"{figures['parameters'] / 1e6:.1f}M parameters, {count} episodes x {turns} turns, one thread, CPU seconds")
    for name, (a, b) in figures["cpu_seconds"].items():
        print(f"  {name:14} peer {a:8.2f}   engine {b:8.2f}   ratio {a / b:6.2f}")
    print(f"  tokens equal: {figures['tokens_equal']}   largest score difference: {worst:.1e}")
    finish("engine", figures, options)


if __name__ == "__main__":
    main()
