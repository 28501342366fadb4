"""Matrix products with the weights of linear layers, the fast way where there is one.

In float32 on an x86 CPU weights have to be put in blocks before they are multiplied, and PyTorch does so anew for every
product. With AVX-512, `Product` does it once, by oneDNN, and keeps the copy until `forget`: at 16 lines (one decoding
step of 16 episodes) that is 1.7 times as fast, at 500 lines 1.2 times (a width of 384, on Zen 4). Without AVX-512
oneDNN's kernels are the slower ones (at one line 5 to 10 times, at 400 lines 1.4 times, with a width of 96 on Zen 3):
there the copy only has the layers behind one another, so that they take one call of
`torch.nn.functional.linear`. Everywhere else a `Product` is that function, once a layer, and copies nothing.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn import functional

__all__ = ["Product", "packable"]


class Product:
    """``x -> (x @ W.T + b for the weights of each layer)``, for layers that read the same input.

    Args:
        layers: plain linear layers with inputs of one size. Their present weights count, also after training; when
            ``packed``, those at the first call after `forget`.
        packed: keep a rearranged copy of the weights; only for layers that are `packable`.

    Attributes:
        blocks: the copy is in oneDNN's blocks.
    """

    def __init__(self, *layers: nn.Linear, packed: bool) -> None:
        self.layers, self.packed = layers, packed
        self.sizes = [layer.out_features for layer in layers]
        self.blocks = torch.backends.cpu.get_cpu_capability() == "AVX512"
        self._copy: tuple[torch.Tensor, torch.Tensor | None] | None = None

    def __call__(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """For x[n, inputs] the outputs [n, outputs] of every layer (views of one tensor when packed)."""
        if not self.packed:
            return tuple(functional.linear(x, layer.weight, layer.bias) for layer in self.layers)
        if self._copy is None:
            self._copy = _arranged(self.layers, self.blocks)
        weight, bias = self._copy
        together: torch.Tensor
        if self.blocks:
            together = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        else:
            together = functional.linear(x, weight, bias)
        return (together,) if len(self.sizes) == 1 else torch.split_with_sizes(together, self.sizes, dim=-1)

    def forget(self) -> None:
        """The weights have changed: arrange them again at the next call."""
        self._copy = None


def packable(layer: nn.Linear) -> bool:
    """Whether a product with this layer's weights may be packed, on this machine and with this build of PyTorch."""
    mkldnn: Any = torch.backends.mkldnn  # not annotated upstream
    return bool(
        layer.weight.device.type == "cpu"
        and layer.weight.dtype == torch.float32
        and platform.machine().lower() in ("x86_64", "amd64")
        and mkldnn.enabled
        and mkldnn.is_available()
        and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
        and hasattr(torch.ops.mkldnn, "_linear_pointwise")
    )


def _arranged(layers: Sequence[nn.Linear], blocks: bool) -> tuple[torch.Tensor, torch.Tensor | None]:
    weight = torch.cat([layer.weight for layer in layers])
    bias = None
    if any(layer.bias is not None for layer in layers):
        bias = torch.cat(
            [weight.new_zeros(layer.out_features) if layer.bias is None else layer.bias for layer in layers]
        )
    return (torch.ops.mkldnn._reorder_linear_weight(weight) if blocks else weight), bias
