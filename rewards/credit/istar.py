"""iStar: outcome advantage plus implicit step rewards, online (ICLR 2026, arXiv 2509.19199; also OPRL).

    r_t = beta sum over the step's tokens of (log pi_phi - log pi_old)
    A_t = A_outcome(trajectory) + w A_step(r_t)

Both parts compare inside the group: ``variant="rloo"`` n/(n-1) (x - mean), ``"grpo"`` (x - mean) / (sd + eps),
``"mean"`` x - mean, ``"reinforce++"`` x - mean and whitened over the batch, each part on its own.

Departures and disagreements. The released code scales the step rewards as PRIME does (``batch_norm``, after which beta
cancels up to its epsilon). Its step statistics use only the first row of every trajectory (``step_over="first"``,
against its own docstring); the default here is every row. A group of one trajectory keeps its raw values
(``single="raw"``, as the code does).
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number, one_of, trajectory_scores
from agentgym.rewards.credit.groups import Partition, deviations, partition, standardised, whitened
from agentgym.rewards.credit.grpo import Single
from agentgym.rewards.credit.prime import batch_normalised, log_ratio
from agentgym.rewards.credit.token_rows import produced, step_rows
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

__all__ = ["assign", "assign_tokens"]

Variant = Literal["rloo", "grpo", "mean", "reinforce++"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    variant: Variant = "rloo",
    step_weight: float = 1.0,
    outcome_weight: float = 1.0,
    step_over: Literal["rows", "first"] = "rows",
    single: Single = "raw",
    beta: float = 0.05,
    batch_norm: bool = True,
    whiten_over: Literal["rows", "tokens"] = "rows",
    eps: float = 1e-6,
) -> Float:
    """Outcome advantage plus weighted step advantage.

    Args:
        steps: n rows, k trajectories that have steps.
        rewards: float[n] step rewards, used as they are; None: beta times the extra columns ``logprob_model`` minus
            ``logprob_reference``, scaled if ``batch_norm``.
        score: float[k] outcome scores, in the order of ``steps.starts``; None: the trajectories' ``outcome``.
        variant: how both parts compare.
        step_weight: w.
        outcome_weight: 0 leaves the process alone.
        step_over: rows that make the step statistics of a group.
        single: what a group of one trajectory gets.
        beta: scale of the log-ratio.
        batch_norm: scale step rewards by the largest return in the batch.
        whiten_over: what counts once in the batch statistics of "reinforce++"; tokens reads ``n_tokens``.
        eps: added to standard deviations.

    Returns:
        float64[n].

    Raises:
        ValueError: columns missing, not finite or of another length; an option out of range.
    """
    one_of("variant", variant, ("rloo", "grpo", "mean", "reinforce++"))
    one_of("step_over", step_over, ("rows", "first"))
    one_of("single", single, ("raw", "zero"))
    one_of("whiten_over", whiten_over, ("rows", "tokens"))
    number("beta", beta, 0.0, open_low=True)
    number("eps", eps, 0.0, open_low=True)
    if rewards is None:
        step = batch_normalised(steps, beta * log_ratio(steps), scale=batch_norm)
    else:
        step = finite("rewards", rewards, (len(steps),))
    s = trajectory_scores(steps, None, score)
    if not len(steps):
        return np.zeros(0)
    groups = partition(steps.trajectory_group)
    by_row = Partition(groups.code[steps.segment], groups.count)
    counted = np.ones(len(steps))
    if step_over == "first":
        counted[:] = 0.0
        counted[steps.starts] = 1.0
    alone = (groups.size == 1)[groups.code]
    raw = single == "raw"
    outcome = _part(s, groups, np.ones(len(s)), variant, alone, raw, eps)[steps.segment]
    process = _part(step, by_row, counted, variant, alone[steps.segment], raw, eps)
    if variant == "reinforce++":
        tokens = np.ones(len(steps))
        if whiten_over == "tokens":
            tokens = finite("n_tokens", extra(steps, "n_tokens", "whitening over tokens"), (len(steps),))
        outcome, process = whitened(outcome, tokens), whitened(process, tokens)
    return outcome_weight * outcome + step_weight * process


def assign_tokens(
    steps: StepTable,
    tokens: TokenTable,
    *,
    logprob_model: npt.ArrayLike,
    logprob_reference: npt.ArrayLike,
    score: npt.ArrayLike | None = None,
    variant: Variant = "rloo",
    step_weight: float = 1.0,
    outcome_weight: float = 1.0,
    step_over: Literal["rows", "first"] = "rows",
    single: Single = "raw",
    beta: float = 0.05,
    batch_norm: bool = True,
    whiten_over: Literal["rows", "tokens"] = "tokens",
    eps: float = 1e-6,
) -> Float:
    """float64[n_tokens]: every produced token gets its step's advantage, the others 0.

    Args:
        steps: n rows.
        tokens: n_tokens tokens of these steps.
        logprob_model, logprob_reference: float[n_tokens]; summed over each step's produced tokens.
        score, variant, step_weight, outcome_weight, step_over, single, beta, batch_norm, whiten_over, eps: as in
            `assign`; the number of tokens per step is counted here.

    Raises:
        ValueError: as `assign`; a token's step is not in the table.
    """
    row = step_rows(steps, tokens)
    ratio = produced(tokens, logprob_model, "logprob_model") - produced(tokens, logprob_reference, "logprob_reference")
    rewards = np.asarray(beta * np.bincount(row, weights=ratio, minlength=len(steps)), dtype=np.float64)
    advantage = assign(
        steps.with_extra(n_tokens=np.bincount(row, minlength=len(steps))),
        batch_normalised(steps, rewards, scale=batch_norm),
        score=score,
        variant=variant,
        step_weight=step_weight,
        outcome_weight=outcome_weight,
        step_over=step_over,
        single=single,
        beta=beta,
        whiten_over=whiten_over,
        eps=eps,
    )
    result = np.zeros(len(tokens))
    result[tokens.mask] = advantage[row]
    return result


def _part(
    x: Float,
    classes: Partition,
    counted: Float,
    variant: Variant,
    alone: npt.NDArray[np.bool_],
    raw: bool,
    eps: float,
) -> Float:
    """One part's advantage: x against its group; n in the leave-one-out factor counts trajectories' worth of rows."""
    if variant == "grpo":
        result = standardised(x, classes, divide=True, eps=eps, weights=counted)
        single = x / (1.0 + eps)
    else:
        d = deviations(x, classes, weights=counted)
        n = d.weight[classes.code]
        result = d.row * (n / np.maximum(n - 1.0, 1.0)) if variant == "rloo" else d.row
        single = x
    return np.where(alone, single if raw else 0.0, result)
