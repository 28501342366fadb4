"""Bugs written by hand: small modules, each with one slip that people make, and tests that only the repair passes."""

from __future__ import annotations

from agentgym.envs.swe.bugs.bug import Bug
from agentgym.envs.swe.bugs.collections import BUGS as _COLLECTIONS
from agentgym.envs.swe.bugs.numbers import BUGS as _NUMBERS
from agentgym.envs.swe.bugs.texts import BUGS as _TEXTS

__all__ = ["BUGS", "Bug"]

BUGS: dict[str, Bug] = {bug.name: bug for bug in (*_TEXTS, *_NUMBERS, *_COLLECTIONS)}
"""All of them by name."""
