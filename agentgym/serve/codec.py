"""What goes over the wire between a served environment and its clients: MessagePack, with arrays and tuples kept.

Values: None, bool, int (64 bits), float, str, bytes, list, dict, and by extension types NumPy arrays (booleans and
numbers; an item type, a shape, the bytes), NumPy scalars, and tuples. Nothing is ever executed when a message is read,
and what is malformed is refused with `ProtocolError`.

Spaces travel as descriptions of the same kind of values (`describe`, `space`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from agentgym.errors import MissingExtra, UsageError, WorldError

try:
    import msgpack
except ImportError as error:
    raise MissingExtra("msgpack", "serve") from error

__all__ = ["ProtocolError", "describe", "pack", "space", "unpack"]

_ARRAY, _SCALAR, _TUPLE = 1, 2, 3
_KINDS = "biuf"
_MAX_DIMENSIONS = 16


class ProtocolError(WorldError):
    """The other side sent what this protocol does not know."""


def pack(value: Any) -> bytes:
    """One message.

    Raises:
        UsageError: a value of another type, or an integer beyond 64 bits.
    """
    try:
        message: bytes = msgpack.packb(value, default=_extend, strict_types=True, unicode_errors="surrogatepass")
    except (TypeError, OverflowError, ValueError) as error:
        raise UsageError(f"this value cannot be sent: {error}") from error
    return message


def unpack(message: bytes) -> Any:
    """The inverse of `pack`.

    Raises:
        ProtocolError: the message is malformed.
    """
    try:
        return msgpack.unpackb(
            message, ext_hook=_extended, strict_map_key=False, unicode_errors="surrogatepass", use_list=True
        )
    except ProtocolError:
        raise
    except (ValueError, TypeError, RecursionError) as error:  # msgpack's own errors are ValueErrors
        raise ProtocolError(
            f"expected a MessagePack message, got {len(message)} bytes that are none: {error}"
        ) from error


def _extend(value: Any) -> Any:
    if isinstance(value, tuple):
        return msgpack.ExtType(_TUPLE, pack(list(value)))
    if isinstance(value, np.generic):
        return msgpack.ExtType(_SCALAR, _array(np.asarray(value)))
    if isinstance(value, np.ndarray):
        return msgpack.ExtType(_ARRAY, _array(value))
    if isinstance(value, str):  # subclasses of plain types: enumerations, for one
        return str.__str__(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__module__}.{type(value).__name__} is neither plain nor an array of numbers")


def _array(value: np.ndarray[Any, Any]) -> bytes:
    if value.dtype.kind not in _KINDS:
        raise TypeError(f"an array of {value.dtype} is not one of booleans or numbers")
    return pack([value.dtype.str, list(value.shape), np.ascontiguousarray(value).tobytes()])


def _extended(code: int, data: bytes) -> Any:
    value = unpack(data)
    if not isinstance(value, list):
        raise ProtocolError(f"extension {code} holds {type(value).__name__} instead of a list")
    if code == _TUPLE:
        return tuple(value)
    if code in (_ARRAY, _SCALAR):
        array = _read_array(value)
        return array[()] if code == _SCALAR and array.ndim == 0 else array
    raise ProtocolError(f"extension {code} is not known")


def _read_array(parts: list[Any]) -> np.ndarray[Any, Any]:
    match parts:
        case [str(kind), list(shape), bytes(data)] if len(kind) <= 4 and len(shape) <= _MAX_DIMENSIONS:
            pass
        case _:
            raise ProtocolError("expected an array as item type, shape and bytes")
    try:
        dtype = np.dtype(kind)
    except TypeError as error:
        raise ProtocolError(f"unknown item type {kind!r}") from error
    if dtype.kind not in _KINDS or not all(type(n) is int and n >= 0 for n in shape):
        raise ProtocolError(f"an array of {kind!r} and shape {shape!r} is not one of booleans or numbers")
    expected = dtype.itemsize
    for n in shape:  # Python integers: they do not overflow
        expected *= n
    if expected != len(data):
        raise ProtocolError(f"an array of {kind!r} and shape {shape!r} has {expected} bytes, got {len(data)}")
    return np.frombuffer(data, dtype=dtype).reshape(shape).copy()


# ---------------------------------------------------------------------- spaces


def describe(given: gymnasium.Space[Any]) -> dict[str, Any]:
    """A space as plain values.

    Raises:
        UsageError: a kind of space that is not known here.
    """
    if isinstance(given, spaces.Discrete):
        return {"kind": "discrete", "n": int(given.n), "start": int(given.start)}
    if isinstance(given, spaces.Box):
        return {"kind": "box", "low": given.low, "high": given.high, "dtype": given.dtype.str}
    if isinstance(given, spaces.MultiDiscrete):
        return {"kind": "multi_discrete", "nvec": given.nvec, "start": given.start, "dtype": given.dtype.str}
    if isinstance(given, spaces.MultiBinary):
        return {"kind": "multi_binary", "n": given.n if isinstance(given.n, int) else list(given.shape)}
    if isinstance(given, spaces.Text):
        letters = "".join(sorted(given.character_set))
        return {"kind": "text", "max": given.max_length, "min": given.min_length, "letters": letters}
    if isinstance(given, spaces.Dict):
        return {"kind": "dict", "parts": [[key, describe(inner)] for key, inner in given.spaces.items()]}
    if isinstance(given, spaces.Tuple):
        return {"kind": "tuple", "parts": [describe(inner) for inner in given.spaces]}
    if isinstance(given, spaces.Sequence):
        return {"kind": "sequence", "part": describe(given.feature_space), "stack": bool(given.stack)}
    raise UsageError(f"a space of type {type(given).__name__} cannot be served: {given}")


def space(told: Any) -> gymnasium.Space[Any]:
    """The inverse of `describe`.

    Raises:
        ProtocolError: not a description of a space.
    """
    try:
        match told:
            case {"kind": "discrete", "n": n, "start": start}:
                return spaces.Discrete(n, start=start)
            case {"kind": "box", "low": low, "high": high, "dtype": dtype}:
                return spaces.Box(low, high, dtype=np.dtype(dtype).type)
            case {"kind": "multi_discrete", "nvec": nvec, "start": start, "dtype": dtype}:
                return spaces.MultiDiscrete(nvec, dtype=np.dtype(dtype).type, start=start)
            case {"kind": "multi_binary", "n": n}:
                return spaces.MultiBinary(n)
            case {"kind": "text", "max": most, "min": least, "letters": letters}:
                return spaces.Text(most, min_length=least, charset=letters)
            case {"kind": "dict", "parts": parts}:
                return spaces.Dict([(key, space(inner)) for key, inner in parts])
            case {"kind": "tuple", "parts": parts}:
                return spaces.Tuple([space(inner) for inner in parts])
            case {"kind": "sequence", "part": part, "stack": stack}:
                return spaces.Sequence(space(part), stack=stack)
    except (TypeError, ValueError, AssertionError, AttributeError) as error:
        raise ProtocolError(f"expected the description of a space: {error}") from error
    raise ProtocolError(f"expected the description of a space, got {str(told)[:200]!r}")
