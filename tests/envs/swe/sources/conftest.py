"""A place for the cache, and a sandbox with pytest."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from agentgym.containers import backends, images


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; gives the folder of its archives."""
    monkeypatch.setenv("AGENTGYM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "swe" / "sdists"


@pytest.fixture
def sandboxes(need: Callable[[object, str, str], None]) -> None:
    """Sandboxes in which pytest runs."""
    found = {b.name: b.refusal for b in backends()}
    need(not found["docker"], "the sandbox back-end docker", found["docker"])
    need(images.here("agentgym/swe"), "the image agentgym/swe", "run `agentgym images build swe`")
