"""How likely a reference answer has become: a dense reward where the right answer is known but no verifier exists.

    level   log p(answer | what was seen after the step)                   on the last step alone
    gain    its change over every step                                     sums to last minus first

``form="probability"`` takes exp of it instead: bounded in [0, 1], and deaf among hopeless answers. The log-probability
is a column: a model computes it after the rollout, summed or averaged over the answer's tokens (averaged keeps long
answers comparable).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite, one_of
from agentgym.steps import StepTable

__all__ = ["term"]


def term(
    steps: StepTable,
    *,
    name: str = "answer_logprob",
    before: str = "answer_logprob_before",
    paid: Literal["gain", "level"] = "gain",
    form: Literal["log", "probability"] = "probability",
) -> npt.NDArray[np.float64]:
    """float64[n]: log-probability (or probability) of the reference answer as a reward.

    Args:
        steps: n rows.
        name: extra column float[n], at most 0: the answer's log-probability after the step.
        before: the same before the step; read where ``paid`` is "gain".
        paid: see above.
        form: "log" or "probability".

    Raises:
        ValueError: a column is missing, not finite or above 0; an unknown option.
    """
    one_of("paid", paid, ("gain", "level"))
    one_of("form", form, ("log", "probability"))
    after = _column(steps, name, form)
    if paid == "gain":
        return after - _column(steps, before, form)
    reward = np.zeros(len(steps))
    reward[steps.ends] = after[steps.ends]
    return reward


def _column(steps: StepTable, name: str, form: str) -> npt.NDArray[np.float64]:
    values = finite(name, extra(steps, name, "the term 'reference'"), (len(steps),))
    bad = np.flatnonzero(values > 1e-6)  # a rounding error above 0 is forgiven
    if bad.size:
        raise ValueError(f"log-probabilities in {name!r} must be at most 0, row {bad[0]} is {values[bad[0]]}")
    return np.exp(np.minimum(values, 0.0)) if form == "probability" else values
