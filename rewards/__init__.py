"""Rewards and credit: step records in, step rewards and advantages out.

``terms`` (`StepTable` -> step rewards) -> ``combine`` (weights, gates, normalisation) -> ``credit`` (step rewards ->
advantages). `recipe` names a whole chain, `ShapedReward` gives its step reward to a classical loop.
"""

from __future__ import annotations

if __name__ != "agentgym.rewards":
    raise ImportError(
        "this folder is imported as 'agentgym.rewards', not as 'rewards'; "
        "run `pip install -e .` in the checkout and write `import agentgym.rewards`"
    )

from agentgym.rewards.book import RECIPES, recipe
from agentgym.rewards.recipes import Recipe, Term
from agentgym.rewards.shaped import ShapedReward

__all__ = ["RECIPES", "Recipe", "ShapedReward", "Term", "recipe"]
