"""The reward of one edit.

Published (Lanser-CLI, arXiv 2510.22907; weights of its examples):

    r = alpha (D_before - D_after) + beta S - gamma (1 - confidence)

with D the number of diagnostics, S = 1 where the edit was applied safely, and the confidence that the edit's address
was unambiguous. As it stands it pays for breaking the code: a file that does not parse has one diagnostic, a function
that is gone has none; and S pays for any number of idle edits. `reward` therefore pays, after Lanser-CLI:

    r = S alpha (D_reference - D_after) - beta (1 - S) - gamma (1 - confidence)

where S = 1 only if everything still parses, no function is gone or emptied, and no watched file went (`Measure.safe`),
and the reference is the last safe state. Over any course of safe states the first term telescopes to
alpha (D_start - D_now): breaking and mending, or going to and fro, earns nothing. What it cannot see: code made
unreachable, or typed as ``Any``.
"""

from __future__ import annotations

from dataclasses import dataclass

from agentgym.envs.swe.lsp.judge import Measure
from agentgym.errors import UsageError

__all__ = ["Components", "Weights", "lanser", "reward"]


@dataclass(frozen=True)
class Weights:
    """alpha (a diagnostic less), beta (safety) and gamma (doubt); all at least 0."""

    alpha: float = 0.5
    beta: float = 0.4
    gamma: float = 0.1

    def __post_init__(self) -> None:
        if min(self.alpha, self.beta, self.gamma) < 0:
            raise UsageError(f"weights of the language-server reward must be at least 0, got {self}")


@dataclass(frozen=True)
class Components:
    """What a reward is made of.

    Attributes:
        value: the reward.
        delta: diagnostics less; 0 where the state is not safe.
        safe: the state is safe.
        confidence: of the edit's address.
        reference: the measure to compare the next edit with.
    """

    value: float
    delta: int
    safe: bool
    confidence: float
    reference: Measure


def lanser(delta: int, safe: bool, confidence: float, weights: Weights | None = None, *, charge: bool = False) -> float:
    """The published equation.

    Args:
        delta: diagnostics before minus after.
        safe: S.
        confidence: of the address, in [0, 1].
        weights: of the three terms.
        charge: charge ``beta`` for S = 0 instead of paying it for S = 1; so counts the paper's second example.
    """
    w = weights or Weights()
    safety = (w.beta * (safe - 1)) if charge else w.beta * safe
    return w.alpha * delta + safety - w.gamma * (1 - confidence)


def reward(reference: Measure, after: Measure, confidence: float = 1.0, weights: Weights | None = None) -> Components:
    """The reward of an edit, gated (see above).

    Args:
        reference: measure of the last safe state: `Components.reference` of the edit before, or of the start.
        after: measure of the state after the edit.
        confidence: of the edit's address, in [0, 1]; 1 where it needed none.
        weights: of the three terms.
    """
    safe = after.safe and reference.count is not None and after.count is not None
    delta = reference.count - after.count if safe else 0  # type: ignore[operator]
    value = lanser(delta, safe, confidence, weights, charge=True)
    return Components(value, delta, safe, confidence, after if safe else reference)
