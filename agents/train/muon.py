"""Muon for small models on a processor."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

__all__ = ["Muon"]

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_ROUNDS = 5


class Muon(torch.optim.Optimizer):
    """Momentum whose every matrix is made orthogonal (Jordan et al. 2024, "Muon: an optimizer for hidden layers").

    What `torch.optim.Muon` does with Nesterov momentum and ``adjust_lr_fn="match_rms_adamw"`` (steps as long as AdamW's
    would be, so that rates compare), but for two things: the Newton-Schulz rounds run in the matrices' own float32 and
    not in bfloat16, for which most processors have no fast product (there they took nine tenths of a warm start's
    time); and matrices of one shape go through them together.

    Args:
        matrices: parameters of two dimensions.
        lr: learning rate.
        weight_decay: decoupled, times the learning rate.
        momentum: of the gradients' running mean.
    """

    def __init__(
        self, matrices: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95
    ) -> None:
        super().__init__(matrices, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(f"Muon moves matrices; got a parameter of shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]  # no closure is run
        """Move every matrix that has a gradient."""
        if closure is not None:
            raise ValueError("Muon takes no closure")
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            alike: dict[torch.Size, list[tuple[nn.Parameter, torch.Tensor]]] = defaultdict(list)
            for p in group["params"]:
                if p.grad is None:
                    continue
                mean = self.state[p].setdefault("momentum_buffer", torch.zeros_like(p))
                mean.lerp_(p.grad, 1 - momentum)
                alike[p.shape].append((p, p.grad.lerp(mean, momentum)))
            for (rows, columns), pairs in alike.items():
                length = 0.2 * max(rows, columns) ** 0.5
                updates = _orthogonal(torch.stack([update for _, update in pairs]))
                for (p, _), update in zip(pairs, updates, strict=True):
                    p.mul_(1 - lr * group["weight_decay"]).sub_(update, alpha=lr * length)


def _orthogonal(many: torch.Tensor) -> torch.Tensor:
    """Matrices [k, m, n] with their singular values brought near 1: between about 0.7 and 1.2."""
    a, b, c = _COEFFICIENTS
    tall = many.shape[1] > many.shape[2]
    x = many.mT if tall else many
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(_ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x
