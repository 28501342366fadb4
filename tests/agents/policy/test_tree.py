"""Candidates as a tree: shared beginnings are one node, and every candidate's tokens can be read back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from agentgym.agents.policy.tree import prefix_free, tree

candidates = st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5).map(tuple), min_size=1, max_size=8).map(tuple)


@given(candidates)
def test_edges_spell_the_candidates_and_nodes_see_exactly_their_ancestors(options):
    built = tree(options)
    for option, path in zip(options, built.paths, strict=True):
        assert tuple(built.edges[e][1] for e in path) == option
    beginnings = {option[:n] for option in options for n in range(1, len(option))}
    assert len(built.tokens) == len(beginnings)  # one node for each distinct beginning, none for whole candidates
    spelled = {tuple(built.tokens[a] for a in np.flatnonzero(line)) for line in built.visible}
    assert spelled == beginnings
    assert (built.visible.sum(axis=1) == built.depth + 1).all()


def test_single_token_candidates_need_no_node():
    assert tree(((5,), (7,), (5,))).tokens == ()


@given(candidates)
def test_prefix_free_means_no_candidate_begins_another(options):
    clash = any(a != b and b[: len(a)] == a for a in options for b in options)
    assert prefix_free(options) == (not clash)
