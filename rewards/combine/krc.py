"""KRC: the signed geometric mean of rewards (Lucy-SKG, arXiv 2305.15801, Eq. 2).

    R = sgn (prod_i |R_i|)^(1/n)        sgn = +1 only if no component is negative, else -1

One bad component spoils the product; a sum would let a good one pay for it. The released code takes 0 as not negative,
and so does this.
"""

from __future__ import annotations

import numpy as np

from agentgym.rewards.combine.columns import Columns
from agentgym.rewards.credit.checks import Float, finite
from agentgym.steps import StepTable

__all__ = ["combine"]


def combine(steps: StepTable, columns: Columns) -> Float:
    """float64[n]: the signed geometric mean of the columns.

    Raises:
        ValueError: no column; a column is not finite or has another length.
    """
    if not columns:
        raise ValueError("the geometric mean of no columns is undefined; give at least one term")
    stack = np.stack([finite(name, column, (len(steps),)) for name, column in columns.items()])
    with np.errstate(divide="ignore"):  # log 0 is minus infinity, and its exponential the 0 that is meant
        size = np.exp(np.mean(np.log(np.abs(stack)), axis=0))
    return np.asarray(np.where((stack < 0.0).any(axis=0), -size, size))
