"""Milestones: paid once, on the step on which a bit is first set (after CALM, arXiv 2409.12798)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from agentgym.process import MAX_BITS
from agentgym.steps import StepTable

__all__ = ["term", "weighed"]


def term(steps: StepTable, *, weights: float | Sequence[float] = 1.0) -> npt.NDArray[np.float64]:
    """float64[n]: the summed weights of the milestones reached on this step.

    Milestones are latched in an episode, so each is paid at most once in it.

    Args:
        steps: n rows; reads ``milestones_before`` and ``milestones``.
        weights: of every milestone in bit order, or one weight for all.

    Raises:
        ValueError: a milestone without a weight is reached; a weight is not finite.
    """
    return weighed(steps.milestones & ~steps.milestones_before, weights)


def weighed(masks: npt.NDArray[np.int64], weights: float | Sequence[float]) -> npt.NDArray[np.float64]:
    """float64[n]: the summed weights of the bits set in every mask; arguments and errors as in `term`."""
    per_bit = np.full(MAX_BITS, weights) if np.ndim(weights) == 0 else np.asarray(weights, dtype=np.float64)
    if per_bit.ndim != 1 or len(per_bit) > MAX_BITS or not np.isfinite(per_bit).all():
        raise ValueError(f"'weights' must be a finite number or at most {MAX_BITS} of them, got {weights!r}")
    beyond = np.flatnonzero(masks >> len(per_bit))
    if beyond.size:
        raise ValueError(
            f"'weights' has {len(per_bit)} entries, but column 'milestones' sets bit "
            f"{int(masks[beyond[0]]).bit_length() - 1} in row {beyond[0]}; give one weight per milestone of the task"
        )
    total = np.zeros(len(masks))
    used = int(np.bitwise_or.reduce(masks)) if len(masks) else 0
    for bit in range(used.bit_length()):
        total += per_bit[bit] * (masks >> bit & 1)
    return total
