"""The tables and the picture of docs/web-learning.md are those of the saved figures."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.house.checkout import ROOT

PAGE = ROOT / "docs" / "web-learning.md"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("web_learning_page")


def test_every_table_is_as_saved_and_shown_once(made: ModuleType) -> None:
    page = PAGE.read_text()
    assert made.written(page) == page, "run `python benchmarks/web_learning_page.py`"
    assert sorted(made.page.named(page)) == sorted(made.TABLES)


def test_the_picture_is_as_saved(made: ModuleType) -> None:
    """Before anything is measured there is neither, and every table says so."""
    measured = (made.common.RESULTS / "web_learning.json").exists()
    assert made.PICTURE.exists() == measured
    if measured:
        assert made.PICTURE.read_text() == made.picture(), "run `python benchmarks/web_learning_page.py`"
    else:
        assert PAGE.read_text().count("Not measured yet.") == len(made.TABLES)
