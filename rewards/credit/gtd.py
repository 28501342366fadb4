"""GTD and GTDP: temporal difference on the group's own state graph, with a prior. Ours.

For the rollouts of one task, with x an anchor, phi progress and r the rewards (1 on the step into success):

    V(x) = [R_x + g sum_y N_xy V(y) + kappa P(x)] / (N_x + kappa)        g = 1 - 1/H
    A_t  = sum_k lambda^k delta_{t+k},  delta_t = r_t + V(x_{t+1}) - V(x_t)

N_xy counts transitions, R_x sums the rewards met in x, N_x counts steps out of x including those into success or
death. The final transition of a rollout that was cut off is dropped: where a time-out leads says nothing of value. The
next value is 0 after termination and kept after a cut. P is the prior:

- ``"mean"`` (GTD): the group's mean score everywhere.
- ``"calibrated"`` (GTDP): bin k = min(floor(bins phi), bins), pooled over the batch; P_k = (s_k + c m) / (n_k + c),
  n_k rollouts that ever stand in the bin (final state excluded), s_k their summed scores, m the batch's mean score.
- ``"progress"`` (for cold starts): the same with m = k / bins.

V is solved exactly (see `affine`), per group, all groups at once. Cosine of one group's gradient with the exact policy
gradient on grids that were named before anything ran on them (docs/fidelity.md): GTD 0.64, GTDP 0.77, GiGPO 0.44.
Two caveats measured there: much of GTDP's figure comes from pooling the prior over a batch (one group alone:
0.67, below GAE on exact progress), and where anchors seldom repeat both fall behind plain progress. What is new beside
GAGPO (arXiv 2605.13217), G2PO (2606.22995), GraphGPO (2605.26684) and RewardFlow are the shrunk fixed point, the rule
for time-outs and the prior calibrated from progress.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit import affine
from agentgym.rewards.credit.checks import Float, number, one_of, step_rewards
from agentgym.rewards.credit.group_graph import GroupGraph, group_graph
from agentgym.rewards.credit.groups import Partition, suffix_sums
from agentgym.steps import StepTable

__all__ = ["Prior", "assign", "discount", "fixed_point", "state_values"]

Prior = Literal["mean", "calibrated", "progress"]


def assign(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    prior: Prior = "mean",
    lam: float = 0.5,
    kappa: float = 0.3,
    prior_count: float = 1.0,
    bins: int = 10,
    horizon: int | None = None,
    normalise: bool = False,
) -> Float:
    """Temporal-difference advantages under the group's own values.

    Args:
        steps: n rows; reads ``group``, ``anchor``, ``next_anchor``, ``terminated`` and, for priors other than
            "mean", ``progress_before`` and ``progress``.
        rewards: float[n]; None: the environment's.
        prior: what unvisited states are worth.
        lam: lambda in [0, 1]; 0 trusts V, towards 1 the rollout's own return (0 to 0.5 measured best).
        kappa: visits that the prior counts for, above 0.
        prior_count: c, rollouts that the batch's mean counts for in a bin, above 0.
        bins: of progress.
        horizon: H in steps; None: the longest horizon of the trajectories, or where none is recorded the longest
            trajectory.
        normalise: divide by the root mean square over the batch.

    Returns:
        float64[n], in units of reward unless normalised.

    Raises:
        ValueError: rewards not finite or of another length; an option out of range.
    """
    number("lam", lam, 0.0, 1.0)
    reward = step_rewards(steps, rewards)
    before, after = state_values(
        steps, reward, prior=prior, kappa=kappa, prior_count=prior_count, bins=bins, horizon=horizon
    )
    advantage = suffix_sums(steps, reward + after - before, lam)
    if normalise and len(advantage):
        size = np.sqrt(np.mean(advantage**2))
        if size > 0.0:
            advantage /= size
    return advantage


def state_values(
    steps: StepTable,
    rewards: npt.ArrayLike | None = None,
    *,
    prior: Prior = "mean",
    kappa: float = 0.3,
    prior_count: float = 1.0,
    bins: int = 10,
    horizon: int | None = None,
) -> tuple[Float, Float]:
    """V of the state before and after every step, float64[n] each; 0 after termination. Arguments as in `assign`."""
    one_of("prior", prior, ("mean", "calibrated", "progress"))
    number("kappa", kappa, 0.0, open_low=True)
    number("prior_count", prior_count, 0.0, open_low=True)
    number("bins", bins, 1)
    if horizon is not None:
        number("horizon", horizon, 1)
    reward = step_rewards(steps, rewards)
    n = len(steps)
    if not n:
        return np.zeros(0), np.zeros(0)
    graph = group_graph(steps)
    here, there = graph.here, graph.there
    p_here, p_there = _priors(steps, reward, graph.groups, prior, prior_count, int(bins))
    p = np.empty(len(graph.block))
    p[there] = p_there
    p[here] = p_here
    value = fixed_point(graph, steps, reward, p, kappa, discount(steps, horizon))
    return value[here], np.where(steps.terminated, 0.0, value[there])


def fixed_point(graph: GroupGraph, steps: StepTable, reward: Float, prior: Float, kappa: float, g: float) -> Float:
    """float64[m]: V of every node (the module's first formula).

    Args:
        graph: of ``steps``, m nodes.
        reward: float64[n].
        prior: float64[m], P.
        kappa: above 0. g: in [0, 1).
    """
    counted = ~graph.last | steps.terminated
    visits = np.bincount(graph.here, weights=counted, minlength=len(prior))
    earned = np.bincount(graph.here, weights=np.where(counted, reward, 0.0), minlength=len(prior))
    constant = (earned + kappa * prior) / (visits + kappa)
    weight = g * graph.passages / (visits[graph.source] + kappa)
    return affine.solve(graph.block, graph.source, graph.target, weight, constant)


def discount(steps: StepTable, horizon: int | None) -> float:
    """g = 1 - 1/H; H as in `assign`."""
    return 1.0 - 1.0 / (horizon or _horizon(steps))


def _horizon(steps: StepTable) -> int:
    return int(steps.trajectories.horizon.max(initial=0)) or int(steps.lengths.max())


def _priors(
    steps: StepTable, reward: Float, groups: Partition, prior: Prior, count: float, bins: int
) -> tuple[Float, Float]:
    """P of the state before and after every step."""
    score = np.add.reduceat(reward, steps.starts)
    if prior == "mean":
        members = Partition(groups.code[steps.starts], groups.count)
        p = (members.totals(score) / members.size)[groups.code]
        return p, p
    # A progress of 1 - 8/10 is a rounding error below 0.2 and belongs to its bin.
    bin_here = np.clip(np.floor(bins * steps.progress_before + 1e-9), 0, bins).astype(np.int64)
    bin_there = np.clip(np.floor(bins * steps.progress + 1e-9), 0, bins).astype(np.int64)
    visited = np.unique(steps.segment * (bins + 1) + bin_here)
    segment, bin_ = visited // (bins + 1), visited % (bins + 1)
    rollouts = np.bincount(bin_, minlength=bins + 1)
    scores = np.bincount(bin_, weights=score[segment], minlength=bins + 1)
    toward = np.arange(bins + 1) / bins if prior == "progress" else np.full(bins + 1, score.mean())
    table = (scores + count * toward) / (rollouts + count)
    return table[bin_here], table[bin_there]
