"""An intrinsic reward that fades as its message repeats: r / N(message)^beta (ONI, arXiv 2410.23022; also Motif).

N counts inside the episode, as Motif says; whether ONI's counts outlive it could not be established.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra, finite, number
from agentgym.rewards.credit.groups import joint, partition
from agentgym.rewards.models.inputs import check_texts
from agentgym.steps import StepTable

__all__ = ["repeats", "term"]


def term(
    steps: StepTable, *, name: str = "intrinsic", message: str = "message", beta: float = 1.0
) -> npt.NDArray[np.float64]:
    """float64[n]: the intrinsic reward over how often its message has come in the episode so far, this time included.

    Args:
        steps: n rows.
        name: extra column float[n], rewards of a model in `agentgym.rewards.models.intrinsic`.
        message: extra column of texts, what was rewarded.
        beta: exponent of the count, 0 or more; 0 pays every time alike and reads no messages.

    Raises:
        ValueError: a column is missing, or not finite, or holds no texts; beta negative.
    """
    number("beta", beta, 0.0)
    reward = finite(name, extra(steps, name, "the term 'intrinsic'"), (len(steps),))
    if beta == 0.0 or not len(steps):
        return reward
    texts = extra(steps, message, "the term 'intrinsic'")
    check_texts(message, texts)
    return reward / repeats(steps, texts) ** beta


def repeats(steps: StepTable, texts: npt.NDArray[np.object_]) -> npt.NDArray[np.float64]:
    """float64[n]: how often the row's text has come in its trajectory up to and including the row."""
    _, code = np.unique(texts.astype(str), return_inverse=True)
    classes = joint(partition(steps.segment), code.astype(np.int64))
    order = np.argsort(classes.code, kind="stable")
    first = np.searchsorted(classes.code[order], np.arange(classes.count))
    count = np.empty(len(steps))
    count[order] = np.arange(len(steps)) - first[classes.code[order]] + 1.0
    return count
