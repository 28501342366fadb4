"""The tables of docs/learning.md are those of the saved figures."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.house.checkout import ROOT

PAGE = ROOT / "docs" / "learning.md"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("learning_tables")


def test_every_table_of_the_page_is_as_saved(tables: ModuleType) -> None:
    page = PAGE.read_text()
    assert tables.written(page) == page, "run `python benchmarks/learning_tables.py`"


def test_every_table_is_shown_once(tables: ModuleType) -> None:
    assert sorted(tables.page.named(PAGE.read_text())) == sorted(tables.TABLES)
