"""REINFORCE++ with group baseline: centre in the group, whiten in the batch (arXiv 2501.03262).

    x_i = s_i - mean_g
    A_i = (x_i - mean_batch) / sqrt(var_batch + eps)        var with n - 1

Departures and disagreements. The group mean is over trajectories (``over="trajectories"``) or rows (verl-agent's
default). The public code whitens over *tokens*, so long responses weigh more: ``whiten_over="tokens"`` reads their
number per row from the extra column ``n_tokens``; the default counts rows. A group of one keeps its raw score before
whitening (``single="raw"``, as the public code does) or gets 0.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float, extra, finite, number, one_of
from agentgym.rewards.credit.groups import whitened
from agentgym.steps import StepTable

__all__ = ["assign"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    over: grpo.Over = "trajectories",
    single: grpo.Single = "raw",
    whiten_over: Literal["rows", "tokens"] = "rows",
    eps: float = 1e-8,
) -> Float:
    """Group-centred, batch-whitened advantages.

    Args:
        steps: n rows, k trajectories that have steps.
        rewards: float[n]; when given, a trajectory's score is their sum; None: its ``outcome``.
        score: float[k] scores, in the order of ``steps.starts``; overrides both.
        over: what has one entry in the group's mean.
        single: what a group of one entry gets before whitening.
        whiten_over: what counts once in the batch statistics.
        eps: added to the variance.

    Returns:
        float64[n]; mean 0 and variance 1 over the batch (0 everywhere when all are equal).

    Raises:
        ValueError: scores not finite or of another length; an unknown option; ``n_tokens`` missing or negative; fewer
            than two entries to whiten over.
    """
    one_of("whiten_over", whiten_over, ("rows", "tokens"))
    number("eps", eps, 0.0, open_low=True)
    centred = grpo.assign(steps, rewards, score=score, normalise="mean", over=over, single=single)
    if not len(steps):
        return centred
    weights = np.ones(len(steps))
    if whiten_over == "tokens":
        weights = finite("n_tokens", extra(steps, "n_tokens", "whitening over tokens"), (len(steps),))
        if weights.min() < 0:
            raise ValueError(f"'n_tokens' counts tokens, row {int(weights.argmin())} is {weights.min():g}")
    return whitened(centred, weights, eps=eps)
