"""PORTool: credit on a tree of rollouts (after arXiv 2510.26020; weights and decay are ours).

Rollouts that branch off share their parents' steps (columns ``parent`` and ``parent_t``). Every trajectory ends in a
leaf. For a step, with the leaves below it:

    V          = mean outcome of the leaves
    trajectory = mean of the leaves' GRPO advantages                       equal to the own one where nothing branches
    fork       = V - mean V over the steps taken from the same state of the tree     0 where it is the only one
    A          = trajectory + fork_weight * fork

Rollouts of a group without a parent start from one common root.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import grpo
from agentgym.rewards.credit.checks import Float, Int, number, trajectory_scores
from agentgym.rewards.credit.groups import deviations, partition, suffix_sums
from agentgym.steps import StepTable

__all__ = ["assign", "leaf_means"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    score: npt.ArrayLike | None = None,
    fork_weight: float = 1.0,
    normalise: grpo.Normalise = "mean_std",
    single: grpo.Single = "raw",
    eps: float = 1e-6,
) -> Float:
    """Trajectory-relative plus fork-relative advantages, float64[n].

    Args:
        steps: n rows, k trajectories that have steps; reads ``parent`` and ``parent_t``.
        rewards: float[n]; when given, a leaf's score is the sum over its trajectory's own rows; None: its ``outcome``.
        score: float[k] leaf scores, in the order of ``steps.starts``; overrides both.
        fork_weight: of the fork-relative part.
        normalise, single, eps: of the trajectory part, as in `grpo.assign`.

    Raises:
        ValueError: a parent is missing or a cycle; scores not finite or of another length.
    """
    number("fork_weight", fork_weight, -np.inf)
    s = trajectory_scores(steps, rewards, score)
    advantage = grpo.assign(steps, score=s, normalise=normalise, single=single, eps=eps)
    if not len(steps):
        return advantage
    branch_row = _branch_rows(steps)
    value, trajectory = leaf_means(steps, np.stack([s, advantage[steps.starts]], axis=1), branch_row).T
    # A step's origin: the row before it, the row it branched from, or the root of its group (below all rows).
    origin = np.arange(-1, len(steps) - 1)
    origin[steps.starts] = np.where(branch_row >= 0, branch_row, -2 - partition(steps.trajectory_group).code)
    return np.asarray(trajectory + fork_weight * deviations(value, partition(origin)).row)


def leaf_means(steps: StepTable, leaves: Float, branch_row: Int | None = None) -> Float:
    """float64[n, c]: for every row the mean over the leaves below it of ``leaves`` float64[k, c]."""
    branch_row = _branch_rows(steps) if branch_row is None else branch_row
    k, width = leaves.shape
    sums = np.concatenate([leaves, np.ones((k, 1))], axis=1)
    rows = sums[steps.segment]  # a trajectory's own leaf is below all its rows
    pending = branch_row >= 0
    parents = np.where(pending, steps.segment[branch_row], -1)
    while pending.any():
        # Trajectories from which nothing branches any more are complete; their sums go to where they branched off.
        waiting = np.zeros(k, dtype=bool)
        waiting[parents[pending]] = True
        ready = np.flatnonzero(pending & ~waiting)
        arrivals = np.zeros_like(rows)
        np.add.at(arrivals, branch_row[ready], rows[steps.starts[ready]])
        for c in range(width + 1):
            rows[:, c] += suffix_sums(steps, arrivals[:, c], 1.0)
        pending[ready] = False
    return np.asarray(rows[:, :width] / rows[:, width:])


def _branch_rows(steps: StepTable) -> Int:
    """int64[k]: the row after which every trajectory branched off, -1 for a root."""
    ids = steps.trajectory[steps.starts]
    parent, at = steps.parent[steps.starts], steps.parent_t[steps.starts].astype(np.int64)
    known = np.searchsorted(ids, parent)
    missing = (parent != -1) & ((known >= len(ids)) | (ids[np.minimum(known, len(ids) - 1)] != parent))
    if missing.any():
        which = np.flatnonzero(missing)[0]
        raise ValueError(f"trajectory {ids[which]} branches from trajectory {parent[which]}, which has no steps here")
    segment = np.where(parent == -1, -1, known)
    key = steps.segment * 2**32 + steps.t
    for _ in range(len(ids) + 1):
        row = np.searchsorted(key, segment * 2**32 + at, side="right") - 1
        # A branch from before its parent's first step branches from where the parent did.
        early = (segment >= 0) & (row < steps.starts[np.maximum(segment, 0)])
        if not early.any():
            break
        through = segment[early]
        segment[early], at[early] = (
            np.where(parent[through] == -1, -1, known[through]),
            steps.parent_t[steps.starts][through],
        )
    row = np.where(segment < 0, -1, row)
    _refuse_cycles(ids, np.where(row >= 0, steps.segment[row], -1))
    return row


def _refuse_cycles(ids: Int, parents: Int) -> None:
    above = parents.copy()
    for _ in range(max(1, int(np.ceil(np.log2(len(ids) + 1)))) + 1):
        above = np.where(above >= 0, above[np.maximum(above, 0)], -1)
        if (above < 0).all():
            return
    raise ValueError(f"trajectory {ids[np.flatnonzero(above >= 0)[0]]} is its own ancestor; check 'parent'")
