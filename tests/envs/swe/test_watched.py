"""Tests that look at what they assert about: the same tests, line by line."""

from __future__ import annotations

import ast
from unittest import mock

import pytest

from agentgym.envs.swe.inside.suite import looker
from agentgym.envs.swe.watched import watched

TEXT = """import unittest


def test_plain():
    é = "ü"; assert (é) == "ü" and not len(é) > 2, "é"
    assert (
        f(é)  # a remark
        != [1,
            2]
    )
    assert g()
    assert all(x == 1 for x in (1, 1)) if é else True
    assert (y := 3) == y


class TestOld(unittest.TestCase):
    def test_it(self):
        self.assertEqual(f(1), "a")
"""
SEEN = """import unittest


def test_plain():
    é = "ü"; assert (look(é)) == "ü" and not look(len(é)) > 2, "é"
    assert (
        look(f(é))  # a remark
        != look([1,
            2])
    )
    assert look(g())
    assert look(all(x == 1 for x in (1, 1)) if é else True)
    assert (look(y := 3)) == look(y)


class TestOld(unittest.TestCase):
    def test_it(self):
        self.assertEqual(look(f(1)), "a")
"""


class Equal:
    """Equals everything."""

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> bool:
        return True


class Moody:
    """Cannot be compared."""

    def __eq__(self, other: object) -> bool:
        raise TypeError(other)


def test_operands_are_handed_over_and_lines_stay() -> None:
    assert watched(TEXT.encode(), "look").decode() == SEEN
    ast.parse(SEEN)


def test_one_assertion_in_another() -> None:
    assert watched(b"assert t.assertTrue(a) == b", "l") == b"assert l(t.assertTrue(l(a))) == l(b)"
    assert watched(b"t.assertIn(t.assertTrue(a), b)", "l") == b"t.assertIn(l(t.assertTrue(l(a))), l(b))"


@pytest.mark.parametrize("source", [b"def f(:", b"\xff = 1", b"assert True", b"x = 1\n", b"assert 'a' 'b'"])
def test_what_holds_nothing_to_look_at_stays(source: bytes) -> None:
    assert watched(source, "look") == source


LOOK = looker(("a", object(), 12345, ["b"]))


@pytest.mark.parametrize("value", [1, "text", [1, {"a": (2,)}], {3}, None, Moody(), mock.ANY, [mock.ANY], object()])
def test_an_honest_value_passes(value: object) -> None:
    assert LOOK(value) is value


@pytest.mark.parametrize("value", [Equal(), (1, Equal()), {"a": [Equal()]}, {Equal(): 1}, [[[Equal()]]]])
def test_what_equals_everything_fails(value: object) -> None:
    with pytest.raises(AssertionError, match="claims to equal what nothing equals"):
        LOOK(value)
