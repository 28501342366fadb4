"""Columns of NumPy arrays and Python values to Parquet files and back, without loss.

A NumPy column keeps its dtype and shape. An object column (an extra: action text, a judge's score, nothing) may hold
``None``, ``bool``, ``int``, ``float``, ``str`` and ``bytes`` side by side; Parquet has no such type, so a column of one
kind is stored as that kind with nulls, and a mixed one as bytes with a leading tag. Which of the three it was stands in
the metadata of the field, so that reading needs no guess.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import MissingExtra, RunError, UsageError

try:
    import pyarrow as pa
    import pyarrow.parquet as pq
except ImportError as error:
    raise MissingExtra("pyarrow", "train") from error

__all__ = ["read_column", "read_columns", "read_sets", "write_columns", "write_sets"]

_KIND = b"agentgym"

_TAGGED: dict[type, tuple[bytes, Callable[[Any], bytes], Callable[[bytes], Any]]] = {
    bool: (b"b", lambda v: b"1" if v else b"0", lambda v: v == b"1"),
    int: (b"i", lambda v: str(v).encode(), int),
    float: (b"f", lambda v: struct.pack("<d", v), lambda v: struct.unpack("<d", v)[0]),
    str: (b"s", lambda v: v.encode("utf-8", "surrogatepass"), lambda v: v.decode("utf-8", "surrogatepass")),
    bytes: (b"x", lambda v: v, lambda v: v),
}
"""How one value of a mixed column is written: tag, to bytes, from bytes."""

_UNTAG = {tag: read for tag, _, read in _TAGGED.values()}
_PLAIN = {
    bool: pa.bool_(),
    int: pa.int64(),
    float: pa.float64(),
    str: pa.large_string(),
    bytes: pa.large_binary(),
}


def write_columns(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write columns of one length to ``path`` and wait until they are on the disk.

    Raises:
        UsageError: an object column holds something other than None, bool, int, float, str or bytes.
    """
    fields, arrays = [], []
    for name, values in columns.items():
        array, kind = _encode(name, values)
        fields.append(pa.field(name, array.type, metadata={_KIND: json.dumps(kind).encode()}))
        arrays.append(array)
    _write(path, pa.Table.from_arrays(arrays, schema=pa.schema(fields)))


def read_columns(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The columns that `write_columns` wrote.

    Raises:
        RunError: the file is missing, cut short, damaged (page checksums) or not ours.
    """
    table = _read(path)
    return {field.name: _decode(path, field, table.column(k)) for k, field in enumerate(table.schema)}


def read_column(path: Path, name: str) -> npt.NDArray[Any]:
    """One column alone; the others are not read."""
    table = _read(path, columns=[name])
    if table.num_columns != 1:
        raise RunError(f"{_where(path)} has no column {name!r}; it is not a table of a run")
    return _decode(path, table.schema.field(0), table.column(0))


def write_sets(path: Path, sets: tuple[tuple[tuple[int, ...], ...], ...]) -> None:
    """Write candidate sets: one row a set, a list of token lists."""
    _write(path, pa.table({"set": pa.array(sets, pa.list_(pa.list_(pa.int64())))}))


def read_sets(path: Path) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The candidate sets that `write_sets` wrote."""
    return tuple(tuple(tuple(tokens) for tokens in row) for row in _read(path).column("set").to_pylist())


# ---------------------------------------------------------------------- one column


def _encode(name: str, values: npt.NDArray[Any]) -> tuple[pa.Array, dict[str, Any]]:
    if values.dtype.kind in "biuf":
        kind = {"kind": "numpy", "dtype": values.dtype.str, "shape": list(values.shape[1:])}
        flat = np.ascontiguousarray(values)
        if values.ndim == 1:
            return pa.array(flat.astype(values.dtype.newbyteorder("="))), kind
        return pa.array([row.tobytes() for row in flat], pa.large_binary()), kind
    if values.ndim != 1 or values.dtype.kind not in "OUS":
        raise UsageError(
            f"extra {name!r} has dtype {values.dtype} and shape {values.shape}, which a run cannot store; give "
            "numbers, or one str, bytes, int, float, bool or None a row (JSON for structures, `Run.put_blob` for "
            "images)"
        )
    kind = {"kind": "object" if values.dtype == object else "text", "dtype": values.dtype.str}
    items = [v.item() if isinstance(v, np.generic) else v for v in values]
    types = {type(v) for v in items} - {type(None)}
    unknown = types - set(_TAGGED)
    if unknown:
        raise UsageError(
            f"extra {name!r} holds {sorted(t.__name__ for t in unknown)}, which a run cannot store; give str, bytes, "
            "int, float, bool or None (JSON for structures, `Run.put_blob` for images)"
        )
    if len(types) <= 1 and _fits(items):
        return pa.array(items, _PLAIN[types.pop()] if types else pa.null(), from_pandas=False), kind
    tagged = [None if v is None else _TAGGED[type(v)][0] + _TAGGED[type(v)][1](v) for v in items]
    return pa.array(tagged, pa.large_binary()), kind | {"tagged": True}


def _fits(items: list[Any]) -> bool:
    """Every text is UTF-8 (a model may emit a lone surrogate) and every integer has 64 bits."""
    for v in items:
        if type(v) is str and not v.isascii() and any("\ud800" <= c <= "\udfff" for c in v):
            return False
        if type(v) is int and not -(2**63) <= v < 2**63:
            return False
    return True


def _decode(path: Path, field: Any, column: Any) -> npt.NDArray[Any]:
    try:
        kind = json.loads(field.metadata[_KIND])
    except (KeyError, TypeError, ValueError):
        raise RunError(f"{_where(path)}: column {field.name!r} was not written by agentgym") from None
    dtype = np.dtype(kind["dtype"])
    if kind["kind"] == "numpy":
        shape = tuple(kind["shape"])
        if not shape:
            return np.asarray(column.to_numpy(zero_copy_only=False), dtype=dtype)
        joined = b"".join(column.to_pylist())
        return np.frombuffer(bytearray(joined), dtype=dtype).reshape(len(column), *shape)
    items = column.to_pylist()
    if kind.get("tagged"):
        items = [None if v is None else _UNTAG[v[:1]](v[1:]) for v in items]
    out = np.empty(len(items), dtype=dtype)
    out[:] = items
    return out


# ---------------------------------------------------------------------- one file


def _write(path: Path, table: pa.Table) -> None:
    with path.open("wb") as file:
        pq.write_table(table, file, compression="zstd", write_page_checksum=True)
        file.flush()
        os.fsync(file.fileno())


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    try:
        return pq.read_table(path, columns=columns, page_checksum_verification=True, partitioning=None)
    except FileNotFoundError:
        raise RunError(f"{_where(path)} is missing; the shard is damaged: restore it, or delete its folder") from None
    except (OSError, pa.ArrowInvalid) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{_where(path)} is damaged ({reason}); restore it, or delete its shard folder") from error


def _where(path: Path) -> str:
    return "/".join(path.parts[-3:])
