"""Signal fidelity: do progress, danger and anchors say what is true of the task?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.env import ProcessEnv, Snapshot
from agentgym.errors import UsageError
from agentgym.process import read_record
from agentgym.rewards.audit.assigners import named
from agentgym.rewards.audit.enumerate import enumerate_mdp, open_env
from agentgym.rewards.audit.exact import behaviour, shortest
from agentgym.rewards.audit.hackability import SHAPED, farming, transition_rewards
from agentgym.rewards.audit.mdp import MDP
from agentgym.rewards.audit.measures import Interval, bootstrap, spearman
from agentgym.rewards.audit.monte_carlo import continued, explorer, rollouts_of, tuned_epsilon
from agentgym.rewards.audit.robust import robustness
from agentgym.rewards.recipes import Recipe
from agentgym.task import Actor

__all__ = ["WRONG", "SignalReport", "needless_splits", "signal_report"]

Float = npt.NDArray[np.float64]

_RANDOM = explorer(1.0)

_POINTS, _CONTINUATIONS = 48, 24  # states measured where they cannot all be, and continuations from each

WRONG = (0.0, 0.05, 0.1, 0.2)
"""Shares of wrong labels."""


@dataclass(frozen=True)
class SignalReport:
    """What was found of one environment.

    Attributes:
        env: its id. method: "exact" (enumerated) or "monte-carlo". why: it could not be enumerated; "" where it was.
        progress_success: Spearman of progress with success-to-go; mean over task seeds, with its 95 % interval.
        progress_distance: the same with the fewest steps left, so that 1 is perfect. Where not enumerated: with the
            steps that the oracle takes; NaN where there is none.
        danger: by policy ("oracle", "random", "offender:NAME"): share of episodes with danger, and that succeed.
        collisions: share of (anchor, action) pairs met again that led elsewhere, or of anchors whose progress or
            success differed; counts randomness of the world too.
        splits: share of states that no future tells from another one; NaN where not enumerated.
        farming: by shaped reward, the means of `Farming` over the seeds; {} where not enumerated.
        robustness: by kind of wrong label ("flipped", "spurious"), then assigner: cos@1 at the shares `WRONG`, on the
            first seed at J = 0.3; {} where not enumerated.
    """

    env: str
    method: str
    why: str
    progress_success: Interval
    progress_distance: Interval
    danger: Mapping[str, tuple[float, float]]
    collisions: float
    splits: float
    farming: Mapping[str, Mapping[str, float]]
    robustness: Mapping[str, Mapping[str, list[float]]]

    def as_dict(self) -> dict[str, Any]:
        """JSON-like."""
        return asdict(self)


def signal_report(
    env_id: str,
    *,
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    kwargs: Mapping[str, Any] | None = None,
    recipes: Sequence[Recipe] = (),
    success_rate: float = 0.3,
    max_states: int = 2_000,
) -> SignalReport:
    """Measure the signals of a forkable environment.

    Small deterministic worlds are enumerated, and success-to-go is that of a behaviour with the given success rate,
    over all states. Others are measured on steps of an oracle that errs so often that the same share succeeds.

    Args:
        env_id, kwargs: what to make.
        seeds: of the tasks; the intervals are over them.
        recipes: whose step rewards are tried for farming beside those of `SHAPED`; each combines row by row.
        success_rate: of the behaviour, in (0, 1).
        max_states: enumerate up to so many.
    """
    if not seeds:
        raise UsageError("signals need at least one task seed")
    why, mdps = "", []
    try:
        mdps = [enumerate_mdp(env_id, seed, kwargs, max_states=max_states) for seed in seeds]
    except UsageError as error:
        why = str(error)  # too large or random: estimated below, where what cannot be forked either is refused
    danger, collisions = _played(env_id, seeds, kwargs)
    splits, farmed, robust = float("nan"), {}, {}
    if mdps:
        pairs = [_exact_progress(mdp, success_rate) for mdp in mdps]
        splits = float(np.mean([needless_splits(mdp) for mdp in mdps]))
        farmed = _farmed(mdps, recipes)
        robust = _robust(mdps[0])
    else:
        pairs = [_estimated_progress(env_id, seed, kwargs, success_rate) for seed in seeds]
    clusters = np.arange(len(seeds))
    return SignalReport(
        env=env_id,
        method="exact" if mdps else "monte-carlo",
        why=why,
        progress_success=bootstrap(np.array([p[0] for p in pairs]), clusters),
        progress_distance=bootstrap(np.array([p[1] for p in pairs]), clusters),
        danger=danger,
        collisions=collisions,
        splits=splits,
        farming=farmed,
        robustness=robust,
    )


def needless_splits(mdp: MDP) -> float:
    """Share of anchors beyond those needed: 1 - (classes of states with equal futures) / (anchors), in [0, 1).

    Two states have equal futures where the same actions are allowed and lead, with the same chances, to states with
    equal futures, success and death being told apart (the coarsest bisimulation, by refinement).
    """
    rng = np.random.default_rng(0)
    chances = np.where(mdp.over[:, None, None], 0.0, mdp.probability)
    label = np.unique(
        np.column_stack([mdp.success, mdp.dead, mdp.allowed & ~mdp.over[:, None]]), axis=0, return_inverse=True
    )[1].ravel()
    while True:
        classes = int(label.max()) + 1
        # The chances of every next class, told apart by a random weight of each class.
        weight = rng.random(classes)
        follow = (chances * weight[label[mdp.target]]).sum(axis=2)
        keyed = np.column_stack([label, np.round(follow, 12)])
        finer = np.unique(keyed, axis=0, return_inverse=True)[1].ravel()
        if int(finer.max()) + 1 == classes:
            return 1.0 - classes / len(np.unique(mdp.anchor))
        label = finer


def _exact_progress(mdp: MDP, success_rate: float) -> tuple[float, float]:
    """Over the states that go on and can still succeed, or not: all that can be reached."""
    found = behaviour(mdp, success_rate, max(2, 3 * shortest(mdp)))
    states = np.flatnonzero(~mdp.over)
    value = found.value[found.horizon, states]
    distance = np.where(np.isfinite(mdp.distance), mdp.distance, 2.0 * len(mdp))[states]
    return spearman(mdp.progress[states], value), spearman(mdp.progress[states], -distance)


def _estimated_progress(
    env_id: str, seed: int, kwargs: Mapping[str, Any] | None, success_rate: float
) -> tuple[float, float]:
    """On states that an erring oracle visits, each with its whole time before it; distance is what the oracle takes."""
    policy = explorer(tuned_epsilon(env_id, success_rate, task_seed=seed, kwargs=kwargs))
    rng = np.random.default_rng(seed)
    env = open_env(env_id, kwargs)
    try:
        steps, forks = rollouts_of(env, env_id, policy, seed, 1, 8, rng)
        rows = np.sort(rng.choice(len(steps), size=min(_POINTS, len(steps)), replace=False))
        fresh = [replace(forks[row][0], t=0) for row in rows]
        value = np.array([np.mean([continued(env, policy, f, rng) for _ in range(_CONTINUATIONS)]) for f in fresh])
        left = np.array([_oracle_steps(env, f) for f in fresh])
    finally:
        env.close()
    progress = steps.progress_before[rows]
    return spearman(progress, value), spearman(progress, -left) if np.isfinite(left).any() else float("nan")


def _oracle_steps(env: ProcessEnv[Any], here: Snapshot) -> float:
    """Steps that the oracle takes to success from here; inf where it does not get there, or there is none."""
    env.restore(here)
    script = env.oracle()
    played = list(_steps(env, script)) if script is not None else []
    return float(len(played)) if played and played[-1][1][4]["success"] else float("inf")


def _steps(env: ProcessEnv[Any], script: Actor) -> Iterator[tuple[Any, Any]]:
    """Actions of a script and what ``env.step`` returned, to the end of the episode or of the script."""
    observation, over = None, False
    while not over:
        try:
            action = script.send(observation)
        except StopIteration:
            return
        result = env.step(action)
        observation, over = result[0], result[2] or result[3]
        yield action, result


def _at_random(env: ProcessEnv[Any], rng: np.random.Generator) -> Actor:
    while True:
        yield _RANDOM(env, rng)


def _farmed(mdps: Sequence[MDP], recipes: Sequence[Recipe]) -> dict[str, dict[str, float]]:
    table = {}
    rewards = SHAPED | {f"recipe {each.name}": partial(transition_rewards, recipe=each) for each in recipes}
    for name, reward in rewards.items():
        found = [asdict(farming(mdp, reward(mdp), 3 * shortest(mdp))) for mdp in mdps]
        table[name] = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
    return table


def _robust(mdp: MDP) -> dict[str, dict[str, list[float]]]:
    found = behaviour(mdp, 0.3, max(2, 3 * shortest(mdp)))
    return {
        label: robustness(found, [named(name) for name in names], WRONG, label=label)
        for label, names in {"flipped": ("gtdp", "gtd", "gigpo", "rloo"), "spurious": ("rloo+danger", "rloo")}.items()
    }


def _played(
    env_id: str, seeds: Sequence[int], kwargs: Mapping[str, Any] | None
) -> tuple[dict[str, tuple[float, float]], float]:
    """Danger and success of the oracle, the offenders and a random agent; and what anchors confused on the way."""
    env = open_env(env_id, kwargs)
    episodes: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    rng = np.random.default_rng(0)
    met = _Meetings()
    try:
        for seed in seeds:
            env.reset(seed=seed)
            offenders = {f"offender:{name}": name for name in env.offenders()}
            for policy in ("oracle", *offenders, *["random"] * 4):
                _, info = env.reset(seed=seed)
                script = env.oracle() if policy == "oracle" else None
                if policy in offenders:
                    script = env.offenders()[offenders[policy]]
                if policy == "oracle" and script is None:
                    continue
                episodes[policy].append(_episode(env, info, script, rng, met))
    finally:
        env.close()
    rates = {}
    for policy, played in episodes.items():
        danger, success = np.mean(played, axis=0)
        rates[policy] = (float(danger), float(success))
    return rates, met.share


class _Meetings:
    """What followed every anchor, inside one task; and how often it was something else than before."""

    def __init__(self) -> None:
        self.before: dict[Any, Any] = {}
        self.again = self.differed = 0

    def see(self, key: Any, what: Any) -> None:
        if key in self.before:
            self.again += 1
            self.differed += self.before[key] != what
        else:
            self.before[key] = what

    @property
    def share(self) -> float:
        return self.differed / self.again if self.again else 0.0


def _episode(
    env: ProcessEnv[Any], info: Mapping[str, Any], script: Actor | None, rng: np.random.Generator, met: _Meetings
) -> tuple[bool, bool]:
    """Play one; by the script or at random. Returns (was dangerous, succeeded)."""
    dangerous, task = False, env.episode.seed
    anchor = read_record(info)["anchor"]
    for action, (_, _, _, _, after) in _steps(env, _at_random(env, rng) if script is None else script):
        info = after
        record = read_record(info)
        dangerous |= record["danger"]
        met.see((task, anchor, action), record["anchor"])
        anchor = record["anchor"]
        met.see((task, anchor), (record["progress"], bool(info["success"])))
    return dangerous, bool(info["success"])
