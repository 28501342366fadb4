"""The web tests run on a real Chromium."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator

import pytest

from agentgym.errors import UsageError

Need = Callable[[object, str, str], None]


@pytest.fixture(autouse=True)
def chromium(need: Need) -> None:
    from agentgym.envs.web.chromium import find_chromium

    for package in ("playwright", "miniwob", "PIL"):
        need(importlib.util.find_spec(package), package, 'run `pip install -e ".[web]"`')
    try:
        find_chromium()
    except UsageError as missing:
        need(False, "Chromium", str(missing))


@pytest.fixture(autouse=True, scope="package")
def nothing_stays() -> Iterator[None]:
    """No browser outlives these tests."""
    yield
    from agentgym.envs.web import close_browsers

    close_browsers()
