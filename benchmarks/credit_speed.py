"""How long credit takes: CPU-seconds per million steps, beside numpy.argsort of the same anchors.

    python benchmarks/credit_speed.py [--quick] [--slope] [--method NAME]... [--save] [--json]

The table is 20,000 episodes of 50 steps in groups of 8 (``--quick``: a tenth of it, figures scaled to a million steps).
Every method runs in a process of its own; its peak of memory is what it allocates beside the table. ``--slope`` adds,
per method, the log-log slope of CPU-seconds against rows up to ten million: 1 is linear.
"""

from __future__ import annotations

import math
import multiprocessing
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import common
import numpy as np

from agentgym.rewards.credit import METHODS
from agentgym.steps import StepTable

TIMED = [name for name in METHODS if name != "arenarl"]
"""All but the tournament, whose time is the judge's."""

EPISODE, GROUP = 50, 8


def table(episodes: int, seed: int = 0) -> StepTable:
    """Random walks on a ring of 200 states: sparse success, progress, anchors that repeat within a group."""
    rng = np.random.default_rng(seed)
    n = episodes * EPISODE
    states = rng.integers(-(2**62), 2**62, size=200)
    moves = rng.choice([-1, 1], size=(episodes, EPISODE))
    position = np.abs(np.cumsum(moves, axis=1)) % 200
    before = np.concatenate([np.zeros((episodes, 1), dtype=np.int64), position[:, :-1]], axis=1)
    success = rng.random(episodes) < 0.3
    end = np.zeros((episodes, EPISODE), dtype=bool)
    end[:, -1] = True
    steps = StepTable.from_columns(
        trajectory=np.repeat(np.arange(episodes), EPISODE),
        group=np.repeat(np.arange(episodes) // GROUP, EPISODE),
        reward=(end & success[:, None]).ravel().astype(np.float64),
        anchor=states[before].ravel(),
        next_anchor=states[position].ravel(),
        action=(moves.ravel() > 0).astype(np.int64),
        progress_before=(before / 200).ravel(),
        progress=(position / 200).ravel(),
        terminated=(end & success[:, None]).ravel(),
        truncated=(end & ~success[:, None]).ravel(),
        danger=rng.random(n) < 0.02,
        duration=rng.random(n),
        outcome=success.astype(np.float64),
        extras={
            "danger_price": np.ones(n),
            "contribution": rng.random(n),
            "good": rng.random(n) < 0.5,
            "logprob_model": -rng.random(n),
            "logprob_reference": -rng.random(n),
        },
    )
    steps.segment, steps.outcome, steps.trajectory_group  # noqa: B018 - cached before the clock starts
    return steps


def options(name: str, steps: StepTable) -> dict[str, Any]:
    """What a method needs beside the table."""
    if METHODS[name].needs_critic:
        return {"values": np.zeros(len(steps)), "last_values": np.zeros(len(steps.starts))}
    return {}


def cpu(work: Callable[[], object], repeat: int = 3) -> float:
    """The least CPU-seconds of some runs: what the work takes when nobody disturbs the caches."""
    best = math.inf
    for _ in range(repeat):
        start = time.process_time()
        work()
        best = min(best, time.process_time() - start)
    return best


def measure(name: str, episodes: int) -> dict[str, float]:
    """CPU-seconds of one method and of numpy.argsort of the same anchors, and the peak of the method's memory."""
    steps = table(episodes)
    more = options(name, steps)
    seconds = cpu(lambda: METHODS[name].assign(steps, **more))
    tracemalloc.start()  # after the clock: it slows every allocation
    METHODS[name].assign(steps, **more)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"cpu_s": seconds, "argsort_s": cpu(lambda: np.argsort(steps.anchor)), "peak_mib": peak / 2**20}


def in_own_process(name: str, episodes: int) -> dict[str, float]:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (name, episodes))


def slope(name: str, episodes: int) -> float:
    """Least-squares slope of log CPU-seconds against log rows, from a tenth of the table to ten times it."""
    sizes = [episodes // 10, episodes, episodes * 10]
    seconds = [in_own_process(name, size)["cpu_s"] for size in sizes]
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def main() -> None:
    arguments = common.parser(__doc__ or "")
    arguments.add_argument("--slope", action="store_true", help="also the slope up to ten times the steps")
    arguments.add_argument("--method", choices=TIMED, action="append", help="only these")
    args = arguments.parse_args()
    episodes = 2_000 if args.quick else 20_000
    scale = 1_000_000 / (episodes * EPISODE)
    figures: dict[str, float] = {"rows": episodes * EPISODE}
    print(f"{'method':<16}{'CPU-s per 1M':>14}{'x argsort':>12}{'peak MiB':>12}{'slope':>8}")
    for name in args.method or TIMED:
        got = in_own_process(name, episodes)
        ratio = got["cpu_s"] / got["argsort_s"]
        figures |= {f"{name}_cpu_s_1m": got["cpu_s"] * scale, f"{name}_peak_mib": got["peak_mib"]}
        figures[f"{name}_vs_argsort"] = ratio
        line = f"{name:<16}{got['cpu_s'] * scale:>14.3f}{ratio:>12.2f}{got['peak_mib']:>12.0f}"
        if args.slope:
            figures[f"{name}_slope"] = slope(name, episodes)
            line += f"{figures[f'{name}_slope']:>8.2f}"
        print(line, flush=True)
    if args.method:  # the other methods stay as they were saved
        figures = {**common.saved("credit_speed"), **figures}
    common.finish("credit_speed", figures, args)


if __name__ == "__main__":
    main()
