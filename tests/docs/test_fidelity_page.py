"""The tables of docs/fidelity.md are those of the saved figures."""

from __future__ import annotations

import importlib
from types import ModuleType

import pytest

from tests.house.checkout import ROOT

PAGE = ROOT / "docs" / "fidelity.md"


@pytest.fixture
def tables(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("fidelity_tables")


def test_every_table_of_the_page_is_as_saved(tables: ModuleType) -> None:
    page = PAGE.read_text()
    again = tables.written(page)
    wrong = [line for line in again.splitlines() if line not in page.splitlines()]
    assert again == page, f"run `python benchmarks/credit_fidelity.py --tables`; it would write {wrong[:3]}"


def test_every_table_is_shown_once(tables: ModuleType) -> None:
    assert sorted(tables.page.named(PAGE.read_text())) == sorted(tables.TABLES)


def test_a_number_that_was_changed_by_hand_is_noticed(tables: ModuleType) -> None:
    page = PAGE.read_text()
    start = page.index("<!-- table: ranking -->")
    at = page.index("0.", start)
    forged = page[:at] + "0.9" + page[at + 3 :]
    assert forged != page
    assert tables.written(forged) == page


def test_a_mark_without_a_table_is_an_error(tables: ModuleType) -> None:
    with pytest.raises(KeyError, match="no-such"):
        tables.written("<!-- table: no-such -->\n<!-- end of table -->")
