"""SPA's contribution estimator: step values that sum to the trajectory's outcome (arXiv 2505.20732).

    v_t = w . x_t + b;   prediction = sum_t v_t;   loss = mean over trajectories of (prediction - outcome)^2

In the paper x_t are a language model's logits at the last token of an assistant turn; `turn_values` computes that head
from given logits. `LinearContribution` is the same idea on columns of the step (numbers or texts), fitted in closed
form (ridge); `ContributionEstimator` has a small network in place of w and is trained by gradient descent, also batch
after batch. What they give belongs into the extra column ``contribution``, which the credit method ``spa`` reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, finite, number
from agentgym.rewards.models.inputs import Inputs, column_names
from agentgym.rewards.models.network import Network, torch_package
from agentgym.rewards.models.store import read_model, write_model
from agentgym.steps import StepTable

__all__ = ["ContributionEstimator", "LinearContribution", "squared_error", "turn_values"]


def turn_values(
    logits: npt.ArrayLike, weight: npt.ArrayLike, bias: float, produced: npt.NDArray[np.bool_]
) -> list[Float]:
    """The value of every assistant turn of every dialogue.

    Args:
        logits: float[b, length, d].
        weight: float[d]. bias: of the head.
        produced: bool[b, length], tokens of the assistant. Neighbouring produced tokens are one turn, so that two
            turns with nothing between them count as one.

    Returns:
        b arrays float64[turns]; empty for a dialogue without produced tokens (its prediction is 0).
    """
    after = np.zeros_like(produced)
    after[:, :-1] = produced[:, 1:]
    ends = produced & ~after
    x, w = np.asarray(logits, dtype=np.float64), np.asarray(weight, dtype=np.float64)
    return [x[i, ends[i]] @ w + bias for i in range(len(x))]


def squared_error(values: list[Float], outcome: npt.ArrayLike) -> float:
    """Mean over trajectories of (sum of values - outcome)^2."""
    prediction = np.array([v.sum() for v in values])
    return float(np.mean((prediction - finite("outcome", outcome, prediction.shape)) ** 2))


@dataclass(frozen=True, eq=False)
class LinearContribution:
    """Contributions linear in step features, whose sum over a trajectory estimates its outcome.

    Attributes:
        weight: float64[d]. bias: per step.
        inputs: the columns it reads, taken as they are.
    """

    weight: Float
    bias: float
    inputs: Inputs

    @classmethod
    def fit(
        cls, steps: StepTable, *, features: str | Sequence[str] = "features", ridge: float = 1.0, buckets: int = 256
    ) -> LinearContribution:
        """Least squares of the trajectories' outcomes on their summed features, with a ridge penalty on the weights.

        Args:
            steps: n rows.
            features: columns of numbers, float[n] or float[n, d], or of texts.
            ridge: of the penalty, above 0.
            buckets: features of a text column (`agentgym.rewards.models.inputs`).

        Raises:
            ValueError: no steps; a column is missing, not finite, or neither numbers nor text.
        """
        number("ridge", ridge, 0.0, open_low=True)
        inputs = Inputs.fit(steps, features, _LINEAR, buckets=buckets, standardise=False)
        x = inputs.matrix(steps, _LINEAR)
        summed = np.add.reduceat(np.column_stack([x, np.ones(len(x))]), steps.starts, axis=0)
        penalty = ridge * np.eye(summed.shape[1])
        penalty[-1, -1] = 1e-9  # the bias is free; the trace keeps the system regular where all lengths are 0
        outcome = finite("outcome", steps.outcome, (len(steps.starts),))
        solution = np.linalg.solve(summed.T @ summed + penalty, summed.T @ outcome)
        return cls(solution[:-1].astype(np.float64), float(solution[-1]), inputs)

    def contributions(self, steps: StepTable) -> Float:
        """float64[n]: the value of every step."""
        return self.inputs.matrix(steps, _LINEAR) @ self.weight + self.bias

    def save(self, path: str | Path) -> None:
        """Write it to a file."""
        write_model(
            path, "LinearContribution", {"inputs": self.inputs.to_json(), "bias": self.bias}, {"w": self.weight}
        )

    @classmethod
    def load(cls, path: str | Path) -> LinearContribution:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path, "LinearContribution")
        return cls(arrays["w"], float(values["bias"]), Inputs.from_json(values["inputs"]))


class ContributionEstimator:
    """SPA's progress estimator with a small network: the value of a step from its columns; needs torch.

    Args:
        columns: columns of numbers or texts; what the loop keeps with ``keep=("text", "action")`` by default.
        widths: of the hidden layers; none makes it linear.
        lr, weight_decay: of AdamW.
        buckets: features of a text column.
        seed: of weights and batches.
    """

    def __init__(
        self,
        columns: str | Sequence[str] = ("text", "action_text"),
        *,
        widths: Sequence[int] = (64,),
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        buckets: int = 256,
        seed: int = 0,
    ) -> None:
        self.columns, self.widths = column_names(columns), tuple(widths)
        self.lr, self.weight_decay, self.buckets, self.seed = lr, weight_decay, buckets, seed
        self._inputs: Inputs | None = None
        self._network: Network | None = None
        self._epochs = 0

    def fit(self, steps: StepTable, *, epochs: int = 50, batch: int = 32) -> ContributionEstimator:
        """Learn the outcomes of some trajectories; called again it goes on learning, from other steps if you like.

        Args:
            steps: n rows; reads the trajectories' ``outcome``. The first call settles how columns are scaled.
            epochs: passes over the trajectories.
            batch: trajectories in one step of the optimiser.

        Returns:
            itself.

        Raises:
            ValueError: no steps; a column is missing, not finite, or changed its kind.
        """
        number("epochs", epochs, 1)
        number("batch", batch, 1)
        outcome = finite("outcome", steps.outcome, (len(steps.starts),))
        if self._inputs is None:
            self._inputs = Inputs.fit(steps, self.columns, _NETWORK, buckets=self.buckets)
        x = self._inputs.matrix(steps, _NETWORK)
        if self._network is None:
            self._network = self._new()
        torch = torch_package()
        for _ in range(epochs):
            order = np.random.default_rng([self.seed, self._epochs]).permutation(len(outcome))
            for start in range(0, len(order), batch):
                chosen = order[start : start + batch]
                lengths = steps.lengths[chosen]
                rows = np.concatenate([np.arange(a, a + n) for a, n in zip(steps.starts[chosen], lengths, strict=True)])
                owner = torch.from_numpy(np.repeat(np.arange(len(chosen)), lengths))
                total = torch.zeros(len(chosen)).index_add(0, owner, self._network(x[rows]))
                error = total - torch.from_numpy(outcome[chosen]).float()
                self._network.descend((error**2).mean())
            self._epochs += 1
        return self

    def contributions(self, steps: StepTable) -> Float:
        """float64[n]: the value of every step.

        Raises:
            ValueError: not fitted; a column is missing, not finite, or of another kind than it was.
        """
        inputs, network = self._fitted()
        return network.values(inputs.matrix(steps, _NETWORK)) if len(steps) else np.zeros(0)

    def predict(self, steps: StepTable) -> Float:
        """float64[k]: the predicted outcome of every trajectory that has steps; errors as `contributions`."""
        values = self.contributions(steps)
        return np.add.reduceat(values, steps.starts) if len(steps) else values

    def save(self, path: str | Path) -> None:
        """Write columns and weights to a file (without the optimiser's moments)."""
        inputs, network = self._fitted()
        values = {
            "inputs": inputs.to_json(),
            "widths": list(self.widths),
            "lr": self.lr,
            "weight_decay": self.weight_decay,
            "seed": self.seed,
            "epochs": self._epochs,
        }
        write_model(path, "ContributionEstimator", values, network.arrays())

    @classmethod
    def load(cls, path: str | Path) -> ContributionEstimator:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path, "ContributionEstimator")
        inputs = Inputs.from_json(values["inputs"])
        made = cls(
            inputs.columns,
            widths=values["widths"],
            lr=values["lr"],
            weight_decay=values["weight_decay"],
            buckets=inputs.buckets,
            seed=values["seed"],
        )
        made._inputs, made._epochs = inputs, values["epochs"]
        made._network = made._new()
        made._network.load_arrays(arrays)
        return made

    def state_dict(self) -> dict[str, Any]:
        """Everything, the optimiser's moments too, so that training goes on as if it had never stopped."""
        if self._inputs is None or self._network is None:
            return {}
        return {"inputs": self._inputs.to_json(), "network": self._network.state_dict(), "epochs": self._epochs}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if state:
            self._inputs, self._epochs = Inputs.from_json(state["inputs"]), state["epochs"]
            self._network = self._new()
            self._network.load_state_dict(state["network"])

    def _new(self) -> Network:
        assert self._inputs is not None
        return Network(self._inputs.width, self.widths, lr=self.lr, weight_decay=self.weight_decay, seed=self.seed)

    def _fitted(self) -> tuple[Inputs, Network]:
        if self._inputs is None or self._network is None:
            raise ValueError("this ContributionEstimator is not fitted; call fit(steps) or load(path) first")
        return self._inputs, self._network


_LINEAR, _NETWORK = "a linear contribution estimator", "a contribution estimator"
