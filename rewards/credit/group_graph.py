"""State graphs: what rollouts saw, as nodes and edges, for all groups at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Int
from agentgym.rewards.credit.groups import Partition, joint, partition
from agentgym.steps import StepTable

__all__ = ["GroupGraph", "contracted", "group_graph", "interleaved", "state_graph"]


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
    source, target, passages = _edges(here[~last], there[~last], nodes.count)
    return GroupGraph(here, there, block, source, target, passages, last, groups)


def contracted(graph: GroupGraph, groups: Partition, nodes: Partition) -> GroupGraph:
    """The graph of coarser states: ``nodes`` of the m nodes of ``graph``, numbered in the order of ``groups``."""
    block = np.empty(nodes.count, dtype=np.int64)
    here, there = nodes.code[graph.here], nodes.code[graph.there]
    block[here] = block[there] = groups.code
    source, target, passages = _edges(nodes.code[graph.source], nodes.code[graph.target], nodes.count, graph.passages)
    return GroupGraph(here, there, block, source, target, passages, graph.last, groups)


def _edges(source: Int, target: Int, nodes: int, times: Int | None = None) -> tuple[Int, Int, Int]:
    """Distinct pairs, ascending, and how often each is there; every pair counts ``times`` where given."""
    key = source * nodes + target
    if nodes * nodes <= 4 * len(key):
        count = np.bincount(key, times, nodes * nodes).astype(np.int64)
        found = np.flatnonzero(count)
        return found // nodes, found % nodes, count[found]
    if times is None:
        key.sort()
    else:
        order = np.argsort(key, kind="stable")
        key, times = key[order], times[order]
    begins = np.flatnonzero(np.append(True, key[1:] != key[:-1])[: len(key)])
    passages = np.diff(np.append(begins, len(key))) if times is None else np.add.reduceat(times, begins)
    source, target = np.divmod(key[begins], nodes)
    return source, target, passages
