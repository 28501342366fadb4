"""The batched engine beside Hugging Face's own batched generation: CPU time and equal answers.

The peer is `generate` on the left-padded batch, greedy, with its own cache inside each turn (the fair batched way); it
keeps nothing between turns. Both sides see the same tokens, run on one thread, and alternate within one run. Figures
are ratios of process CPU seconds, peer over engine; larger is better.

- ``ratio_history``: every turn appends an observation of 24 to 40 tokens and an action of 8; the peer encodes the whole
  history again.
- ``ratio_history_long``: the same with observations of 48 to 80 tokens and actions of 6, which suits the engine better.
- ``ratio_shared_prefix``: the first workload behind a long prefix equal in all episodes (instructions).
- ``ratio_scoring``: K candidates behind a long prefix; the peer runs the K full sequences of each prompt as a batch.
- ``tokens_equal``: all greedy tokens of all multi-turn runs equal the peer's; ``score_max_diff``: largest absolute
  difference of candidate log-probabilities.
- ``floor_seconds``: CPU seconds of nothing but the matrix products with weights that the engine's side of
  ``ratio_history`` cannot do without, by `torch.nn.functional.linear`.

    python benchmarks/engine.py [--quick] [--json] [--save]
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
    rng: np.random.Generator, count: int, turns: int, prefix: int, low: int = 24, high: int = 41
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


def floor(model: Any, observations: list[list[list[int]]], new: int) -> float:
    """CPU seconds of the products alone: every token once through every linear layer, in the batches of the episodes.

    Of a turn's new tokens (its observation and the action token before it) the last layer needs keys and values only,
    but for the last one; each further new token goes through all layers and the head.
    """
    layers = [[m for m in layer.modules() if isinstance(m, torch.nn.Linear)] for layer in model.model.layers]
    narrow = [layers[-1][i] for i in (1, 2)]
    rows = len(observations)

    def run(lines: int, linear: list[torch.nn.Linear]) -> None:
        for m in linear:
            torch.nn.functional.linear(inputs[m.in_features][:lines], m.weight)

    sizes = [sum(len(episode[t]) for episode in observations) + (rows if t else 0) for t in range(len(observations[0]))]
    inputs = {m.in_features: torch.randn(max(sizes), m.in_features) for layer in layers for m in layer}
    with torch.inference_mode():
        start = time.process_time()
        for size in sizes:
            run(size, [m for layer in layers[:-1] for m in layer] + narrow)
            run(rows, [m for m in layers[-1] if m not in narrow] + [model.lm_head])
            for _ in range(new - 1):
                run(rows, [m for layer in layers for m in layer] + [model.lm_head])
        return time.process_time() - start


def main() -> None:
    assert __doc__ is not None
    options = parser(__doc__).parse_args()
    torch.set_num_threads(1)
    model = build(options.quick)
    count, turns, prefix = (8, 5, 128) if options.quick else (16, 10, 256)
    rng = np.random.default_rng(0)
    short, long = {"low": 24, "high": 41}, {"low": 48, "high": 81}
    runs = {
        "history": (episodes(rng, count, turns, 0, **short), 8),
        "history_long": (episodes(rng, count, turns, 0, **long), 6),
        "shared_prefix": (episodes(rng, count, turns, prefix, **short), 8),
    }
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f}M parameters, {count} episodes x {turns} turns")
    seconds: dict[str, list[float]] = {}
    equal = True

    def report(name: str, peer: float, mine: float) -> None:
        seconds[name] = [peer, mine]
        print(f"  {name:14} peer {peer:8.2f}   engine {mine:8.2f} CPU s   ratio {peer / mine:6.2f}", flush=True)

    for name, (observations, new) in runs.items():
        peer, mine, same = multi_turn(model, observations, new)
        equal &= same
        report(name, peer, mine)
    peer, mine, worst = scoring(model, rng, 4 if options.quick else 8, 128 if options.quick else 384)
    report("scoring", peer, mine)
    least = floor(model, *runs["history"])
    print(f"  tokens equal: {equal}   largest score difference: {worst:.1e}   products of 'history': {least:.2f} CPU s")
    figures = {
        **{f"ratio_{name}": a / b for name, (a, b) in seconds.items()},
        "tokens_equal": equal,
        "score_max_diff": worst,
        "floor_seconds": least,
        "parameters": sum(p.numel() for p in model.parameters()),
        "way": Engine(model).way,
        "cpu_seconds": seconds,
    }
    finish("engine", figures, options)


if __name__ == "__main__":
    main()
