"""Evaluate policies on suites, compare runs, and write reports."""

from agentgym.agents.evaluate.compare import Comparison, Difference, compare
from agentgym.agents.evaluate.evaluate import EvalResult, evaluate
from agentgym.agents.evaluate.suites import Item, Suite, register_suite, suite, suite_names

__all__ = [
    "Comparison",
    "Difference",
    "EvalResult",
    "Item",
    "Suite",
    "compare",
    "evaluate",
    "register_suite",
    "suite",
    "suite_names",
]
