"""Muon beside torch's own."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agentgym.agents.train.muon import Muon


@pytest.mark.parametrize("shape", [(24, 24), (12, 40), (40, 12)])
def test_it_moves_as_torchs_does(shape: tuple[int, int]) -> None:
    """Torch's rounds are of bfloat16, whose steps are of 1/256: that is how near they can be."""
    torch.manual_seed(0)
    start = [torch.randn(shape) for _ in range(3)]
    mine, its = ([nn.Parameter(p.clone()) for p in start] for _ in range(2))
    optimizers = [
        Muon(mine, lr=0.02, weight_decay=0.1),
        torch.optim.Muon(its, lr=0.02, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"),
    ]
    for _ in range(4):
        for p, q in zip(mine, its, strict=True):
            p.grad = torch.randn(shape)
            q.grad = p.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
    for p, q, old in zip(mine, its, start, strict=True):
        apart, moved = (p - q).norm(), (q - old).norm()
        assert moved > 0.1
        assert apart < 0.02 * moved


def test_a_step_brings_singular_values_together() -> None:
    """Whatever the gradient's singular values, those of the step are near one another."""
    torch.manual_seed(1)
    matrix = nn.Parameter(torch.zeros(16, 16))
    u, _, v = torch.linalg.svd(torch.randn(16, 16))
    matrix.grad = u @ torch.diag(torch.logspace(-1, 1, 16)) @ v
    Muon([matrix], lr=1.0, momentum=0.0).step()
    values = torch.linalg.svdvals(matrix.detach()) / (0.2 * 4.0)
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_matrix_without_a_gradient_stays() -> None:
    still, moved = nn.Parameter(torch.ones(4, 4)), nn.Parameter(torch.ones(4, 4))
    moved.grad = torch.eye(4)
    Muon([still, moved], lr=0.1, weight_decay=0.5).step()
    assert torch.equal(still, torch.ones(4, 4))
    assert not torch.equal(moved, torch.ones(4, 4))


def test_vectors_are_refused() -> None:
    with pytest.raises(ValueError, match=r"moves matrices; got a parameter of shape \(3,\)"):
        Muon([nn.Parameter(torch.zeros(3))], lr=0.1)
