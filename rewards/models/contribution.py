"""SPA's contribution estimator: step values that sum to the trajectory's outcome (arXiv 2505.20732).

    v_t = w . x_t + b;   prediction = sum_t v_t;   loss = mean over trajectories of (prediction - outcome)^2

In the paper x_t are a language model's logits at the last token of an assistant turn; `turn_values` computes that head
from given logits. `LinearContribution` is the same idea on any step features, fitted in closed form (ridge).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number
from agentgym.steps import StepTable

__all__ = ["LinearContribution", "squared_error", "turn_values"]


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


@dataclass(frozen=True)
class LinearContribution:
    """Contributions linear in step features, whose sum over a trajectory estimates its outcome.

    Attributes:
        weight: float64[d]. bias: per step.
        features: the extra column float[n, d] it reads.
    """

    weight: Float
    bias: float
    features: str = "features"

    @classmethod
    def fit(cls, steps: StepTable, *, features: str = "features", ridge: float = 1.0) -> LinearContribution:
        """Least squares of the trajectories' outcomes on their summed features, with a ridge penalty on the weights.

        Raises:
            ValueError: the features are missing, not finite or not of two dimensions; no steps.
        """
        number("ridge", ridge, 0.0, open_low=True)
        if not len(steps):
            raise ValueError("a table without steps teaches nothing; collect rollouts first")
        x = _features(steps, features)
        summed = np.add.reduceat(np.column_stack([x, np.ones(len(x))]), steps.starts, axis=0)
        penalty = ridge * np.eye(summed.shape[1])
        penalty[-1, -1] = 1e-9  # the bias is free; the trace keeps the system regular where all lengths are 0
        outcome = finite("outcome", steps.outcome, (len(steps.starts),))
        solution = np.linalg.solve(summed.T @ summed + penalty, summed.T @ outcome)
        return cls(solution[:-1].astype(np.float64), float(solution[-1]), features)

    def contributions(self, steps: StepTable) -> Float:
        """float64[n]: the value of every step."""
        return _features(steps, self.features) @ self.weight + self.bias


def _features(steps: StepTable, name: str) -> Float:
    given = extra(steps, name, "a linear contribution estimator")
    if given.ndim != 2:
        raise ValueError(f"extra {name!r} must have shape (rows, features), got {given.shape}")
    return finite(name, given, given.shape)
