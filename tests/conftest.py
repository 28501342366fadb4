"""What every test may lean on: one thread, no network, a place for runs, and one way to say that a part is missing."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

# Read once, when the numeric libraries load: it must stand here before any test module imports them.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")
# A test that would download a model is a mistake; make it an error at once instead of a long wait.
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import pytest
from hypothesis import settings

Need = Callable[[object, str, str], None]

# No deadline: a busy machine is no reason to fail. In CI the examples are always the same: a red run can be repeated.
settings.register_profile("full", deadline=None, max_examples=100, derandomize="CI" in os.environ, print_blob=True)
settings.register_profile("quick", settings.get_profile("full"), max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    settings.load_profile("quick" if config.option.markexpr == "not slow" else "full")


def pytest_collection_finish(session: pytest.Session) -> None:
    # A plugin may have loaded torch before the variables above were set.
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


def _need(condition: object, what: str, fix: str) -> None:
    if condition:
        return
    message = f"needs {what}, which is not here; {fix}"
    if os.environ.get("CI"):
        pytest.fail(message + " (CI is set: a missing part is a failure there, not a skip)", pytrace=False)
    pytest.skip(message)


@pytest.fixture(scope="session")
def need() -> Need:
    """`need(condition, what, fix)`: skip and name the fix unless `condition` is true; where CI is set, fail instead.

    >>> def test_report(need):
    ...     need(shutil.which("chromium"), "Chromium", "run `apt-get install chromium`")
    """
    return _need


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    """A path for one run, not there yet, under this test's own temporary folder."""
    return tmp_path / "run"
