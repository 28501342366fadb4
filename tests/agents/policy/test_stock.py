"""The common decoders as computed here are the models' own forward, in every form a pass can take."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agentgym.agents.policy.cached import CachedCore
from agentgym.agents.policy.engine import Engine
from agentgym.agents.policy.passes import ModelPasses, Passes
from agentgym.agents.policy.stock import StockPasses
from agentgym.agents.policy.tree import tree

KINDS = ["llama", "qwen2", "qwen3", "mistral"]
TREE = tree(((1, 2, 3), (1, 4), (5, 6, 7, 8)))


def ragged(seed: int, count: int) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(1, 97, size=rng.integers(3, 40)).tolist() for _ in range(count)]


def story(core: CachedCore) -> torch.Tensor:
    """The logits of all that a core can be asked: two ragged turns with steps between, rows that stop, and trees."""
    found: list[torch.Tensor] = []
    prompts, more = ragged(0, 5), ragged(1, 5)
    for turn in range(2):
        found.append(core.open(range(5), prompts, 4))
        for step, alive in enumerate(([0, 1, 2, 3, 4], [0, 2, 4], [4])):
            tokens = [10 * step + i for i in alive]
            found.append(core.advance(tokens, alive))
            for i, token in zip(alive, tokens, strict=True):
                prompts[i] = [*prompts[i], token]
        prompts = [p + m[turn:] for p, m in zip(prompts, more, strict=True)]
    found += core.trees(range(5), prompts, [TREE] * 5)
    return core.logits(torch.cat(found))


def run(model: Any, passes: type[Passes], change: Callable[[Any], None] = lambda passes: None) -> torch.Tensor:
    with torch.inference_mode():
        core = CachedCore(model, 4096, passes)
        change(core.passes)
        return story(core)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_models_own_forward(model_of, kind):
    model = model_of(kind)
    torch.testing.assert_close(run(model, StockPasses), run(model, ModelPasses), atol=2e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_attention_over_padded_groups_is_that_of_rows_alone(model_of, kind):
    """CUDA's form, which a CPU can compute too."""

    def grouped(passes: Any) -> None:
        assert passes.alone
        passes.alone = False

    model = model_of(kind)
    torch.testing.assert_close(run(model, StockPasses, grouped), run(model, StockPasses), atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_products_without_a_copy_of_the_weights(model_of, kind):
    """The form of CUDA, of half precision and of machines without oneDNN."""
    model = model_of(kind)
    with torch.backends.mkldnn.flags(enabled=False):
        plain = run(model, StockPasses, lambda passes: _expect(passes, packed=False))
    torch.testing.assert_close(plain, run(model, StockPasses), atol=1e-4, rtol=0)


def _expect(passes: Any, *, packed: bool) -> None:
    assert passes.head.packed is packed


def test_several_passes_are_one(model_of, monkeypatch):
    model = model_of("llama")
    whole = run(model, StockPasses)
    monkeypatch.setattr("agentgym.agents.policy.passes.PASS", 30)
    torch.testing.assert_close(run(model, StockPasses), whole, atol=1e-4, rtol=0)


def test_half_precision(fresh_model):
    model = fresh_model("qwen2").to(torch.bfloat16)
    engine = Engine(model)
    assert engine.way == "stock"
    ours, theirs = run(model, StockPasses), run(model, ModelPasses)
    assert (ours - theirs).abs().max() < 0.05 * theirs.abs().max()


def hooked(model: Any) -> None:
    model.model.layers[0].mlp.register_forward_hook(lambda module, inputs, output: 2 * output)


def adapted(model: Any) -> None:
    class Doubled(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return 2 * super().forward(x)

    model.model.layers[1].mlp.up_proj.__class__ = Doubled


def patched(model: Any) -> None:
    norm = model.model.norm
    plain = norm.forward
    norm.forward = lambda x: plain(x).flip(-1)


@pytest.mark.parametrize("change", [hooked, adapted, patched])
def test_a_model_that_was_changed_is_left_to_its_own_forward(fresh_model, change):
    """Computing it here would silently undo the change."""
    model = fresh_model("llama")
    prompt, options = ragged(2, 1)[0], ((3,), (4,))
    before = Engine(model).score([0], [prompt], [options])[0].totals
    change(model)
    engine = Engine(model)
    assert engine.way == "model"
    with torch.no_grad():
        want = torch.log_softmax(model(torch.tensor([prompt])).logits[0, -1].double(), -1)[[3, 4]].numpy()
    got = engine.score([0], [prompt], [options])[0].totals
    np.testing.assert_allclose(got, want, atol=1e-4)
    assert np.abs(got - before).max() > 1e-2
