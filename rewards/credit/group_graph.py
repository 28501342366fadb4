"""The state graph of a group: what its rollouts saw, as nodes and edges, for all groups at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Int
from agentgym.rewards.credit.groups import Partition, joint, partition
from agentgym.steps import StepTable

__all__ = ["GroupGraph", "group_graph"]


@dataclass(frozen=True)
class GroupGraph:
    """Nodes are (group, state), numbered in the order of their groups.

    Attributes:
        here, there: int64[n], the node before and after every step.
        block: int64[m], the group of every node.
        source, target: int64[e], the distinct transitions that are not a rollout's last.
        passages: int64[e], how often each was taken.
        last: bool[n], the last step of a rollout.
        groups: of the n steps.
    """

    here: Int
    there: Int
    block: Int
    source: Int
    target: Int
    passages: Int
    last: npt.NDArray[np.bool_]
    groups: Partition


def group_graph(steps: StepTable) -> GroupGraph:
    """The graph of a table with at least one step."""
    groups = partition(steps.group)
    # Rows alternate state before, state after: groups that lie together stay together.
    nodes = joint(
        Partition(np.repeat(groups.code, 2), groups.count), np.stack([steps.anchor, steps.next_anchor], axis=1).ravel()
    )
    here, there = nodes.code[::2], nodes.code[1::2]
    block = np.empty(nodes.count, dtype=np.int64)
    block[here] = block[there] = groups.code
    last = np.zeros(len(steps), dtype=bool)
    last[steps.ends] = True
    moves = np.flatnonzero(~last)
    edges = joint(Partition(here[moves], nodes.count), there[moves])
    source, target = np.empty(edges.count, dtype=np.int64), np.empty(edges.count, dtype=np.int64)
    source[edges.code], target[edges.code] = here[moves], there[moves]
    return GroupGraph(here, there, block, source, target, edges.size, last, groups)
