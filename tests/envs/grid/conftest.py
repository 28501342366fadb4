"""The grid tests run on minigrid."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import pytest


@pytest.fixture(autouse=True)
def minigrid(need: Callable[[object, str, str], None]) -> None:
    need(importlib.util.find_spec("minigrid"), "minigrid", 'run `pip install -e ".[grid]"`')
