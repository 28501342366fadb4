"""Scores of reward models as terms: bounded against reference answers (PAR), or of an ensemble that may disagree."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import extra
from agentgym.rewards.models.ensemble import ensemble
from agentgym.rewards.models.par import shaped
from agentgym.steps import StepTable

__all__ = ["ensemble_term", "par_term"]


def par_term(
    steps: StepTable,
    *,
    name: str = "model_score",
    references: str = "reference_scores",
    form: Literal["relative_sigmoid", "relative_tanh", "centred", "sigmoid"] = "relative_sigmoid",
    k: float = 1.0,
) -> npt.NDArray[np.float64]:
    """float64[n]: the last step's score shaped as in `agentgym.rewards.models.par`, 0 on the others.

    Args:
        steps: n rows.
        name: extra column float[n]; what the reward model says of the whole rollout, read on its last row.
        references: extra column float[n, m]; what it says of m reference answers to the same task, read there too.
        form, k: as in `par.shaped`.

    Raises:
        ValueError: a column is missing, not finite or of another shape.
    """
    score = extra(steps, name, "the term 'par'")
    given = None if form == "sigmoid" else extra(steps, references, "the term 'par'")[steps.ends]
    reward = np.zeros(len(steps))
    reward[steps.ends] = shaped(score[steps.ends], given, form=form, k=k) if len(steps) else 0.0
    return reward


def ensemble_term(
    steps: StepTable,
    *,
    name: str = "ensemble_scores",
    rule: Literal["mean", "wco", "uwo"] = "uwo",
    coefficient: float = 1.0,
    ddof: Literal[0, 1] = 1,
) -> npt.NDArray[np.float64]:
    """float64[n]: one score per step of the scores of k models, as in `agentgym.rewards.models.ensemble`.

    Args:
        steps: n rows.
        name: extra column float[n, k].
        rule: "mean", "wco" (the worst) or "uwo" (the mean minus the variance).
        coefficient, ddof: of the variance.

    Raises:
        ValueError: the column is missing, not finite or of another shape; the sample variance of one model.
    """
    return ensemble(extra(steps, name, "the term 'ensemble'").T, rule=rule, coefficient=coefficient, ddof=ddof)
