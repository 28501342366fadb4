"""State-equivalence pooling: coarser states for worlds where anchors seldom repeat. Ours.

Two states of a task are taken for one where they agree in the milestones reached and in their bin of progress (or in a
given pair of extra columns). What is pooled feeds any method that compares states: ``gtd.assign(pool(steps))``.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import gigpo
from agentgym.rewards.credit.checks import Float, Int, extra, number
from agentgym.rewards.credit.groups import joint, partition
from agentgym.rewards.credit.grpo import Normalise, Over, Single
from agentgym.steps import StepTable

__all__ = ["assign", "pool"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    bins: int = 20,
    columns: tuple[str, str] | None = None,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """GiGPO on pooled states, float64[n]; ``bins`` and ``columns`` as in `pool`, the others as in `gigpo.assign`."""
    return gigpo.assign(
        pool(steps, bins=bins, columns=columns),
        rewards,
        score=score,
        gamma=gamma,
        step_weight=step_weight,
        normalise=normalise,
        over=over,
        single=single,
        eps=eps,
    )


def pool(steps: StepTable, *, bins: int = 20, columns: tuple[str, str] | None = None) -> StepTable:
    """The same table with pooled ``anchor`` and ``next_anchor``.

    Args:
        steps: n rows.
        bins: of progress; the last holds progress 1 alone.
        columns: names of two extra columns int64[n], the pooled state before and after every step, instead.

    Raises:
        ValueError: bins below 1; an extra is missing or not of integers.
    """
    number("bins", bins, 1)
    if columns is not None:
        before, after = (_integers(steps, name) for name in columns)
    else:
        n = len(steps)
        milestones = np.concatenate([steps.milestones_before, steps.milestones])
        progress = np.concatenate([steps.progress_before, steps.progress])
        code = joint(partition(milestones), np.floor(bins * progress + 1e-9).astype(np.int64)).code
        before, after = code[:n], code[n:]
    changed = {**steps.columns(), "anchor": before, "next_anchor": after}
    return StepTable(**changed, trajectories=steps.trajectories, extras=steps.extras)


def _integers(steps: StepTable, name: str) -> Int:
    column = extra(steps, name, "state pooling")
    if column.dtype.kind not in "iu":
        raise ValueError(f"extra {name!r} must hold integers, got {column.dtype}")
    return column.astype(np.int64)
