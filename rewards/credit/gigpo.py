"""GiGPO: group-in-group policy optimisation (arXiv 2505.10978).

    A_t   = v A_E(trajectory) + w A_S(step) + u A_B(step)
    A_E   = (s_i - mean_g) / (sd_g + eps)                              episodes of the group
    R_t   = sum_{k >= 0} gamma^k r_{t+k}                               inside the trajectory
    A_S   = (R_t - mean) / (sd + eps)                                  rows of the group that stand in one state
    A_B   = (R_t - mean) / (sd + eps)                                  all rows of the batch

sd is the sample standard deviation; ``normalise="mean"`` divides by neither. States are equal when their ``anchor``
is; with ``similarity`` they are texts (extra column ``text``), joined greedily: a row goes to the first cluster of its
group whose first member's `difflib` ratio reaches the threshold, in the order of the rows.

A_B is ours, and off unless asked for (v = w = 1, u = 0). Both of the paper's parts compare rollouts of one group, so a
group whose rollouts all do the same useless thing is taught nothing, for ever. Where rewards mean something by
themselves (change of progress), A_B tells it apart from useful steps elsewhere in the batch.

Departures and disagreements. The public code has three different defaults for the normalisation; ours is
"mean_std". Its episode statistics have one entry per row (``over="rows"``), the paper's one per episode (our default).
A group of one episode keeps its raw score (``single="raw"``), a state seen once gets A_S = 0, both as in the code.
``invalid_penalty`` is charged, as there, to the ungrounded row's own R_t after discounting (earlier steps do not pay)
and to that row's own episode score. Everything is float64 and equal groups give exactly 0. The default score is the
trajectory's outcome when the environment's rewards are used, and the sum of the rewards given otherwise.
"""

from __future__ import annotations

import difflib

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, Int, extra, number, one_of, step_rewards, trajectory_scores
from agentgym.rewards.credit.groups import Partition, joint, partition, standardised, suffix_sums
from agentgym.rewards.credit.grpo import Normalise, Over, Single
from agentgym.steps import StepTable

__all__ = ["assign", "episode_part", "state_groups", "step_part"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    gamma: float = 0.95,
    step_weight: float = 1.0,
    episode_weight: float = 1.0,
    batch_weight: float = 0.0,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    similarity: float | None = None,
    text: str = "observation",
    invalid_penalty: float = 0.0,
    eps: float = 1e-6,
) -> Float:
    """Episode advantage plus weighted step advantage, plus what the step is worth beside the whole batch.

    Args:
        steps: n rows, k trajectories that have steps; reads ``group``, ``anchor``, ``grounded`` and outcomes.
        rewards: float[n]; None: the environment's.
        score: float[k] episode scores, in the order of ``steps.starts``.
        gamma: discount of the step returns, in [0, 1] (0.95 in the authors' scripts).
        step_weight, episode_weight, batch_weight: w, v and u.
        normalise: "mean_std", or "mean" for no division, in all parts.
        over: what has one entry in the episode statistics.
        single: what a group of one entry gets as episode advantage.
        similarity: None: states are equal anchors; else a threshold in (0, 1) on the likeness of texts.
        text: the extra column of str that ``similarity`` compares.
        invalid_penalty: charged to rows that are not grounded (0.1 in the authors' scripts).
        eps: added to the standard deviations.

    Returns:
        float64[n].

    Raises:
        ValueError: columns not finite or of another length; an option out of range; the text column is missing.
    """
    for name, weight in (("step", step_weight), ("episode", episode_weight), ("batch", batch_weight)):
        number(f"{name}_weight", weight, -np.inf)
    episode = episode_part(
        steps,
        rewards,
        score=score,
        normalise=normalise,
        over=over,
        single=single,
        invalid_penalty=invalid_penalty,
        eps=eps,
    )
    returns = _returns(steps, rewards, gamma=gamma, invalid_penalty=invalid_penalty)
    states = state_groups(steps, similarity=similarity, text=text)
    divide = normalise == "mean_std"
    advantage = episode_weight * episode + step_weight * standardised(returns, states, divide=divide, eps=eps)
    if batch_weight and len(steps):
        whole = Partition(np.zeros(len(steps), dtype=np.int64), 1)
        advantage += batch_weight * standardised(returns, whole, divide=divide, eps=eps)
    return advantage


def episode_part(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    normalise: Normalise = "mean_std",
    over: Over = "trajectories",
    single: Single = "raw",
    invalid_penalty: float = 0.0,
    eps: float = 1e-6,
) -> Float:
    """A_E float64[n]; arguments as in `assign`."""
    one_of("normalise", normalise, ("mean", "mean_std"))
    one_of("over", over, ("trajectories", "rows"))
    one_of("single", single, ("raw", "zero"))
    number("invalid_penalty", invalid_penalty, -np.inf)
    number("eps", eps, 0.0, open_low=True)
    s = trajectory_scores(steps, rewards, score)
    if not len(steps):
        return np.zeros(0)
    divide, raw = normalise == "mean_std", single == "raw"
    groups = partition(steps.trajectory_group)
    if invalid_penalty == 0.0:
        weights = steps.lengths if over == "rows" else None
        advantage = standardised(s, groups, divide=divide, eps=eps, weights=weights, raw_singles=raw)
        return advantage[steps.segment]
    # The penalty makes scores differ inside a trajectory; its first row then stands for it, as in the public code.
    by_row = Partition(groups.code[steps.segment], groups.count)
    charged = s[steps.segment] - invalid_penalty * ~steps.grounded
    counted = np.ones(len(steps))
    if over == "trajectories":
        counted[:] = 0.0
        counted[steps.starts] = 1.0
    return standardised(charged, by_row, divide=divide, eps=eps, weights=counted, raw_singles=raw)


def step_part(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    gamma: float = 0.95,
    normalise: Normalise = "mean_std",
    similarity: float | None = None,
    text: str = "observation",
    invalid_penalty: float = 0.0,
    eps: float = 1e-6,
) -> Float:
    """A_S float64[n], not weighted; arguments as in `assign`."""
    one_of("normalise", normalise, ("mean", "mean_std"))
    number("eps", eps, 0.0, open_low=True)
    returns = _returns(steps, rewards, gamma=gamma, invalid_penalty=invalid_penalty)
    states = state_groups(steps, similarity=similarity, text=text)
    return standardised(returns, states, divide=normalise == "mean_std", eps=eps)


def state_groups(steps: StepTable, *, similarity: float | None = None, text: str = "observation") -> Partition:
    """The rows of one group that stand in one state: by anchor, or by likeness of texts."""
    if similarity is not None:
        number("similarity", similarity, 0.0, 1.0, open_low=True, open_high=True)
        groups = partition(steps.group)
        return partition(_similar(groups.code, extra(steps, text, "grouping by similarity"), similarity, text))
    return joint(partition(steps.group), steps.anchor)


def _returns(steps: StepTable, rewards: npt.ArrayLike | None, *, gamma: float, invalid_penalty: float) -> Float:
    """R_t float64[n], less the penalty of rows that are not grounded."""
    number("gamma", gamma, 0.0, 1.0)
    number("invalid_penalty", invalid_penalty, -np.inf)
    returns = suffix_sums(steps, step_rewards(steps, rewards), gamma)
    if invalid_penalty != 0.0:
        returns -= invalid_penalty * ~steps.grounded
    return returns


def _similar(group: Int, texts: npt.NDArray[np.object_], threshold: float, name: str) -> Int:
    """int64[n]: greedy first-fit clusters inside every group. Rows, not arrays: difflib compares one pair at a time."""
    # One matcher per cluster: `SequenceMatcher` keeps tables of its second text, and its ratio depends on the order.
    clusters: dict[int, list[tuple[int, difflib.SequenceMatcher[str]]]] = {}
    known: dict[tuple[int, str], int] = {}
    cluster = np.empty(len(group), dtype=np.int64)
    found = 0
    for row, (g, text) in enumerate(zip(group.tolist(), texts.tolist(), strict=True)):
        if not isinstance(text, str):
            raise ValueError(f"extra {name!r} must hold str to be compared, row {row} is a {type(text).__name__}")
        # A text seen before meets the same clusters in the same order, so it lands where it landed.
        if (g, text) not in known:
            for index, matcher in clusters.setdefault(g, []):
                matcher.set_seq1(text)
                # The quick ratios are upper bounds: they only save the exact one.
                if (
                    matcher.real_quick_ratio() >= threshold
                    and matcher.quick_ratio() >= threshold
                    and matcher.ratio() >= threshold
                ):
                    known[g, text] = index
                    break
            else:
                known[g, text] = found
                clusters[g].append((found, difflib.SequenceMatcher(None, "", text)))
                found += 1
        cluster[row] = known[g, text]
    return cluster
