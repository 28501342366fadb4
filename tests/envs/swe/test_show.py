"""What tools say, and what is taken out of it so that it is the same in every process."""

from __future__ import annotations

import pytest

from agentgym.envs.swe.show import without_addresses, without_times


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ("<N at 0x7F81CC78E750> is not <N at 0x7f81cc78e790>", "<N at 0x> is not <N at 0x>"),
        ("assert 'foo s...f2d0ee395a0>' == ''", "assert 'foo s...0x>' == ''"),
        ("where False = <bound method T.f of <T at 0x7F8", "where False = <bound method T.f of <T at 0x"),
        ("<T at 0x", "<T at 0x"),
    ],
)
def test_places_in_memory_are_left_out(said: str, left: str) -> None:
    assert without_addresses(said) == left


@pytest.mark.parametrize("said", ["assert 0x1F == 31", "10x7f81cc78e750", "it is 0xbeef", "List[...]>"])
def test_numbers_stay(said: str) -> None:
    assert without_addresses(said) == said


def test_durations_are_left_out() -> None:
    assert without_times("4 passed in 0.01s") == without_times("4 passed in 12.5s")
    assert "in 3 files" in without_times("4 passed in 3 files")
