"""Credit by token: the tokens that a policy produced as rows of a StepTable, and back."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, finite
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["spread", "token_rows"]


def token_rows(steps: StepTable, tokens: TokenTable) -> StepTable:
    """One row per produced token, in order; trajectory, group and outcome are the steps'.

    Raises:
        ValueError: a token's trajectory has no steps.
    """
    trajectory = tokens.segment_trajectory[tokens.segment[tokens.mask]]
    at = np.searchsorted(steps.trajectory, trajectory)
    known = at < len(steps)
    known[known] = steps.trajectory[at[known]] == trajectory[known]
    if not known.all():
        raise ValueError(
            f"trajectory {trajectory[~known][0]} has tokens but no steps; take tokens.only(steps.trajectory)"
        )
    return StepTable.from_columns(trajectory=trajectory, group=steps.group[at], trajectories=steps.trajectories)


def spread(
    steps: StepTable, tokens: TokenTable, column: npt.ArrayLike, assign: Callable[[StepTable, Float], Float]
) -> Float:
    """float64[n_tokens]: ``assign(rows, column of the produced tokens)``; 0 on tokens that were given."""
    values = np.asarray(column)
    produced = finite("column of token rewards, where mask is set", values[tokens.mask], (int(tokens.mask.sum()),))
    result = np.zeros(len(tokens))
    result[tokens.mask] = assign(token_rows(steps, tokens), produced)
    return result
