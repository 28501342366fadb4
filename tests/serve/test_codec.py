"""What goes over the wire comes back as it was, and what is malformed is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from agentgym.errors import UsageError
from agentgym.serve.codec import ProtocolError, describe, pack, space, unpack

plain = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text() | st.binary()
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=4) | st.tuples(inner, inner) | st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=12,
)
numbers = arrays.arrays(
    st.sampled_from(["?", "u1", "i4", "<i8", "f4", "f8"]), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)
)


def same(a: Any, b: Any) -> bool:
    """Equal, also in kind, and NaN equals NaN."""
    if isinstance(a, np.ndarray | np.generic):
        return type(a) is type(b) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return type(a) is type(b) and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    return type(a) is type(b) and (a == b or (a != a and b != b))


@given(values)
def test_plain_values_lists_tuples_and_dicts_come_back_as_they_were(value: Any) -> None:
    assert same(unpack(pack(value)), value)


@given(numbers)
def test_arrays_come_back_with_type_and_shape_and_can_be_written_to(array: Any) -> None:
    found = unpack(pack({"array": array}))["array"]
    assert same(found, np.asarray(array))
    assert found.flags.writeable


@given(st.binary(max_size=200))
def test_any_bytes_are_a_value_or_a_protocol_error(data: bytes) -> None:
    with contextlib.suppress(ProtocolError):
        unpack(data)


def array(kind: str, shape: list[Any], data: bytes) -> bytes:
    import msgpack

    return bytes(msgpack.packb(msgpack.ExtType(1, pack([kind, shape, data]))))


@pytest.mark.parametrize(
    "message",
    [
        array("O", [1], b"12345678"),
        array("V8", [1], b"12345678"),
        array("<i8", [2], b"12345678"),
        array("<i8", [-1], b""),
        array("<i8", [2**62, 2**62], b""),
        array("<i8", [1] * 100, b"12345678"),
        array("nonsense", [1], b"12345678"),
    ],
)
def test_arrays_of_objects_or_of_another_size_are_refused(message: bytes) -> None:
    with pytest.raises(ProtocolError):
        unpack(message)


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["a"], dtype=object), 2**64])
def test_what_cannot_be_sent_is_said(value: Any) -> None:
    with pytest.raises(UsageError, match="cannot be sent"):
        pack(value)


SPACES = [
    spaces.Discrete(3, start=-1),
    spaces.Box(-1.0, np.inf, (2, 3), np.float32),
    spaces.Box(0, 255, (4,), np.uint8),
    spaces.MultiDiscrete([2, 5]),
    spaces.MultiBinary(4),
    spaces.Text(12, min_length=2, charset="abc é"),
    spaces.Dict({"b": spaces.Discrete(2), "a": spaces.Text(3)}),
    spaces.Tuple((spaces.Discrete(2), spaces.MultiBinary(2))),
    spaces.Sequence(spaces.Discrete(2)),
]


@pytest.mark.parametrize("original", SPACES, ids=lambda s: type(s).__name__)
def test_spaces_come_back_equal(original: gymnasium.Space[Any]) -> None:
    assert space(unpack(pack(describe(original)))) == original


def test_a_space_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="Graph"):
        describe(spaces.Graph(spaces.Discrete(2), None))


@pytest.mark.parametrize("told", [None, {}, {"kind": "discrete", "n": 0, "start": 0}, {"kind": "text", "max": -1}])
def test_a_description_of_no_space_is_a_protocol_error(told: Any) -> None:
    with pytest.raises(ProtocolError):
        space(told)
