"""Small exact tasks for the tests of the audit."""

from __future__ import annotations

import numpy as np
import pytest

from agentgym.rewards.audit import MDP, corridor, slippery


@pytest.fixture(scope="session")
def hall() -> MDP:
    """Five cells in a row."""
    return corridor(5)


@pytest.fixture(scope="session")
def trap() -> MDP:
    """Three cells in a row whose left end is deadly, start in the middle; feet slip one step in five."""
    base = corridor(3)
    return slippery(MDP(**{**vars(base), "start": 1, "dead": np.array([True, False, False]), "name": "trap"}), 0.2)
