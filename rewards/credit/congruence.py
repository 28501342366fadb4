"""Which states are one although their anchors differ? Congruent states: what the same action leads to is the same.

An anchor that takes in a nuisance (a clock, an advertisement, the order of a list) splits one state into many, and
states stop repeating. But in a world that rolls no dice, one action in one state has one result. So from states known
to be one (the starts of a group's rollouts, and equal anchors) it follows that their successors by equal actions are
one, and so on: the congruence closure of the evidence (Nelson & Oppen 1980; as states are merged in the inference of
automata). Rollouts of a group in which hardly a state was seen twice often fold into a small graph.

Three rules keep it honest:

- Successors are merged only where what was seen agrees: their progress, and whether the episode ended.
- Where anchors repeat it is not used: if more than half of the repeated (anchor, action) pairs of a group lead to the
  same next anchor (and there are `EVIDENCE` comparisons), its anchors are states already.
- It is refused for a group where it refutes itself: pairs (class, action) disagree on whether the episode ended more
  than half as often as pairs that share the action alone; or fewer classes are left than half the shortest success
  has steps. So are worlds that roll dice noticed, mostly: where nothing ends and nothing shows, a wrong merge stays.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, Int
from agentgym.rewards.credit.group_graph import interleaved
from agentgym.rewards.credit.groups import Partition, dense, joint, joint_runs, partition
from agentgym.steps import StepTable

__all__ = ["EVIDENCE", "Congruence", "congruent"]

Bool = npt.NDArray[np.bool_]

EVIDENCE = 8
"""Comparisons of repeated (anchor, action) pairs below which a group's anchors are not taken for states."""

_GRAIN = 1e9
"""Progresses are equal where they round to the same multiple of 1 / _GRAIN."""


@dataclass(frozen=True)
class Congruence:
    """States of n steps, before and after each: 2n, interleaved.

    Attributes:
        own: states told apart inside groups, numbered in the order of ``groups``.
        groups: of the n steps.
        across: the same with states shared by groups, numbered in the order of ``linked``.
        linked: of the n steps: groups that share a state.
    """

    own: Partition
    groups: Partition
    across: Partition
    linked: Partition


@dataclass(frozen=True)
class _Nodes:
    """Anchors inside groups: ``code`` int64[2n], and of every node its group and its anchor's number."""

    code: Int
    group: Int
    anchor: Partition


@dataclass(frozen=True)
class _Moves:
    """Rows as the closure sees them: ``code`` int64[n] of (action, what was seen after it), ``count`` of codes."""

    code: Int
    count: int
    action: Partition
    roots: Int
    """int64[r]: rows that begin an episode."""
    start: Int
    """int64[r]: equal where these begin in one state."""


def congruent(steps: StepTable) -> Congruence:
    """Fold the states of a table with at least one step."""
    groups = partition(steps.group)
    nodes = _nodes(steps, groups)
    action = partition(steps.action)
    folding = ~_repeat(nodes, action, groups)
    own = np.arange(len(nodes.group))
    across = nodes.anchor.code
    if folding.any():
        moves = _moves(steps, groups, action)
        parent = own.copy()
        _begin_as_one(parent, nodes, moves, folding[groups.code])
        rows = _closure(parent, own, nodes.code, moves, np.flatnonzero(folding[groups.code]))
        own = parent
        folding &= ~_refuted(steps, nodes, own, action, groups, folding)
        own = np.where(folding[nodes.group], own, np.arange(len(own)))
        folded = _folded_across(nodes, own, moves, folding, rows[folding[groups.code[rows]]])
        # Groups that are not folded keep their anchors, and share those.
        across = np.where(folding[nodes.group], folded, nodes.anchor.count + across)
        own_only = folding & _refuted(steps, nodes, across, action, groups, folding)
        across = np.where(own_only[nodes.group], 2 * nodes.anchor.count + own, across)
    within = _renumbered(own)  # named by nodes, whose numbers are in the order of the groups
    shared = _renumbered(across)
    linked = _linked(nodes, shared, groups.count)
    everywhere = _in_order(shared, linked.code[nodes.group])
    return Congruence(
        Partition(within.code[nodes.code], within.count),
        groups,
        Partition(everywhere.code[nodes.code], everywhere.count),
        Partition(linked.code[groups.code], linked.count),
    )


def _renumbered(names: Int) -> Partition:
    """Classes by name, not far above their number, numbered in the order of their names."""
    used = np.zeros(int(names.max()) + 1, dtype=np.bool_)
    used[names] = True
    number = np.cumsum(used) - 1
    return Partition(number[names], int(number[-1]) + 1)


def _in_order(classes: Partition, of: Int) -> Partition:
    """The same classes, numbered in the order of what they are of."""
    owner = np.empty(classes.count, dtype=np.int64)
    owner[classes.code] = of
    if np.all(owner[1:] >= owner[:-1]):
        return classes
    number = np.empty(classes.count, dtype=np.int64)
    number[np.argsort(owner, kind="stable")] = np.arange(classes.count)
    return Partition(number[classes.code], classes.count)


def _begin_as_one(parent: Int, nodes: _Nodes, moves: _Moves, evidence: Bool) -> None:
    """Makes the starts of a group's rollouts one, in place."""
    roots = evidence[moves.roots]
    first, start = nodes.code[::2][moves.roots[roots]], moves.start[roots]
    lead = np.zeros(int(start.max(initial=0)) + 1, dtype=np.int64)
    lead[start] = first
    _merge(parent, first, lead[start])


def _folded_across(nodes: _Nodes, own: Int, moves: _Moves, folding: Bool, rows: Int) -> Int:
    """int64[nodes]: the classes of the groups that are folded, all together; what is one inside a group stays one.

    Args:
        own: int64[nodes], the classes inside groups, each named by a node in it.
        rows: those that the folding inside groups left: one of each class and move.
    """
    parent = np.arange(nodes.anchor.count)
    mine = np.flatnonzero(folding[nodes.group])
    _merge(parent, nodes.anchor.code[mine], nodes.anchor.code[own[mine]])
    _closure(parent, nodes.anchor.code, nodes.code, moves, rows)
    found: Int = parent[nodes.anchor.code]
    return found


def _nodes(steps: StepTable, groups: Partition) -> _Nodes:
    anchors = interleaved(steps.anchor, steps.next_anchor)
    twice = np.repeat(groups.code, 2)
    found = joint_runs(Partition(twice, groups.count), anchors)
    group, anchor = np.empty(found.count, dtype=np.int64), np.empty(found.count, dtype=np.int64)
    group[found.code], anchor[found.code] = twice, anchors
    return _Nodes(found.code, group, partition(anchor))


def _linked(nodes: _Nodes, states: Partition, groups: int) -> Partition:
    """Of the groups: those that share states, directly or through others, are one."""
    first = np.zeros(states.count, dtype=np.int64)
    first[states.code] = nodes.group
    ends, component = _components(nodes.group, first[states.code])
    of_group = np.arange(groups)
    of_group[ends] = component
    return partition(of_group)


def _moves(steps: StepTable, groups: Partition, action: Partition) -> _Moves:
    seen = np.round(np.clip(interleaved(steps.progress_before, steps.progress), -1.0, 2.0) * _GRAIN).astype(np.int64)
    moves = joint(action, 2 * seen[1::2] + steps.terminated)
    roots = steps.starts[steps.t[steps.starts] == 0]
    start = joint(Partition(groups.code[roots], groups.count), seen[::2][roots])
    return _Moves(moves.code, moves.count, action, roots, start.code)


def _repeat(nodes: _Nodes, action: Partition, groups: Partition) -> Bool:
    """bool[groups]: anchors are states already."""
    here, there = nodes.code[::2], nodes.code[1::2]
    taken = dense(Partition(here, len(nodes.group)), action.code, action.count)
    led = joint(taken, there)
    comparisons = groups.totals(_others(taken))
    agreed = groups.totals(_others(led))
    found: Bool = (comparisons >= EVIDENCE) & (agreed > 0.5 * comparisons)
    return found


def _refuted(steps: StepTable, nodes: _Nodes, state: Int, action: Partition, groups: Partition, folding: Bool) -> Bool:
    """bool[groups]: the states (of every node) contradict what was seen; asked of the groups that are folding."""
    rows = np.flatnonzero(folding[groups.code])
    mine = Partition(groups.code[rows], groups.count)
    here, acted = nodes.code[::2][rows], action.code[rows]
    ended = steps.terminated[rows].astype(np.float64)
    named = Partition(state[here], int(state.max()) + 1)
    with_state = _disagreement(ended, dense(named, acted, action.count), mine)
    with_action = _disagreement(ended, dense(mine, acted, action.count), mine)
    left = np.zeros(len(state), dtype=np.bool_)
    left[here] = True
    states = joint(Partition(nodes.group[left], groups.count), state[left])
    of = np.empty(states.count, dtype=np.int64)
    of[states.code] = nodes.group[left]
    solved = steps.terminated[steps.ends] & (steps.reward[steps.ends] > 0.0)
    shortest = np.full(groups.count, np.inf)
    np.minimum.at(shortest, groups.code[steps.starts][solved], steps.lengths[solved].astype(np.float64))
    needed = np.where(np.isfinite(shortest), np.maximum(0.5 * shortest, 2.0), 2.0)
    found: Bool = (with_state > 0.5 * with_action) | (np.bincount(of, minlength=groups.count) < needed)
    return found


def _disagreement(ended: Float, key: Partition, groups: Partition) -> Float:
    """float64[groups]: share of the pairs of rows of one key, one row in the group, of which one ended."""
    ends, size = key.totals(ended), key.size
    others = np.where(ended > 0.0, (size - ends)[key.code], ends[key.code])
    return groups.totals(others) / np.maximum(groups.totals(_others(key)), 1.0)


def _others(key: Partition) -> Float:
    """float64[n]: how many other rows have a row's key."""
    return (key.size[key.code] - 1).astype(np.float64)


def _closure(parent: Int, state: Int, node: Int, moves: _Moves, rows: Int) -> Int:
    """Makes congruent states one, in place; returns rows, one of each class and move.

    After the first round only rows in classes that grew are compared again.

    Args:
        parent: int64[states], the class of every state, named by a state in it.
        state: int64[nodes] in [0, states).
        node: int64[2n], interleaved.
        rows: int64[k], those that count.
    """
    here, there, move = state[node[2 * rows]], state[node[2 * rows + 1]], moves.code[rows]
    active = np.arange(len(rows))
    while True:
        key = parent[here[active]] * moves.count + move[active]
        order = np.argsort(key, kind="stable")
        key, active = key[order], active[order]
        same = key[1:] == key[:-1]
        after = parent[there[active]]
        grown = _merge(parent, after[1:][same], after[:-1][same])
        # Rows of one class and move say the same from now on: one of them stays.
        said = np.ones(len(rows), dtype=np.bool_)
        said[active[1:][same]] = False
        rows, here, there, move = rows[said], here[said], there[said], move[said]
        if not grown.size:
            return rows
        of_grown = np.zeros(len(parent), dtype=np.bool_)
        of_grown[grown] = True
        active = np.flatnonzero(of_grown[parent[here]])


def _merge(parent: Int, left: Int, right: Int) -> Int:
    """Makes pairs of classes one, in place; the classes that grew."""
    differ = left != right
    if not differ.any():
        return np.zeros(0, dtype=np.int64)
    nodes, end = _components(left[differ], right[differ])
    parent[nodes] = end
    parent[:] = parent[parent]
    return end


def _components(left: Int, right: Int) -> tuple[Int, Int]:
    """The nodes of some edges, ascending, and for each the smallest node that it is connected with."""
    nodes, ends = np.unique(np.concatenate([left, right]), return_inverse=True)
    a, b = ends[: len(left)], ends[len(left) :]
    label = np.arange(len(nodes))
    while True:
        least = np.minimum(label[a], label[b])
        following = label.copy()
        np.minimum.at(following, label[a], least)
        np.minimum.at(following, label[b], least)
        while not np.array_equal(following, following[following]):
            following = following[following]
        if np.array_equal(following, label):
            return nodes, nodes[label]
        label = following
