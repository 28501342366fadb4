"""HTD: hierarchical temporal difference. GTD's values at four levels of state abstraction, partially pooled. Ours.

    V_k(x) = [R_x + g sum_y N_xy V_k(y) + kappa P_k(x)] / (N_x + kappa)     as in `gtd`, for the states x of level k
    P_k(x) = the mean of V_(k-1) over what x stands for

| level | states | pooled over |
|---|---|---|
| 0 | V_0 = goal rho^(1 - phi), rho = (scores / goal + 1/2) / (rollouts + 1) | one environment's rollouts |
| 1 | milestones and the bin of progress, min(floor(bins phi), bins) | one environment's rollouts |
| 2 | milestones and progress itself | the group |
| 3 | congruent anchors (see `congruence`) | the group |
| 4 | congruent anchors | groups that share states; ``across=False``: left out |

phi is progress, a score the sum of a rollout's rewards. The value V is the mean of levels 2 to 4; the advantage is
TD(lambda) on it: A_t = sum_k lambda^k delta_(t+k), delta_t = r_t + V(x_(t+1)) - V(x_t), with next value 0 after
termination and kept after a cut; and, last, its mean over all steps that took one action in one state of level 4. The
last transition of a rollout that was cut off is in no graph, as in GTD.

Why so. Level 0 makes a critic of progress whose one parameter is the success rate (every step of progress is survived
with one probability): all that eight rollouts can fit. Level 1 learns from the batch what progress is worth, also that
it is worth nothing or the reverse of what it says; level 2 keeps its shape inside a bin. Levels 3 and 4 know what
progress does not say, and fold the states that a nuisance in the anchor has split. A thin state falls back on the
coarser one above it. The mean of the levels is a hedge: which is nearest the truth depends on the world. The mean over
equal actions in equal states changes nothing inside a group, whose gradient sums them anyway; over groups that share
states it takes out what the world and the rest of a rollout happened to add.

Two things to know. rho is never 0, so where all rollouts fail, states that are seldom visited are worth more than
others: a count-based bonus; it helps on exact tasks and is a heuristic. And level 4 takes equal anchors in two groups
for one state: where a group's goal is hidden from its anchors, set ``across=False``.

Figures, also of where it is behind, are in docs/fidelity.md.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, number, step_rewards
from agentgym.rewards.credit.congruence import congruent
from agentgym.rewards.credit.group_graph import GroupGraph, contracted, interleaved, state_graph
from agentgym.rewards.credit.groups import Partition, dense, joint_runs, partition, suffix_sums
from agentgym.rewards.credit.gtd import discount, fixed_point
from agentgym.steps import StepTable

__all__ = ["assign", "state_values"]

_GRAIN = 1e9
"""Progresses are equal where they round to the same multiple of 1 / _GRAIN."""


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    lam: float = 0.5,
    kappa: float = 1.0,
    bins: int = 10,
    goal: float = 1.0,
    across: bool = True,
    horizon: int | None = None,
    block: int = 1 << 20,
    average: bool = True,
    normalise: bool = False,
) -> Float:
    """Temporal-difference advantages under partially pooled values.

    Args:
        steps: n rows; reads ``group``, ``anchor``, ``next_anchor``, ``action``, ``t``, ``terminated``, milestones and
            progress before and after, and the trajectories' ``env``.
        rewards: float[n]; None: the environment's.
        lam: lambda in [0, 1].
        kappa: visits that the coarser level counts for, above 0.
        bins: of progress, at level 1.
        goal: what success is worth, above 0, in units of reward.
        across: groups that share anchors share states.
        horizon: H in steps; None: as in `gtd.assign`.
        block: a batch of more steps than this is credited in parts of whole groups that hold about so many, so that
            time is linear and memory bounded; nothing is pooled over two parts.
        average: an action in a state is credited with its mean over all steps that took it there.
        normalise: divide by the root mean square over the batch.

    Returns:
        float64[n], in units of reward unless normalised.

    Raises:
        ValueError: rewards not finite or of another length; an option out of range.
    """
    number("lam", lam, 0.0, 1.0)
    reward = step_rewards(steps, rewards)
    before, after, states = _solved(steps, reward, kappa, bins, goal, across, horizon, block)
    advantage = suffix_sums(steps, reward + after - before, lam)
    if average:
        action = partition(steps.action)
        taken = dense(states, action.code, action.count)
        advantage = (taken.totals(advantage) / taken.size)[taken.code]
    if normalise and len(advantage):
        size = np.sqrt(np.mean(advantage**2))
        if size > 0.0:
            advantage /= size
    return advantage


def state_values(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    kappa: float = 1.0,
    bins: int = 10,
    goal: float = 1.0,
    across: bool = True,
    horizon: int | None = None,
    block: int = 1 << 20,
) -> tuple[Float, Float]:
    """V of the state before and after every step, float64[n] each; 0 after termination. Arguments as in `assign`."""
    before, after, _ = _solved(steps, step_rewards(steps, rewards), kappa, bins, goal, across, horizon, block)
    return before, after


def _solved(
    steps: StepTable,
    reward: Float,
    kappa: float,
    bins: int,
    goal: float,
    across: bool,
    horizon: int | None,
    block: int,
) -> tuple[Float, Float, Partition]:
    """`state_values`, and the states before every step at the last level."""
    number("kappa", kappa, 0.0, open_low=True)
    number("bins", bins, 1)
    number("goal", goal, 0.0, open_low=True)
    if horizon is not None:
        number("horizon", horizon, 1)
    number("block", block, 1)
    if not len(steps):
        return np.zeros(0), np.zeros(0), partition(steps.anchor)
    g = discount(steps, horizon)
    if len(steps) <= block:
        return _values(steps, reward, kappa, int(bins), goal, across, g)
    before, after, code, count = np.empty(len(steps)), np.empty(len(steps)), np.empty(len(steps), dtype=np.int64), 0
    groups = partition(steps.group)
    part = ((np.cumsum(groups.size) - 1) // block)[groups.code]
    for k in range(int(part.max()) + 1):
        rows = part == k
        if rows.any():
            before[rows], after[rows], states = _values(steps[rows], reward[rows], kappa, int(bins), goal, across, g)
            code[rows] = count + states.code
            count += states.count
    return before, after, Partition(code, count)


def _values(
    steps: StepTable, reward: Float, kappa: float, bins: int, goal: float, across: bool, g: float
) -> tuple[Float, Float, Partition]:
    """`_solved` of at least one step, in one part."""

    def level(graph: GroupGraph, nodes: Partition, prior: Float) -> Float:
        """float64[2n]: the values of one level, spread over the states they are of."""
        p = nodes.totals(prior) / nodes.size
        return fixed_point(graph, steps, reward, p, kappa, g)[nodes.code]

    progress = interleaved(steps.progress_before, steps.progress)
    milestones = interleaved(steps.milestones_before, steps.milestones)
    families = Partition(*_families(steps))
    folded = congruent(steps)
    # A progress of 1 - 8/10 is a rounding error below 0.2 and belongs to its bin.
    binned = np.clip(np.floor(bins * progress + 1e-9), 0, bins).astype(np.int64)
    exact = np.round(progress * _GRAIN).astype(np.int64)
    value = _believed(steps, reward, families, progress, goal)
    coarse = joint_runs(_twice(families), milestones)
    states = dense(coarse, binned, bins + 1)
    value = level(state_graph(steps, families, states), states, value)
    states = joint_runs(joint_runs(_twice(folded.groups), milestones), exact)
    value = level(state_graph(steps, folded.groups, states), states, value)
    levels = [value]
    graph = state_graph(steps, folded.groups, folded.own)
    value = level(graph, folded.own, value)
    levels.append(value)
    if across:
        wider = np.empty(folded.own.count, dtype=np.int64)
        wider[folded.own.code] = folded.across.code
        graph = contracted(graph, folded.linked, Partition(wider, folded.across.count))
        levels.append(level(graph, folded.across, value))
    value = np.mean(levels, axis=0)
    last = folded.across if across else folded.own
    states = Partition(last.code[::2], last.count)
    return value[::2], np.where(steps.terminated, 0.0, value[1::2]), states


def _families(steps: StepTable) -> tuple[npt.NDArray[np.int64], int]:
    """The environment of every step, as a class, and how many there are."""
    named = partition(steps.trajectories.env[steps.trajectory_rows])
    return np.repeat(named.code, steps.lengths), named.count


def _twice(groups: Partition) -> Partition:
    """The classes of rows, for the states before and after them."""
    return Partition(np.repeat(groups.code, 2), groups.count)


def _believed(steps: StepTable, reward: Float, families: Partition, progress: Float, goal: float) -> Float:
    """float64[2n]: level 0."""
    of = Partition(families.code[steps.starts], families.count)
    rate = (of.totals(np.add.reduceat(reward, steps.starts)) / goal + 0.5) / (of.size + 1.0)
    # Rewards may be negative or exceed the goal; a rate may not.
    rate = np.clip(rate, 0.5 / (of.size + 1.0), 1.0)
    found: Float = goal * np.repeat(rate[families.code], 2) ** (1.0 - np.clip(progress, 0.0, 1.0))
    return found
