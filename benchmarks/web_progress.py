"""Does progress on the web tell how near success is? Progress against Monte-Carlo success-to-go, per task.

A noisy oracle (with probability ``noise`` a random applicable action instead of the oracle's next one, which plans
again from wherever it stands) plays many episodes of some seeds of a task. Success-to-go of a state, told by its
anchor, is the share of the episodes through it that end in success. The figure of a task is Spearman's rank correlation
between the progress of its states and their success-to-go, over states that ``--least`` episodes met; final states are
left out, since there both are known. A share over four episodes errs by up to 0.25, over thirty by less than 0.1: where
states differ by less, few visits hide the order that is there. Where it is below 0.7, the task must promise no more
than a "proxy".

    rank_correlation   task -> correlation; None where success or progress do not vary among the states
    states             task -> states that count
    below              tasks under 0.7
"""

from __future__ import annotations

import sys
from collections import defaultdict
from typing import Any

import gymnasium
import numpy as np

import agentgym  # noqa: F401  (registers)

GROUPS = 3
"""Task seeds a task."""
BAR = 0.7


def rollout(env: Any, seed: int, options: dict[str, Any], rng: np.random.Generator, noise: float) -> list[Any]:
    """One noisy episode: (anchor, progress) of every state an action was taken in, and whether it ended in success."""
    _, info = env.reset(seed=seed, options=options)
    states, over = [], False
    while not over:
        states.append((info["process"]["anchor"], info["process"]["progress"]))
        action = None
        if rng.random() >= noise:
            try:
                action = next(env.oracle(), None)
            except LookupError:
                action = None  # the script has been led where it does not know its way
        if action is None:
            listed = [a for a in env.admissible() if not a.startswith(("noop", "scroll", "mouse", "keyboard", "hover"))]
            action = listed[rng.integers(len(listed))] if listed else "noop()"
        *_, terminated, truncated, info = env.step(action)
        over = terminated or truncated
    return [*states, bool(info["success"])]


def correlation(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Spearman's, with mean ranks for ties."""

    def ranks(values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        _, place, count = np.unique(values, return_inverse=True, return_counts=True)
        ends = np.cumsum(count)
        return np.asarray((ends - (count - 1) / 2)[place])

    return float(np.corrcoef(ranks(a), ranks(b))[0, 1])


def judge(env: Any, options: dict[str, Any], episodes: int, noise: float, least: int) -> tuple[float | None, int]:
    """The correlation of one task and the number of its states that count."""
    rng = np.random.default_rng(0)
    xs, ys = [], []
    for seed in range(GROUPS):
        visits: dict[int, list[bool]] = defaultdict(list)
        progress: dict[int, float] = {}
        for _ in range(episodes):
            *states, solved = rollout(env, seed, options, rng, noise)
            for anchor, value in dict(states).items():  # an episode counts once for each
                visits[anchor].append(solved)
                progress[anchor] = value
        for anchor, outcomes in visits.items():
            if len(outcomes) >= least:
                xs.append(progress[anchor])
                ys.append(float(np.mean(outcomes)))
    if len(xs) < 3 or len(set(xs)) < 2 or len(set(ys)) < 2:
        return None, len(xs)
    return round(correlation(np.array(xs), np.array(ys)), 3), len(xs)


def main() -> None:
    """Measure and report."""
    from common import finish, parser

    from agentgym.envs.web.miniwob.kinds import known
    from agentgym.envs.web.sites.ids import ROUNDUP, SHOP

    made = parser(__doc__ or "")
    made.add_argument("--noise", type=float, default=0.4, help="share of actions that are random")
    made.add_argument("--episodes", type=int, default=0, help="a task seed; by default 40, with --quick 6")
    made.add_argument("--least", type=int, default=0, help="visits of a state that counts; by default 4 (--quick: 2)")
    made.add_argument("--only", default="", help="tasks whose id holds one of these, by commas")
    options = made.parse_args()
    episodes, least = options.episodes or (6 if options.quick else 40), options.least or (2 if options.quick else 4)
    jobs: list[tuple[str, str, dict[str, Any]]] = []
    for place, names in (("Roundup", ROUNDUP), ("Shop", SHOP)):
        jobs += [(f"{place}-{n}", f"agentgym/Site-{place}-v0", {"task": k}) for k, n in enumerate(names)]
    jobs += [(f"MiniWoB-{n}", f"agentgym/MiniWoB-{n}-v0", {}) for n, kind in known().items() if kind.steps]
    jobs = [job for job in jobs if any(part in job[0] for part in options.only.split(","))]
    if options.quick:
        jobs = jobs[:: max(1, len(jobs) // 4)][:4]
    found: dict[str, float | None] = {}
    states: dict[str, int] = {}
    env, opened = None, ""
    for name, id, more in jobs:
        if id != opened:
            if env is not None:
                env.close()
            env, opened = gymnasium.make(id).unwrapped, id
        found[name], states[name] = judge(env, more, episodes, options.noise, least)
        print(f"{name:36} {found[name]!s:>7} over {states[name]} states", file=sys.stderr, flush=True)
    if env is not None:
        env.close()
    figures = {
        "noise": options.noise,
        "episodes": episodes * GROUPS,
        "least": least,
        "rank_correlation": found,
        "states": states,
        "below": sorted(name for name, value in found.items() if value is not None and value < BAR),
    }
    finish("web_progress", figures, options)


if __name__ == "__main__":
    main()
