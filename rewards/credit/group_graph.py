"""State graphs: what rollouts saw, as nodes and edges, for all groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Int
from agentgym.rewards.credit.groups import Partition, dense, joint, partition
from agentgym.steps import StepTable

__all__ = ["GroupGraph", "group_graph", "interleaved", "state_graph"]


@dataclass(frozen=True)
class GroupGraph:
    """Nodes are (group, state), numbered in the order of their groups; groups may be any classes of rollouts.

    Attributes:
        here, there: int64[n], the node before and after every step.
        block: int64[m], ascending: the group of every node.
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


def interleaved(before: npt.NDArray[Any], after: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[2n]: the state before every step and, next to it, the state after; groups that lie together stay together."""
    return np.stack([before, after], axis=1).ravel()


def group_graph(steps: StepTable) -> GroupGraph:
    """The graph of a table with at least one step; states are anchors, and each group has its own."""
    groups = partition(steps.group)
    states = Partition(np.repeat(groups.code, 2), groups.count)
    return state_graph(steps, groups, joint(states, interleaved(steps.anchor, steps.next_anchor)))


def state_graph(steps: StepTable, groups: Partition, nodes: Partition) -> GroupGraph:
    """The graph of given states.

    Args:
        steps: n rows, at least one.
        groups: of the rows; no step leads from one to another.
        nodes: of the 2n states (see `interleaved`), numbered in the order of ``groups``.
    """
    here, there = nodes.code[::2], nodes.code[1::2]
    block = np.empty(nodes.count, dtype=np.int64)
    block[here] = block[there] = groups.code
    last = np.zeros(len(steps), dtype=bool)
    last[steps.ends] = True
    moves = np.flatnonzero(~last)
    edges = dense(Partition(here[moves], nodes.count), there[moves], nodes.count)
    source, target = np.empty(edges.count, dtype=np.int64), np.empty(edges.count, dtype=np.int64)
    source[edges.code], target[edges.code] = here[moves], there[moves]
    return GroupGraph(here, there, block, source, target, edges.size, last, groups)
