"""Values: read out of plain tests, written so that equal ones and no others agree, whatever objects claim."""

from __future__ import annotations

from collections import Counter, OrderedDict, defaultdict, namedtuple
from typing import Any

import pytest

from agentgym.envs.swe.inside.calls import canonical
from agentgym.envs.swe.instance import Value
from agentgym.envs.swe.values import agrees, values_of

Point = namedtuple("Point", "x y")


class Equal:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class EqualList(list[Any]):
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Any:
        return iter([1, 2])


class EqualInt(int):
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 3

    def __index__(self) -> int:
        return 3


class Posing:
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return int


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, True),
        (1, 1.0),
        (0.0, -0.0),
        ((1, 2), Point(1, 2)),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"a": 1}, defaultdict(int, a=1)),
        ({"a": 1}, OrderedDict(a=1)),
        ({"a": 2}, Counter("aa")),
        ({1, 2}, frozenset((2, 1))),
        (b"x", bytearray(b"x")),
    ],
)
def test_equal_values_have_one_text(one: object, other: object) -> None:
    assert one == other
    assert canonical(one) == canonical(other) or {type(one), type(other)} == {set, frozenset}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (1, 2),
        (1, "1"),
        ("a", b"a"),
        ([1], (1,)),
        ([], {}),
        ([[1], 2], [[1, 2]]),
        (["a,b"], ["a", "b"]),
        (None, False),
        ({1: 2}, {2: 1}),
        (Equal(), 3),
        (EqualList([5]), [1, 2]),
        (EqualInt(5), 3),
        pytest.param(Posing(), 0, id="posing"),
        ([Equal()], [3]),
    ],
)
def test_other_values_have_another_text_whatever_they_claim(one: object, other: object) -> None:
    try:
        text = canonical(one)
    except TypeError:  # in the sandbox an exception is no value either
        return
    assert text != canonical(other)


def test_a_value_that_holds_itself_ends() -> None:
    endless: list[Any] = []
    endless.append(endless)
    assert "deep" in canonical(endless)


SOURCE = """
import pytest
from thing import f

LIMIT = 3


def test_equal():
    value = f(1)
    assert value == [1, LIMIT]
    assert f(2) == [2, 3]


def test_is():
    assert f(0) is None


def test_not():
    assert not f(3)


def test_raises():
    with pytest.raises(ValueError):
        f(-1)


def test_loop():
    for k in range(3):
        assert f(k) == k


def test_approximately():
    assert f(1) == pytest.approx(1)


def test_fixture(tmp_path):
    assert f(tmp_path) == 1
"""


def test_plain_tests_become_values_and_others_do_not() -> None:
    found = values_of("t.py", SOURCE)
    assert set(found) == {f"t.py::test_{name}" for name in ("equal", "is", "not", "raises")}
    first, second = found["t.py::test_equal"]
    assert (first.call, first.expected) == ("bool(value == [1, LIMIT])", "True")
    assert (second.call, second.expected) == ("f(2)", "[2, 3]")
    assert "pytest" not in second.setup
    assert [v.raises for v in found["t.py::test_raises"]] == ["ValueError"]


def test_agreement_is_of_texts_and_of_classes() -> None:
    value = Value("t", "f()", expected="[1, 2]")
    assert agrees(value, "=" + canonical([1, 2]))
    assert not agrees(value, "=O:Equal")
    assert not agrees(value, "")
    error = Value("t", "f()", raises="LookupError")
    assert agrees(error, "!KeyError,LookupError,Exception")
    assert not agrees(error, "^KeyError,LookupError,Exception")
    assert not agrees(error, "=N")
