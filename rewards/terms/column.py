"""Any extra column as a term: a judge's scores, a label, a cost that was recorded beside the steps."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite
from agentgym.steps import StepTable

__all__ = ["term"]


def term(steps: StepTable, *, name: str = "process_score") -> npt.NDArray[np.float64]:
    """float64[n]: the extra column ``name``.

    Raises:
        ValueError: the column is missing, not numeric or not finite.
    """
    return finite(name, extra(steps, name, "the term 'column'"), (len(steps),))
