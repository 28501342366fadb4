"""LaRe: a step reward decoded from latent factors, learnt from the returns of whole episodes (AAAI 2025).

    factors   z_t = f(state_t, action_t)
    reward    r_t = network(z_t)                              3 x 256, ReLU
    RRD       (mean of r over K sampled steps - R / T)^2      averaged over trajectories (Ren et al. 2022)
    RD        the same over all T steps

f is a function of yours; in the paper a language model wrote it. R is the trajectory's outcome, T its length. Sampling
makes the loss too large by the variance of the sampled mean, (1 - K/T) var_K / K; with ``variance_correction`` that is
taken off, and the loss is RD's in expectation.

The function is given as a Python callable or its values as columns; text that a model wrote is never executed here:
review such a function and import it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agentgym.rewards.credit.checks import LARGEST, Float, Int, extra, finite, number
from agentgym.rewards.models.inputs import Inputs, column_names
from agentgym.rewards.models.network import Network, torch_package
from agentgym.rewards.models.store import read_model, write_model
from agentgym.steps import StepTable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FactorFunction", "LatentReward", "factor_columns", "redistribution_loss"]

FactorFunction = Callable[[Any, Any], Mapping[str, float]]
"""``factors(state, action) -> {name: number}``, the same names for every step."""


def factor_columns(
    steps: StepTable, function: FactorFunction, *, state: str = "text", action: str = "action_text"
) -> dict[str, Float]:
    """The latent factors of every step as columns float64[n], by name; add them by ``steps.with_extra(**columns)``.

    Args:
        steps: n rows.
        function: called with every row's state and action.
        state, action: names of the extra columns it is given.

    Raises:
        ValueError: a column is missing; a row's factors are not a mapping, have other names, or are no finite numbers.
    """
    states, actions = (extra(steps, name, "a factor function") for name in (state, action))
    rows = [function(s, a) for s, a in zip(states, actions, strict=True)]
    names: list[str] | None = None
    for row, found in enumerate(rows):
        if not isinstance(found, Mapping) or not found:
            raise ValueError(f"the factor function must return a mapping name -> number, row {row} gave {found!r}")
        names = names or list(found)
        if set(found) != set(names):
            raise ValueError(
                f"the factor function must return the same names for every step, row {row} has {sorted(found)}, "
                f"row 0 has {sorted(names)}"
            )
        for name, value in found.items():
            if isinstance(value, str) or not abs(float(value)) <= LARGEST:
                raise ValueError(
                    f"factor {name!r} must be a finite number, row {row} is {value!r}; repair the function"
                )
    return {name: np.array([float(found[name]) for found in rows]) for name in names or ()}


class LatentReward:
    """The decoder: latent factors to step rewards; needs torch.

    Args:
        factors: columns of the factors (extras, or the table's own such as ``progress``); numbers or texts.
        widths: of the hidden layers; the paper's by default.
        lr: Adam's.
        sample: K, steps drawn from every trajectory (RRD); None takes all (RD).
        variance_correction: take the sampling variance off the loss; needs K of at least 2.
        seed: of weights and samples.
    """

    def __init__(
        self,
        factors: str | Sequence[str],
        *,
        widths: Sequence[int] = (256, 256, 256),
        lr: float = 3e-4,
        sample: int | None = 64,
        variance_correction: bool = False,
        seed: int = 0,
    ) -> None:
        if sample is not None:
            number("sample", sample, 2 if variance_correction else 1)
        self.factors, self.widths = column_names(factors), tuple(widths)
        self.lr, self.sample, self.variance_correction, self.seed = lr, sample, variance_correction, seed
        self._inputs: Inputs | None = None
        self._network: Network | None = None
        self._updates = 0

    def fit(self, steps: StepTable, *, updates: int = 1000, batch: int = 32) -> LatentReward:
        """Learn from the outcomes of whole trajectories; called again it goes on.

        Args:
            steps: n rows; reads ``outcome``. The first call settles how factors are scaled.
            updates: steps of the optimiser.
            batch: trajectories in each, drawn at random.

        Returns:
            itself.

        Raises:
            ValueError: no steps; a factor is missing, not finite, or changed its kind.
        """
        number("updates", updates, 1)
        number("batch", batch, 1)
        outcome = finite("outcome", steps.outcome, (len(steps.starts),))
        if self._inputs is None:
            self._inputs = Inputs.fit(steps, self.factors, _WHO)
        x = self._inputs.matrix(steps, _WHO)
        if self._network is None:
            self._network = self._new()
        for _ in range(updates):
            rng = np.random.default_rng([self.seed, self._updates])
            chosen = rng.choice(len(outcome), size=min(batch, len(outcome)), replace=False)
            lengths = steps.lengths[chosen]
            taken = lengths if self.sample is None else np.minimum(lengths, self.sample)
            rows = np.concatenate(
                [
                    start + (rng.choice(n, size=k, replace=False) if k < n else np.arange(n))
                    for start, n, k in zip(steps.starts[chosen], lengths, taken, strict=True)
                ]
            )
            loss = redistribution_loss(
                self._network(x[rows]), taken, lengths, outcome[chosen], variance_correction=self.variance_correction
            )
            self._network.descend(loss)
            self._updates += 1
        return self

    def rewards(self, steps: StepTable) -> Float:
        """float64[n]: the decoded reward of every step.

        Raises:
            ValueError: not fitted; a factor is missing, not finite, or of another kind than it was.
        """
        inputs, network = self._fitted()
        return network.values(inputs.matrix(steps, _WHO)) if len(steps) else np.zeros(0)

    def save(self, path: str | Path) -> None:
        """Write factors and weights to a file (without the optimiser's moments)."""
        inputs, network = self._fitted()
        values = {
            "inputs": inputs.to_json(),
            "widths": list(self.widths),
            "lr": self.lr,
            "sample": self.sample,
            "variance_correction": self.variance_correction,
            "seed": self.seed,
            "updates": self._updates,
        }
        write_model(path, "LatentReward", values, network.arrays())

    @classmethod
    def load(cls, path: str | Path) -> LatentReward:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path, "LatentReward")
        inputs = Inputs.from_json(values["inputs"])
        options = {k: values[k] for k in ("widths", "lr", "sample", "variance_correction", "seed")}
        made = cls(inputs.columns, **options)
        made._inputs, made._updates = inputs, values["updates"]
        made._network = made._new()
        made._network.load_arrays(arrays)
        return made

    def state_dict(self) -> dict[str, Any]:
        """Everything, the optimiser's moments too, so that training goes on as if it had never stopped."""
        if self._inputs is None or self._network is None:
            return {}
        return {"inputs": self._inputs.to_json(), "network": self._network.state_dict(), "updates": self._updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if state:
            self._inputs, self._updates = Inputs.from_json(state["inputs"]), state["updates"]
            self._network = self._new()
            self._network.load_state_dict(state["network"])

    def _new(self) -> Network:
        assert self._inputs is not None
        return Network(self._inputs.width, self.widths, lr=self.lr, seed=self.seed)

    def _fitted(self) -> tuple[Inputs, Network]:
        if self._inputs is None or self._network is None:
            raise ValueError("this LatentReward is not fitted; call fit(steps) or load(path) first")
        return self._inputs, self._network


def redistribution_loss(
    predicted: Tensor, taken: Int, lengths: Int, outcome: Float, *, variance_correction: bool
) -> Tensor:
    """The loss of some trajectories, averaged (see the module).

    Args:
        predicted: float[sum of taken], rewards of the steps taken, trajectory after trajectory.
        taken: int[b], K of every trajectory. lengths: int[b], T. outcome: float[b].
        variance_correction: take (1 - K/T) var_K / K off, var_K the sample variance; 0 where K is 1 or T.
    """
    torch = torch_package()
    owner = torch.from_numpy(np.repeat(np.arange(len(taken)), taken))
    k = torch.from_numpy(np.asarray(taken)).to(predicted)
    t = torch.from_numpy(np.asarray(lengths)).to(predicted)
    zeros = torch.zeros(len(taken)).to(predicted)
    mean = zeros.index_add(0, owner, predicted) / k
    loss = (mean - torch.from_numpy(outcome).to(predicted) / t) ** 2
    if variance_correction:
        spread = zeros.index_add(0, owner, (predicted - mean[owner]) ** 2) / (k - 1.0).clamp(min=1.0)
        loss = loss - (1.0 - k / t) * spread / k
    result: Tensor = loss.mean()
    return result


_WHO = "a latent reward decoder"
