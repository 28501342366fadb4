"""Credit: from step rewards to advantages. One module a method, each with ``assign``; NumPy alone.

    assign(steps, rewards=None, **options) -> float64[len(steps)]

``rewards`` is float[n]; None means the environment's ``steps.reward``. Methods that score whole trajectories read their
``outcome`` when no rewards are given, and the sum of the rewards when some are; ``score=`` overrides both. Every
assigner is pure, computes in float64, gives finite numbers for finite input, an empty array for an empty table, and a
ValueError that names column, row and remedy for anything else.
"""

from __future__ import annotations

from agentgym.rewards.credit.index import METHODS, Assigner, Method, assigner, method

__all__ = ["METHODS", "Assigner", "Method", "assigner", "method"]
