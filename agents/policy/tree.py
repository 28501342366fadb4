"""Candidate actions as a tree of tokens, so that shared beginnings are computed once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

__all__ = ["Tree", "prefix_free", "tree"]


@dataclass(frozen=True, slots=True)
class Tree:
    """The inner nodes of a trie over K candidates; leaves predict nothing and are left out.

    Feature 0 is the last token of the prompt (the root); feature ``1 + n`` is node ``n``.

    Attributes:
        tokens: the token of every node, parents before children.
        depth: int64[n], 0 for children of the root; the position of node n is ``len(prompt) + depth[n]``.
        visible: bool[n, n], ``visible[i, j]`` says that node i attends to node j (its ancestors and itself).
        edges: the distinct (feature, token) pairs whose log-probabilities make up the candidates.
        paths: for every candidate the indices of its edges, in order.
    """

    tokens: tuple[int, ...]
    depth: npt.NDArray[np.int64]
    visible: npt.NDArray[np.bool_]
    edges: tuple[tuple[int, int], ...]
    paths: tuple[npt.NDArray[np.int64], ...]


@lru_cache(maxsize=1024)
def tree(candidates: tuple[tuple[int, ...], ...]) -> Tree:
    """Build the tree of ``candidates`` (token tuples, none empty; repeats are allowed)."""
    edges: dict[tuple[int, int], int] = {}
    feature_of_edge: dict[tuple[int, int], int] = {}
    tokens: list[int] = []
    parent: list[int] = []  # as a feature number
    depth: list[int] = []
    paths = []
    for candidate in candidates:
        at, path = 0, []
        for i, token in enumerate(candidate):
            edge = (at, token)
            path.append(edges.setdefault(edge, len(edges)))
            if i + 1 < len(candidate):
                if edge not in feature_of_edge:
                    tokens.append(token)
                    parent.append(at)
                    depth.append(i)
                    feature_of_edge[edge] = len(tokens)
                at = feature_of_edge[edge]
        paths.append(np.array(path, dtype=np.int64))
    visible = np.eye(len(tokens), dtype=np.bool_)
    for node, above in enumerate(parent):
        if above:
            visible[node] |= visible[above - 1]
    return Tree(tuple(tokens), np.array(depth, dtype=np.int64), visible, tuple(edges), tuple(paths))


def prefix_free(candidates: Sequence[tuple[int, ...]]) -> bool:
    """Whether no candidate is a proper beginning of another, so that none needs an end mark to be told apart."""
    ordered = sorted(set(candidates))
    return all(b[: len(a)] != a for a, b in pairwise(ordered))
