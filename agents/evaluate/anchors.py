"""What a group of rollouts has in common: how often its states are met again, and whether that tells them apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards import Recipe
from agentgym.rewards.credit.groups import deviations, joint, partition, suffix_sums
from agentgym.steps import StepTable

__all__ = ["anchor_figures", "repeated", "varied"]

Float = npt.NDArray[np.float64]


def repeated(steps: StepTable) -> float:
    """Share of the steps whose anchor some *other* rollout of the group stands in too; 0 without steps."""
    if not len(steps):
        return 0.0
    cells = joint(partition(steps.group), steps.anchor)
    order = np.lexsort((steps.trajectory, cells.code))
    code, owner = cells.code[order], steps.trajectory[order]
    first = np.append(True, (code[1:] != code[:-1]) | (owner[1:] != owner[:-1]))
    rollouts = np.bincount(code[first], minlength=cells.count)
    return float(np.mean(rollouts[cells.code] > 1))


def varied(steps: StepTable, rewards: Float, gamma: float) -> tuple[int, int]:
    """Of the anchors that a group meets more than once, in how many the discounted returns from there differ.

    Args:
        steps: n rows.
        rewards: float64[n].
        gamma: discount inside the trajectory, in [0, 1].

    Returns:
        (anchors with differing returns, anchors met more than once), both counted group by group.
    """
    if not len(steps):
        return 0, 0
    cells = joint(partition(steps.group), steps.anchor)
    spread = deviations(suffix_sums(steps, rewards, gamma), cells).sd
    several = cells.size > 1
    return int((spread[several] > 0).sum()), int(several.sum())


def anchor_figures(steps: StepTable, recipe: Recipe, gamma: float = 0.95) -> dict[str, Any]:
    """Both, for the step rewards of a recipe (its credit method aside)."""
    differ, several = varied(steps, recipe.step_rewards(steps), gamma)
    return {
        "anchors_repeat": repeated(steps),
        "anchors_varied": differ,
        "anchors_several": several,
        "anchors_varied_share": differ / several if several else 0.0,
    }
