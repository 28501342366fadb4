"""Audit: is this signal true?

*Credit fidelity* (`study`): the gradient that an assigner gives against the exact one, on MDPs enumerated from the
environments themselves; against Monte-Carlo advantages from snapshots where a world cannot be enumerated.
*Signal fidelity*: progress, danger, anchors and shaped rewards against the truth. See ``docs/fidelity.md``.
"""

from __future__ import annotations

from agentgym.rewards.audit.assigners import BASELINES, STANDARD, Baseline, Measured, named
from agentgym.rewards.audit.credit import FIGURES, RIVALS, CreditStudy, study
from agentgym.rewards.audit.enumerate import enumerate_mdp
from agentgym.rewards.audit.exact import Solution, behaviour, shortest, softmax, solve
from agentgym.rewards.audit.hackability import (
    SHAPED,
    Farming,
    best_return,
    cycle_gain,
    farming,
    starc_distance,
    transition_rewards,
    true_rewards,
)
from agentgym.rewards.audit.mdp import MDP, aliased, corridor, garnet, slippery
from agentgym.rewards.audit.measures import Interval
from agentgym.rewards.audit.monte_carlo import (
    MonteCarlo,
    explorer,
    monte_carlo_advantages,
    monte_carlo_fidelity,
    tuned_epsilon,
)
from agentgym.rewards.audit.robust import disturbed, robustness
from agentgym.rewards.audit.sample import PROGRESS, Sample, draw, progress_of
from agentgym.rewards.audit.signals import WRONG, SignalReport, needless_splits, signal_report
from agentgym.rewards.audit.worlds import (
    DEVELOPMENT,
    HELD_OUT,
    HELD_OUT_2,
    Setting,
    World,
    dilution_and_progress,
    quick,
    sizes_and_horizons,
    world_of,
)

__all__ = [
    "BASELINES",
    "DEVELOPMENT",
    "FIGURES",
    "HELD_OUT",
    "HELD_OUT_2",
    "MDP",
    "PROGRESS",
    "RIVALS",
    "SHAPED",
    "STANDARD",
    "WRONG",
    "Baseline",
    "CreditStudy",
    "Farming",
    "Interval",
    "Measured",
    "MonteCarlo",
    "Sample",
    "Setting",
    "SignalReport",
    "Solution",
    "World",
    "aliased",
    "behaviour",
    "best_return",
    "corridor",
    "cycle_gain",
    "dilution_and_progress",
    "disturbed",
    "draw",
    "enumerate_mdp",
    "explorer",
    "farming",
    "garnet",
    "monte_carlo_advantages",
    "monte_carlo_fidelity",
    "named",
    "needless_splits",
    "progress_of",
    "quick",
    "robustness",
    "shortest",
    "signal_report",
    "sizes_and_horizons",
    "slippery",
    "softmax",
    "solve",
    "starc_distance",
    "study",
    "transition_rewards",
    "true_rewards",
    "tuned_epsilon",
    "world_of",
]
