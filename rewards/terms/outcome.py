"""The trajectory's outcome, on its last step."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.steps import StepTable

__all__ = ["term"]


def term(steps: StepTable) -> npt.NDArray[np.float64]:
    """float64[n]: the ``outcome`` on the last row of every trajectory, 0 elsewhere; in units of the outcome.

    Raises:
        ValueError: an outcome is NaN or infinite.
    """
    bad = np.flatnonzero(~np.isfinite(steps.outcome))
    if bad.size:
        raise ValueError(
            f"column 'outcome' must be finite, trajectory {steps.trajectory[steps.starts[bad[0]]]} has "
            f"{steps.outcome[bad[0]]}; drop the trajectory with steps.only(...)"
        )
    reward = np.zeros(len(steps))
    reward[steps.ends] = steps.outcome
    return reward
