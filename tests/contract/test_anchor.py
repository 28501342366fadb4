"""Equal views and no others have equal anchors, in every process."""

from __future__ import annotations

import enum
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym.anchor import anchor, encode

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=5)  # lone surrogates too
    | st.binary(max_size=5)
)
hashables = st.recursive(
    scalars, lambda v: st.lists(v, max_size=3).map(tuple) | st.frozensets(v, max_size=3), max_leaves=6
)
views = st.recursive(
    hashables,
    lambda v: st.lists(v, max_size=3) | st.lists(v, max_size=3).map(tuple) | st.dictionaries(hashables, v, max_size=3),
    max_leaves=10,
)
# Few values, many shapes: equal pairs are likely.
small = st.recursive(
    st.sampled_from([None, False, True, 0, 1, 2, 0.0, -0.0, 1.0, 0.5, "", "1", "a", b"", b"1", b"a"]),
    lambda v: (
        st.lists(v, max_size=2)
        | st.lists(v, max_size=2).map(tuple)
        | st.dictionaries(st.sampled_from("ab"), v, max_size=2)
    ),
    max_leaves=5,
)


@given(small, small)
def test_views_are_equal_exactly_when_their_encodings_are(a: object, b: object) -> None:
    assert (a == b) == (encode(a) == encode(b))
    assert (a == b) == (anchor(a) == anchor(b))


@given(views, views)
def test_the_law_holds_of_any_views(a: object, b: object) -> None:
    assert (a == b) == (encode(a) == encode(b))


@given(views)
def test_an_anchor_is_a_signed_64_bit_python_int(view: object) -> None:
    assert type(anchor(view)) is int
    assert -(2**63) <= anchor(view) < 2**63
    assert np.array([anchor(view)], np.int64)[0] == anchor(view)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=4))
def test_the_order_in_which_a_dict_or_set_was_filled_does_not_count(items: list[tuple[str, int]]) -> None:
    unique = list(dict(items).items())
    assert encode(dict(unique)) == encode(dict(reversed(unique)))
    assert encode({k for k, _ in unique}) == encode(frozenset(k for k, _ in reversed(unique)))


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((1, 2), [1, 2]),
        ("a", b"a"),
        (("a", "bc"), ("ab", "c")),
        (((),), ((), ())),
        ({"a": {"b": 1}}, {"a": {}, "b": 1}),
        (set(), ()),
        (10**6000, 10**6000 + 1),
        (float("inf"), -float("inf")),
        (2**53 + 1, float(2**53)),
    ],
    ids=lambda view: type(view).__name__,
)
def test_views_that_look_alike_differ(a: object, b: object) -> None:
    assert encode(a) != encode(b)


class Direction(enum.IntEnum):
    EAST = 0


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (True, 1),
        (1, 1.0),
        (0.0, -0.0),
        (np.int32(3), 3),
        (np.float32(0.5), 0.5),
        (np.bool_(True), True),
        (Direction.EAST, 0),
    ],
)
def test_numbers_that_are_equal_are_one_view(a: object, b: object) -> None:
    assert encode(a) == encode(b)
    assert encode((a, "x")) == encode((b, "x"))


def test_arrays_are_equal_when_dtype_shape_and_values_are() -> None:
    base = np.arange(6, dtype=np.int64).reshape(2, 3)
    assert encode(base) == encode(base.copy())
    assert encode(base[:, ::-1]) == encode(np.ascontiguousarray(base[:, ::-1]))
    assert encode(base.astype(">i8")) == encode(base)
    assert encode(np.array([0.0, -0.0])) == encode(np.array([-0.0, 0.0]))
    assert encode(np.array([complex(0.0, -0.0)])) == encode(np.array([0j]))
    different = [base, base.astype(np.int32), base.reshape(3, 2), base + 1, base.tolist(), base.astype(float)]
    assert len({encode(view) for view in different}) == len(different)


@pytest.mark.parametrize(
    "view",
    [
        float("nan"),
        (1, [float("nan")]),
        np.array([1.0, np.nan]),
        np.float64("nan"),
        np.array([None]),
        np.array([(1, -0.0)], dtype=[("a", int), ("b", float)]),
        np.longdouble(1.5),
        np.array([1.5], np.longdouble),
        np.datetime64("2020-01-01"),
        object(),
        len,
        bytearray(b"a"),
        {"a": object()},
        1j,
    ],
    ids=lambda view: re.sub(r" at 0x\w+", "", repr(view)),  # the same names in every process
)
def test_what_has_no_value_of_its_own_is_refused_with_advice(view: object) -> None:
    with pytest.raises(TypeError, match="anchor view"):
        anchor(view)


def test_anchors_are_the_same_in_every_process() -> None:
    view = "{'b': {1, 2, 'x', (3, None)}, 'a': [1.5, b'y', frozenset({'p', 'q', 'r'})], 'grid': np.eye(3)}"
    code = f"import numpy as np; from agentgym.anchor import anchor; print(anchor({view}))"
    told = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert told == {f"{anchor(eval(view, {'np': np}))}\n"}  # noqa: S307  (a literal of this test)


def test_anchors_never_change_between_versions() -> None:
    """Stored runs hold anchors: this number may change only together with their format version."""
    assert anchor(("door", 3, True, None, [0.5])) == 6073067796916118993
