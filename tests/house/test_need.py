"""A part that is missing is seen: as a skip on a user's machine, as a failure in CI."""

from __future__ import annotations

from collections.abc import Callable

import pytest

Need = Callable[[object, str, str], None]


def test_what_is_here_goes_on(need: Need) -> None:
    need("/usr/bin/true", "a program", "install it")


def test_a_missing_part_skips_and_names_the_fix(need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"needs Chromium, .*; run `apt-get install chromium`"):
        need(None, "Chromium", "run `apt-get install chromium`")


def test_a_missing_part_fails_in_ci(need: Need, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"needs Chromium, .*; run `apt-get install chromium`"):
        need(None, "Chromium", "run `apt-get install chromium`")
