"""Products with arranged weights are those of the layers, and follow the weights when told."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from agentgym.agents.policy.products import Product, packable


@pytest.fixture(params=["plain", "packed", "blocks"])
def make(
    request: pytest.FixtureRequest, need: Callable[[object, str, str], None], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Product]:
    """A product in each of its forms, whichever this CPU would take."""
    if request.param == "plain":
        return lambda *layers: Product(*layers, packed=False)
    need(packable(nn.Linear(2, 2)), "a CPU that has packed products", "run on x86, with a PyTorch that has oneDNN")
    capability = "AVX512" if request.param == "blocks" else "AVX2"
    monkeypatch.setattr("torch.backends.cpu.get_cpu_capability", lambda: capability)

    def packed(*layers: nn.Linear) -> Product:
        made = Product(*layers, packed=True)
        assert made.blocks is (request.param == "blocks")
        return made

    return packed


@pytest.mark.parametrize("bias", [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("lines", [0, 1, 7, 300])
def test_every_layer_gets_its_own_outputs(make, bias, lines):
    layers = [nn.Linear(24, size, bias=b) for size, b in zip((40, 9), bias, strict=True)]
    x = torch.randn(lines, 24)
    with torch.inference_mode():
        found = make(*layers)(x)
        for got, layer in zip(found, layers, strict=True):
            torch.testing.assert_close(got, layer(x), atol=1e-5, rtol=1e-5)


def test_new_weights_count_after_forget(make):
    layer, x = nn.Linear(24, 40), torch.randn(5, 24)
    product = make(layer)
    with torch.inference_mode():
        [before] = product(x)
    with torch.no_grad():
        layer.weight.mul_(2)
        layer.bias.add_(1)
    product.forget()
    with torch.inference_mode():
        [after] = product(x)
        torch.testing.assert_close(after, layer(x), atol=1e-5, rtol=1e-5)
    assert (after - before).abs().max() > 0.5


def test_what_cannot_be_packed():
    assert not packable(nn.Linear(2, 2).to(torch.bfloat16))
    assert not packable(nn.Linear(2, 2, device="meta"))
    with torch.backends.mkldnn.flags(enabled=False):
        assert not packable(nn.Linear(2, 2))
