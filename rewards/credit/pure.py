"""PURE: the worth of a chain of steps is its worst step (arXiv 2504.15275; NeurIPS 2025).

With p_i the process score of step i, in (-1, 1):

    r_i = softmax_i(-p / T) p_i                sums to about min_i p_i over the trajectory (T = 0.1)
    A_t = sum_{i >= t} (r_i - b_i) + verifiable part          gamma 1

The baseline b leaves the own rollout out. ``baseline="token"``: (sum of the others' outcomes / sum of the others'
tokens) times the tokens of step i, separators not counted in the step (authors' main branch, its default).
``"step"``: mean over the others of their mean reward per step (same branch). ``"padded"``: (sum of the others' summed
returns) / ((n - 1) L), taken off every return, L the padded length (authors' verl branch). ``"none"``.
The verifiable part is ``verifiable`` times the leave-one-out value of outcome - 1, on the last step.

``aggregate="min"`` is the verl branch's strict form: the return is the smallest reward still to come. As there, what
pads a shorter trajectory to L counts as zeros, so all-positive scores give 0 to all but the longest.

Departures: a group of one, and a trajectory without steps, are refused where the reference gives NaN. Scores are taken
as they are by ``temperature=None`` (weighted before); ``uniform=True`` is the reference's switched-off weighting, a
mean and not a sum.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number, one_of, step_rewards
from agentgym.rewards.credit.groups import Partition, partition, suffix_sums, whitened
from agentgym.steps import StepTable

__all__ = ["assign", "shaped", "weighted"]

Baseline = Literal["token", "step", "padded", "none"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    temperature: float | None = 0.1,
    uniform: bool = False,
    baseline: Baseline = "step",
    separator_tokens: int = 1,
    verifiable: float = 1.0,
    aggregate: Literal["sum", "min"] = "sum",
    padded_length: int | None = None,
    whiten: bool = False,
) -> Float:
    """Min-form advantages from process scores.

    Args:
        steps: n rows; reads ``group``, the outcomes (1 solved, 0 not) where ``verifiable`` is not 0, and the extra
            column ``n_tokens`` where the baseline is "token".
        rewards: float[n] process scores; None: the environment's rewards.
        temperature: T above 0, or None for scores that are weighted already.
        uniform: weigh all steps of a trajectory alike.
        baseline: see above. The default needs no token counts; the reference's is "token".
        separator_tokens: tokens of ``n_tokens`` that end a step and do not belong to it.
        verifiable: weight of the outcome (1 in the paper's best run, 0 for process scores alone).
        aggregate: "sum" of the weighted rewards to come, or the strict "min".
        padded_length: L in rows, for "padded" and "min"; None: the longest trajectory.
        whiten: bring the batch to mean 0 and variance 1.

    Returns:
        float64[n].

    Raises:
        ValueError: columns not finite or of another length; a group of one; a trajectory without steps; an option out
            of range.
    """
    one_of("aggregate", aggregate, ("sum", "min"))
    longest = int(steps.lengths.max(initial=0))
    length = longest if padded_length is None else padded_length
    number("padded_length", length, longest)
    reward = shaped(
        steps,
        rewards,
        temperature=temperature,
        uniform=uniform,
        baseline="none" if baseline == "padded" else baseline,
        separator_tokens=separator_tokens,
        verifiable=verifiable,
    )
    if not len(steps):
        return reward
    if aggregate == "sum":
        returns = suffix_sums(steps, reward, 1.0)
    else:
        returns = _suffix_minima(steps, reward)
        returns = np.where((steps.lengths < length)[steps.segment], np.minimum(returns, 0.0), returns)
    if baseline == "padded":
        groups = _compared(steps)
        total = np.add.reduceat(returns, steps.starts)
        others = groups.totals(total)[groups.code] - total
        returns = returns - (others / ((groups.size[groups.code] - 1) * length))[steps.segment]
    return whitened(returns, np.ones(len(steps))) if whiten else returns


def shaped(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    temperature: float | None = 0.1,
    uniform: bool = False,
    baseline: Literal["token", "step", "none"] = "step",
    separator_tokens: int = 1,
    verifiable: float = 1.0,
) -> Float:
    """float64[n]: what every step itself is paid, r_i - b_i and the verifiable part; arguments as in `assign`."""
    one_of("baseline", baseline, ("token", "step", "padded", "none"))
    number("verifiable", verifiable, -np.inf)
    reward = weighted(steps, rewards, temperature=temperature, uniform=uniform)
    bare = np.setdiff1d(steps.trajectories.id, steps.trajectory)
    if bare.size:
        raise ValueError(f"trajectory {bare[0]} has no steps, so no worst step; drop it with steps.only(...)")
    if not len(steps) or (baseline == "none" and verifiable == 0.0):
        return reward
    groups = _compared(steps)
    outcome = np.add.reduceat(reward, steps.starts)
    if baseline == "token":
        tokens = finite("n_tokens", extra(steps, "n_tokens", "PURE's token baseline"), (len(steps),))
        spent = np.add.reduceat(tokens, steps.starts)
        per_token = (groups.totals(outcome)[groups.code] - outcome) / (groups.totals(spent)[groups.code] - spent)
        if not np.isfinite(per_token).all():
            row = steps.starts[np.flatnonzero(~np.isfinite(per_token))[0]]
            raise ValueError(f"the other rollouts of group {steps.group[row]} have no tokens; check 'n_tokens'")
        reward = reward - per_token[steps.segment] * (tokens - separator_tokens)
    elif baseline == "step":
        reward = reward - _mean_of_others(groups, outcome / steps.lengths)[steps.segment]
    if verifiable != 0.0:
        failed = finite("outcome", steps.outcome, (len(steps.starts),)) - 1.0
        reward = reward.copy()
        reward[steps.ends] += verifiable * (failed - _mean_of_others(groups, failed))
    return reward


def weighted(
    steps: StepTable, rewards: npt.ArrayLike | None = None, *, temperature: float | None = 0.1, uniform: bool = False
) -> Float:
    """float64[n]: r_i = softmax_i(-p / T) p_i inside every trajectory; arguments as in `assign`."""
    p = step_rewards(steps, rewards)
    if uniform:
        return p / steps.lengths[steps.segment] if len(p) else p
    if temperature is None or not len(p):
        return p
    number("temperature", temperature, 0.0, open_low=True)
    lowest = np.minimum.reduceat(p, steps.starts)
    weight = np.exp((lowest[steps.segment] - p) / temperature)
    return p * weight / np.add.reduceat(weight, steps.starts)[steps.segment]


def _compared(steps: StepTable) -> Partition:
    groups = partition(steps.trajectory_group)
    alone = np.flatnonzero(groups.size[groups.code] < 2)
    if alone.size:
        raise ValueError(
            f"PURE compares a rollout with the others of its group, group {steps.trajectory_group[alone[0]]} "
            f"(row {steps.starts[alone[0]]}) has one; drop it, or use baseline='none' and verifiable=0"
        )
    return groups


def _mean_of_others(groups: Partition, values: Float) -> Float:
    return (groups.totals(values)[groups.code] - values) / (groups.size[groups.code] - 1)


def _suffix_minima(steps: StepTable, values: Float) -> Float:
    """float64[n]: the least of the values still to come in the trajectory, this one included."""
    least = values.copy()
    left = steps.ends[steps.segment] - np.arange(len(values))
    window, longest = 1, int(steps.lengths.max())
    while window < longest:
        least[:-window] = np.where(
            left[:-window] >= window, np.minimum(least[:-window], least[window:]), least[:-window]
        )
        window *= 2
    return least
