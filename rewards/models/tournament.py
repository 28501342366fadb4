"""Tournaments: a ranking of rollouts from pairwise judgements (ArenaRL, arXiv 2601.06487).

A judge is asked for a pair (i, j), in this order, and answers a score for each. A bracket says which pairs are asked
and ranks the players; the reward is 1 for the first and 0 for the last.

- `single_elimination`: the paper's. Everyone meets player 0 first; the seeds are the scores of that (its own seed is
  the mean of its scores). Seeded knock-out, ties to the first named, losers of a round ranked by the mean of all their
  scores. 2n - 2 calls. As in the authors' code, byes do not go to the top seeds when n is no power of two: missing
  seeds are left out of the bracket and shift the pairs; an odd player advances and is placed first in the next round.
- `double_elimination`, `swiss`: pairs drawn at random. The authors' Swiss shuffles its list of players and then finds
  players in it by number, so points and opponents go to the wrong ones; ``as_released=True`` repeats that.
- `round_robin`, `anchor`: all pairs; everyone against player 0.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import numpy as np

from agentgym.rewards.credit.checks import Float

__all__ = ["BRACKETS", "Judge", "Result", "anchor", "double_elimination", "round_robin", "single_elimination", "swiss"]

Judge = Callable[[int, int], tuple[float, float]]
"""``judge(i, j) -> (score of i, score of j)``; i is shown first."""


@dataclass(frozen=True)
class Result:
    """``reward`` float64[n] in [0, 1], and the ``calls`` made, in order."""

    reward: Float
    calls: tuple[tuple[int, int], ...]


@dataclass
class _Match:
    """Asks the judge, and remembers calls and every player's scores."""

    judge: Judge
    calls: list[tuple[int, int]] = field(default_factory=list)
    points: dict[int, list[float]] = field(default_factory=dict)

    def scores(self, i: int, j: int) -> tuple[float, float]:
        self.calls.append((i, j))
        first, second = self.judge(i, j)
        if not (math.isfinite(first) and math.isfinite(second)):
            raise ValueError(f"the judge of ({i}, {j}) must answer two finite numbers, got {first!r}, {second!r}")
        return first, second

    def play(self, i: int, j: int) -> tuple[int, int]:
        """Winner and loser; a tie goes to the first."""
        first, second = self.scores(i, j)
        self.points.setdefault(i, []).append(first)
        self.points.setdefault(j, []).append(second)
        return (i, j) if first >= second else (j, i)

    def mean(self, player: int) -> float:
        return fmean(self.points[player]) if self.points.get(player) else 0.0

    def by_mean(self, players: Sequence[int]) -> list[int]:
        return sorted(players, key=self.mean, reverse=True)

    def result(self, ranking: Sequence[int]) -> Result:
        reward = np.zeros(len(ranking))
        reward[list(ranking)] = 1.0 - np.arange(len(ranking)) / (len(ranking) - 1)
        return Result(reward, tuple(self.calls))


def single_elimination(n: int, judge: Judge, rng: random.Random | None = None) -> Result:
    """Seeded knock-out of n players; draws nothing from ``rng``."""
    _at_least_two(n)
    match = _Match(judge)
    against_first = [match.scores(i, 0) for i in range(1, n)]
    match.points = {i: [s[0]] for i, s in enumerate(against_first, start=1)}
    match.points[0] = [fmean(s[1] for s in against_first)]
    seeded = match.by_mean(range(n))
    slots = [0]
    while len(slots) < n:
        slots = [s for slot in slots for s in (slot, 2 * len(slots) - 1 - slot)]
    active = [seeded[s] for s in slots if s < n]
    fallen: list[list[int]] = []
    while len(active) > 1:
        outcomes = [match.play(i, j) for i, j in zip(active[::2], active[1::2], strict=False)]
        bye = active[-1:] if len(active) % 2 else []
        active = bye + [winner for winner, _ in outcomes]
        fallen.append([loser for _, loser in outcomes])
    return match.result(active + [p for losers in reversed(fallen) for p in match.by_mean(losers)])


def double_elimination(n: int, judge: Judge, rng: random.Random) -> Result:
    """Two defeats and out; pairs of every round drawn from ``rng``."""
    _at_least_two(n)
    match = _Match(judge)

    def play_round(players: list[int]) -> tuple[list[int], list[int]]:
        pool = players[:]
        rng.shuffle(pool)
        pairs = []
        while len(pool) >= 2:
            pairs.append((pool.pop(), pool.pop()))
        outcomes = [match.play(i, j) for i, j in pairs]
        return pool + [winner for winner, _ in outcomes], [loser for _, loser in outcomes]

    upper, dropped = list(range(n)), []
    while len(upper) > 1:
        upper, losers = play_round(upper)
        dropped.append(losers)
    lower: list[int] = []
    fallen: list[list[int]] = []
    for losers in dropped:
        lower += losers
        if len(lower) >= 2:
            lower, out = play_round(lower)
            fallen.append(out)
    while len(lower) > 1:
        lower, out = play_round(lower)
        fallen.append(out)
    winners, losers = play_round([upper[0], lower[0]])
    return match.result(winners + losers + [p for out in reversed(fallen) for p in match.by_mean(out)])


def swiss(n: int, judge: Judge, rng: random.Random, *, as_released: bool = False) -> Result:
    """ceil(log2 n) rounds against players of like points; ranked by points, then by the opponents' points (Buchholz).

    Args:
        n: players. judge: of pairs. rng: breaks ties of the pairing.
        as_released: repeat the authors' mix-up of players and places, to compare with their results.
    """
    _at_least_two(n)
    match = _Match(judge)
    points = [0.0] * n
    opponents: list[set[int]] = [set() for _ in range(n)]
    places = list(range(n))  # places[k]: the player at place k of the shuffled list
    for _ in range(min(math.ceil(math.log2(n)), n - 1)):
        rng.shuffle(places)

        def named(player: int) -> int:
            """Who is meant by a player's number: that player, or whoever stands at that place."""
            return places[player] if as_released else player

        waiting = sorted(places, key=lambda p: points[p], reverse=True)
        bye = waiting.pop() if n % 2 else None
        pairs = []
        while waiting:
            first = waiting.pop(0)
            second = next((p for p in waiting if p not in opponents[first]), waiting[0])
            waiting.remove(second)
            pairs.append((first, second))
        for i, j in pairs:
            a, b = match.scores(i, j)
            points[named(i)] += 1.0 if a > b else 0.5 if a == b else 0.0
            points[named(j)] += 1.0 if b > a else 0.5 if a == b else 0.0
            opponents[named(i)].add(j)
            opponents[named(j)].add(i)
        if bye is not None:
            points[named(bye)] += 1.0
    buchholz = [sum(points[places[o] if as_released else o] for o in opponents[p]) for p in range(n)]
    keys = [(points[p], buchholz[p]) for p in range(n)]
    # Equal players share the mean of their places' rewards.
    ordered = sorted(keys, reverse=True)
    share = {k: fmean((n - 1 - i) / (n - 1) for i, other in enumerate(ordered) if other == k) for k in set(keys)}
    return Result(np.array([share[k] for k in keys]), tuple(match.calls))


def round_robin(n: int, judge: Judge, rng: random.Random | None = None) -> Result:
    """Every pair once; ranked by wins, a tie is half a win. Draws nothing from ``rng``."""
    _at_least_two(n)
    match = _Match(judge)
    wins = np.zeros(n)
    for i, j in itertools.combinations(range(n), 2):
        a, b = match.scores(i, j)
        wins[i] += 1.0 if a > b else 0.5 if a == b else 0.0
        wins[j] += 1.0 if b > a else 0.5 if a == b else 0.0
    return Result(_by_rank(wins), tuple(match.calls))


def anchor(n: int, judge: Judge, rng: random.Random | None = None) -> Result:
    """Everyone against player 0, whose score is the mean of its own. Draws nothing from ``rng``."""
    _at_least_two(n)
    match = _Match(judge)
    scores = [match.scores(i, 0) for i in range(1, n)]
    own = fmean(s[1] for s in scores)
    return Result(_by_rank(np.array([own, *(s[0] for s in scores)])), tuple(match.calls))


BRACKETS: dict[str, Callable[[int, Judge, random.Random], Result]] = {
    "single_elimination": single_elimination,
    "double_elimination": double_elimination,
    "swiss": swiss,
    "round_robin": round_robin,
    "anchor": anchor,
}
"""Every bracket by name."""


def _by_rank(values: Float) -> Float:
    """1 for the best, 0 for the worst rank; equal values share the better rank, all equal give 0."""
    rank = 1 + (values[None, :] > values[:, None]).sum(axis=1)
    return np.asarray((rank.max() - rank) / max(rank.max() - 1, 1), dtype=np.float64)


def _at_least_two(n: int) -> None:
    if n < 2:
        raise ValueError(f"a tournament needs at least two players, got {n}; drop the group")
