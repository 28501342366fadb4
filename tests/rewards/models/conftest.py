"""Rollouts to learn from, and others on layouts that those never saw."""

from __future__ import annotations

import pytest

from agentgym.steps import StepTable
from tests.rewards.models.played import elsewhere, played


@pytest.fixture(scope="session")
def seen() -> StepTable:
    """80 layouts, five tries each."""
    return played(range(80))


@pytest.fixture(scope="session")
def unseen(seen: StepTable) -> StepTable:
    """Other layouts."""
    return elsewhere(played(range(500, 540), first=10**6), seen)
