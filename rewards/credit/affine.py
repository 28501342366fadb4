"""Solve V = b + W V where W is sparse, splits into blocks, and shrinks (row sums of |W| below 1). NumPy alone.

Values over the graph of a group's rollouts are such systems, thousands of small ones at a time. Two exact steps:
nodes with at most one successor are eliminated all at once by doubling along their chains; what is left, the nodes
where rollouts part, is solved block by block with dense LU in batches of like size.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from agentgym.rewards.credit.checks import Float, Int

__all__ = ["solve"]

_LARGEST_DENSE = 1024
"""Blocks with more branching nodes than this are iterated to rounding instead."""
_BATCH_ENTRIES = 1 << 23
"""Entries of the dense matrices held at once (64 MiB)."""


def solve(block: Int, source: Int, target: Int, weight: Float, constant: Float) -> Float:
    """float64[m]: V with V[x] = constant[x] + sum of weight * V[target] over the edges with source x.

    Args:
        block: int64[m], ascending: the block of every node; edges stay inside blocks.
        source, target: int64[e], distinct pairs.
        weight: float64[e]; their sum over a node's edges is below 1 in size.
        constant: float64[m].
    """
    degree = np.bincount(source, minlength=len(block))
    branching = degree > 1
    # Chains: V[x] = shift[x] + scale[x] * V[end[x]]; branching nodes end in themselves, nodes without edges scale by 0.
    shift = np.where(branching, 0.0, constant)
    scale = branching.astype(np.float64)
    end = np.arange(len(block))
    chained = ~branching[source]
    end[source[chained]] = target[chained]
    scale[source[chained]] = weight[chained]
    while True:
        open_ = np.flatnonzero((end != end[end]) & (np.abs(scale) > 1e-300))
        if not open_.size:
            break
        middle = end[open_]
        # A cycle of chain nodes never ends; its scale shrinks quadratically until nothing of it is left.
        shift_add, scale_by, ends = shift[middle], scale[middle], end[middle]
        shift[open_] += scale[open_] * shift_add
        scale[open_] *= scale_by
        end[open_] = ends
    # One-node cycles and ends without edges: end[x] = x but x does not branch.
    closed = np.flatnonzero(~branching & (end == np.arange(len(block))))
    shift[closed] /= 1.0 - scale[closed]
    scale[closed] = 0.0
    if not branching.any():
        return shift + scale * shift[end]
    values = np.zeros(len(block))
    kept = branching[source]
    s, t, w = source[kept], target[kept], weight[kept]
    right = constant + np.bincount(s, weights=w * _known(shift, scale, end, branching)[t], minlength=len(block))
    reaches = branching[end[t]] & (scale[t] != 0.0)
    inner = _branching_values(block, branching, right, s[reaches], end[t][reaches], (w * scale[t])[reaches])
    values[branching] = inner[branching]
    ends_value = np.where(branching, values, shift)
    return np.where(branching, values, shift + scale * ends_value[end])


def _known(shift: Float, scale: Float, end: Int, branching: np.ndarray) -> Float:
    """The part of a node's value that does not depend on branching nodes."""
    return shift + np.where(branching[end], 0.0, scale * shift[end])


def _branching_values(block: Int, branching: np.ndarray, right: Float, s: Int, t: Int, w: Float) -> Float:
    """V on the branching nodes, from the edges between them (pairs may repeat)."""
    nodes = np.flatnonzero(branching)
    blocks, first, size = np.unique(block[nodes], return_index=True, return_counts=True)
    rank = np.empty(len(block), dtype=np.int64)
    rank[nodes] = np.arange(len(nodes)) - np.repeat(first, size)
    position = np.searchsorted(blocks, block[s])
    values = np.zeros(len(block))
    order = np.argsort(size, kind="stable")
    low = 0
    while low < len(order):
        smallest = int(size[order[low]])
        if smallest > _LARGEST_DENSE:
            break
        # Blocks up to a quarter larger share a batch; identity fills what they lack.
        widest = min(max(smallest + 4, smallest * 5 // 4), _LARGEST_DENSE)
        high = int(np.searchsorted(size[order], widest, side="right"))
        width = int(size[order[high - 1]])
        high = min(high, low + max(1, _BATCH_ENTRIES // width**2))
        width = int(size[order[high - 1]])
        _solve_batch(order[low:high], width, nodes, first, size, rank, position, right, (s, t, w), values)
        low = high
    if low < len(order):
        large = np.isin(block, blocks[order[low:]])
        _iterate(large & branching, right, s, t, w, values)
    return values


def _solve_batch(
    batch: Int,
    width: int,
    nodes: Int,
    first: Int,
    size: Int,
    rank: Int,
    position: Int,
    right: Float,
    edges: tuple[Int, Int, Float],
    values: Float,
) -> None:
    """Dense LU of some blocks, padded to one width; writes their values."""
    slot = np.full(len(size), -1)
    slot[batch] = np.arange(len(batch))
    s, t, w = edges
    mine = np.flatnonzero(slot[position] >= 0)
    at = slot[position[mine]] * width**2 + rank[s[mine]] * width + rank[t[mine]]
    inward = np.bincount(at, weights=w[mine], minlength=len(batch) * width**2).reshape(len(batch), width, width)
    diagonal = np.arange(width)
    matrix = np.eye(width) - inward
    mask = diagonal[None, :] < size[batch][:, None]
    here = nodes[np.where(mask, first[batch][:, None] + diagonal, 0)]
    vector = np.where(mask, right[here], 0.0)
    values[here[mask]] = np.linalg.solve(matrix, vector[..., None])[..., 0][mask]


def _iterate(which: np.ndarray, right: Float, s: Int, t: Int, w: Float, values: Float) -> None:
    """Huge blocks: BiCGSTAB, then rounds of the fixed point, each of which shrinks the error by the largest row sum."""
    nodes = np.flatnonzero(which)
    number = np.empty(len(which), dtype=np.int64)
    number[nodes] = np.arange(len(nodes))
    mine = which[s]
    s, t, w, b = number[s[mine]], number[t[mine]], w[mine], right[nodes]

    def applied(x: Float) -> Float:
        return x - np.bincount(s, weights=w * x[t], minlength=len(b))

    x = _bicgstab(applied, b)
    while True:
        residual = b - applied(x)
        x = x + residual
        if np.abs(residual).max() <= 1e-13 * max(1.0, float(np.abs(x).max())):
            break
    values[nodes] = x


def _bicgstab(applied: Callable[[Float], Float], b: Float, rounds: int = 200) -> Float:
    """An approximate x with applied(x) = b (van der Vorst 1992); stops early where it breaks down."""
    x = b.copy()
    r = b - applied(x)
    shadow, p = r.copy(), r.copy()
    rho = float(shadow @ r)
    enough = 1e-13 * max(1.0, float(np.abs(b).max()))
    for _ in range(rounds):
        if np.abs(r).max() <= enough:
            break
        v = applied(p)
        along = float(shadow @ v)
        if along == 0.0:
            break
        alpha = rho / along
        half = r - alpha * v
        turned = applied(half)
        size = float(turned @ turned)
        omega = float(turned @ half) / size if size > 0.0 else 0.0
        x = x + alpha * p + omega * half
        r = half - omega * turned
        following = float(shadow @ r)
        if omega == 0.0 or rho == 0.0 or not np.isfinite(following):
            break
        p = r + (following / rho) * (alpha / omega) * (p - omega * v)
        rho = following
    return x if np.all(np.isfinite(x)) else b.copy()
