"""A small network from a matrix of features to one number per row; torch is loaded when the first one is made."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import MissingExtra
from agentgym.rewards.credit.checks import Float, number

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Network", "torch_package"]


def torch_package() -> Any:
    """The module ``torch``.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingExtra("torch", "train") from error
    return torch


class Network:
    """Linear layers with ReLU between them, one output, and the Adam that trains it (float32, on the CPU).

    Args:
        inputs: features.
        widths: of the hidden layers; none makes it linear.
        outputs: numbers per row.
        lr: Adam's learning rate.
        weight_decay: AdamW's.
        seed: of the weights; torch's global generator is left alone.
    """

    def __init__(
        self,
        inputs: int,
        widths: Sequence[int] = (),
        *,
        outputs: int = 1,
        lr: float = 1e-3,
        weight_decay: float = 0.0,
        seed: int = 0,
    ) -> None:
        number("lr", lr, 0.0, open_low=True)
        number("weight_decay", weight_decay, 0.0)
        torch = torch_package()
        sizes = [inputs, *widths, outputs]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[Any] = []
            for k, (a, b) in enumerate(itertools.pairwise(sizes)):
                layers += [torch.nn.Linear(a, b)] + ([torch.nn.ReLU()] if k < len(sizes) - 2 else [])
            self.module: Any = torch.nn.Sequential(*layers)
        self.optimizer: Any = torch.optim.AdamW(self.module.parameters(), lr=lr, weight_decay=weight_decay)

    def __call__(self, features: Float) -> Tensor:
        """float32[n] (float32[n, outputs] where there are several), with gradients."""
        torch = torch_package()
        out: Tensor = self.module(torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32)))
        return out.squeeze(-1) if out.shape[-1] == 1 else out

    def values(self, features: Float) -> Float:
        """The same as float64, without gradients."""
        with torch_package().no_grad():
            return np.asarray(self(features).double().numpy())

    def descend(self, loss: Tensor) -> float:
        """One step of the optimiser; returns the loss."""
        self.optimizer.zero_grad(set_to_none=True)
        torch_package().autograd.backward(loss)
        self.optimizer.step()
        return float(loss.detach())

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """The weights, by name."""
        return {k: v.detach().numpy().copy() for k, v in self.module.state_dict().items()}

    def load_arrays(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """The inverse of `arrays`."""
        torch = torch_package()
        self.module.load_state_dict({k: torch.from_numpy(np.array(arrays[k])) for k in self.module.state_dict()})

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser, so that training goes on as if it had never stopped."""
        return {"module": self.module.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.module.load_state_dict(state["module"])
        # torch keeps the moments it is given: without a copy two networks would share them
        self.optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
