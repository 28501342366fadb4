"""Faults are small, where they say they are, and leave a source that parses."""

from __future__ import annotations

import ast

import pytest

from agentgym.envs.swe.faults import faults

SOURCE = '''
def clip(values, low, high):
    """Keep 1 + 1 values."""
    out = []  # 2 < 3
    for v in values:
        if v < low and v != -1:
            out.append(low)
        else:
            out.append(min(high, v))
    return out
'''


def changes(kind: str) -> set[tuple[int, str, str]]:
    return {(f.line, f.old, f.new) for f in faults(SOURCE) if f.kind == kind}


def test_operators_are_mistaken_for_their_neighbours() -> None:
    assert changes("comparison") == {(6, "<", "<="), (6, "<", ">"), (6, "!=", "==")}
    assert changes("logic") == {(6, "and", "or")}


def test_numbers_are_off_by_one() -> None:
    assert changes("number") == {(6, "1", "2"), (6, "1", "0")}


def test_a_sign_is_no_arithmetic() -> None:
    assert changes("arithmetic") == set()
    assert {f.new for f in faults("x = a - 1\n") if f.kind == "arithmetic"} == {"+"}


def test_names_are_mistaken_for_others_that_are_read() -> None:
    names = changes("name")
    assert (5, "values", "low") in names
    assert not any(line == 4 for line, *_ in names)  # what is assigned to is no slip to be found


def test_text_and_comments_are_left_alone() -> None:
    assert not any(f.line == 3 or (f.line == 4 and f.column > 15) for f in faults(SOURCE))


def test_every_fault_parses_and_changes_one_token() -> None:
    for fault in faults(SOURCE):
        changed = fault.apply(SOURCE)
        ast.parse(changed)
        differing = [
            n for n, (a, b) in enumerate(zip(SOURCE.splitlines(), changed.splitlines(), strict=True), 1) if a != b
        ]
        assert differing == [fault.line]
        assert fault.function == "clip"


def test_a_fault_of_another_source_is_refused() -> None:
    with pytest.raises(ValueError, match="expected"):
        faults(SOURCE)[0].apply("x = 1\n")
