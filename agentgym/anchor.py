"""Anchors: the identity of a state as one signed 64-bit integer.

Two states share an anchor if and only if their views are equal (up to a collision of a 64-bit hash), on every machine,
in every process, under every PYTHONHASHSEED. Group methods (GiGPO, HGPO, GTD, …) compare steps by their anchors.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

import numpy as np

__all__ = ["anchor", "encode", "hash64"]

_NUMPY_SCALARS = (np.bool_, np.integer, np.float16, np.float32, np.float64)
"""Those whose ``item()`` is a Python number; not long doubles (padding bytes), dates or records."""


def anchor(view: Any) -> int:
    """Hash a view of a state.

    A view is built from None, bool, int, float, str, bytes, tuples, lists, sets, dicts and NumPy arrays. Views that are
    equal in Python are equal here (``True == 1 == 1.0``); a tuple and a list are different; arrays are equal when
    dtype, shape and values are; a NumPy scalar is the Python number it converts to. A ``bytes`` view is the fastest.

    Returns:
        a Python int in [-2**63, 2**63).

    Raises:
        TypeError: the view holds something whose identity is not a value (a function, an object, NaN).
    """
    return hash64(encode(view))


def hash64(data: bytes) -> int:
    """First 64 bits of BLAKE2b as a signed integer."""
    return int.from_bytes(blake2b(data, digest_size=8).digest(), "little", signed=True)


def encode(view: Any) -> bytes:
    """The canonical, self-delimiting byte string of a view; equal views and no others have equal encodings."""
    if isinstance(view, bytes):
        return b"b%d:" % len(view) + view
    if isinstance(view, str):
        data = view.encode("utf-8", "surrogatepass")
        return b"s%d:" % len(data) + data
    if view is None:
        return b"n"
    if isinstance(view, np.ndarray):
        return _encode_array(view)
    if isinstance(view, _NUMPY_SCALARS):
        return encode(view.item())
    if isinstance(view, int):
        return b"i%x;" % view  # hexadecimal: Python refuses to print very long ints in decimal
    if isinstance(view, float):
        return _encode_float(view)
    if isinstance(view, tuple):
        return _join(b"t", [encode(v) for v in view])
    if isinstance(view, list):
        return _join(b"l", [encode(v) for v in view])
    if isinstance(view, dict):
        return _join(b"d", sorted(_join(b"p", (encode(k), encode(v))) for k, v in view.items()))
    if isinstance(view, (set, frozenset)):
        return _join(b"f", sorted(encode(v) for v in view))
    raise TypeError(
        "an anchor view is built from None, bool, int, float, str, bytes, tuple, list, set, dict and arrays; "
        f"got {type(view).__name__}: turn it into one of these in `anchor_view`"
    )


def _encode_float(value: float) -> bytes:
    if math.isnan(value):
        raise TypeError("an anchor view cannot hold NaN, which is not equal to itself; use None")
    if value.is_integer():
        return b"i%x;" % int(value)
    return b"r" + struct.pack("<d", value)


def _encode_array(array: np.ndarray[Any, Any]) -> bytes:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if kind not in "biufcUS" or (kind == "f" and size > 8) or (kind == "c" and size > 16):
        raise TypeError(
            "an anchor view holds arrays of bool, int, float, complex (up to 64 bits a number), str or bytes; "
            f"got dtype {array.dtype}: use a tuple, or another dtype"
        )
    little = array.dtype.newbyteorder("<")
    if kind in "fc":
        if np.isnan(array).any():
            raise TypeError("an anchor view cannot hold NaN, which is not equal to itself")
        array = array + 0  # -0.0 == 0.0
    return _join(b"a", (encode(little.str), encode(array.shape), encode(array.astype(little, copy=False).tobytes())))


def _join(tag: bytes, parts: Iterable[bytes]) -> bytes:
    parts = list(parts)
    return tag + b"%d:" % len(parts) + b"".join(parts)
