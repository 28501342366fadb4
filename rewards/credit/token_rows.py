"""Credit by token: which step every produced token belongs to, and produced tokens as rows of a StepTable."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, Int, finite
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["produced", "step_rows", "token_table"]


def step_rows(steps: StepTable, tokens: TokenTable) -> Int:
    """int64[p]: for every produced token (``tokens.mask``) the row of its step.

    Raises:
        ValueError: a token's step is not in the table.
    """
    trajectory = tokens.segment_trajectory[tokens.segment[tokens.mask]]
    t = tokens.step[tokens.mask].astype(np.int64)
    ids = steps.trajectory[steps.starts]
    place = np.searchsorted(ids, trajectory)
    known = (place < len(ids)) & (t >= 0)
    known[known] = ids[place[known]] == trajectory[known]
    key = steps.segment * 2**32 + steps.t
    wanted = np.where(known, place * 2**32 + t, -1)
    row = np.searchsorted(key, wanted)
    known &= row < len(key)
    known[known] = key[row[known]] == wanted[known]
    if not known.all():
        bad = np.flatnonzero(~known)[0]
        raise ValueError(
            f"step (trajectory={trajectory[bad]}, t={t[bad]}) has tokens but no row in the step table; "
            "take tokens.only(steps.trajectory)"
        )
    return row


def token_table(steps: StepTable, tokens: TokenTable) -> StepTable:
    """One row per produced token, in order; trajectory, group and outcome are the steps'."""
    row = step_rows(steps, tokens)
    return StepTable.from_columns(
        trajectory=steps.trajectory[row], group=steps.group[row], trajectories=steps.trajectories
    )


def produced(tokens: TokenTable, column: npt.ArrayLike, name: str) -> Float:
    """float64[p]: a column of n_tokens, where the policy produced them.

    Raises:
        ValueError: it has another length, or is not finite there.
    """
    values = np.asarray(column)
    if values.shape != (len(tokens),):
        raise ValueError(f"{name!r} must have one value per token ({len(tokens)}), got shape {values.shape}")
    return finite(name, values[tokens.mask], (int(tokens.mask.sum()),))
