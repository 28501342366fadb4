"""Columns of NumPy arrays and Python values to Parquet files and back, without loss.

A NumPy column keeps its dtype and shape. An object column (an extra: action text, a judge's score, nothing) may hold
``None``, ``bool``, ``int``, ``float``, ``str`` and ``bytes`` side by side; Parquet has no such type, so a column of one
kind is stored as that kind with nulls, and a mixed one as bytes with a leading tag. Which of the three it was stands in
the metadata of the field, so that reading needs no guess.
"""

from __future__ import annotations

import hashlib
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

__all__ = ["read_columns", "read_sets", "write_columns", "write_sets"]

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


def write_columns(path: Path, columns: Mapping[str, npt.NDArray[Any]]) -> str:
    """Write columns of one length to ``path`` and wait until they are on the disk; returns the file's SHA-256.

    Raises:
        UsageError: an object column holds something other than None, bool, int, float, str or bytes.
    """
    fields, arrays = [], []
    for name, values in columns.items():
        array, kind = _encode(name, values)
        fields.append(pa.field(name, array.type, metadata={_KIND: json.dumps(kind).encode()}))
        arrays.append(array)
    return _write(path, pa.Table.from_arrays(arrays, schema=pa.schema(fields)))


def read_columns(path: Path, sha: str) -> dict[str, npt.NDArray[Any]]:
    """The columns that `write_columns` wrote, if the file still has the hash it returned.

    Raises:
        RunError: the file is missing or is not as it was written.
    """
    table = _read(path, sha)
    return {field.name: _decode(field, table.column(k)) for k, field in enumerate(table.schema)}


def write_sets(path: Path, sets: tuple[tuple[tuple[int, ...], ...], ...]) -> str:
    """Write candidate sets (one row a set, a list of token lists) like `write_columns`."""
    return _write(path, pa.table({"set": pa.array(sets, pa.list_(pa.list_(pa.int64())))}))


def read_sets(path: Path, sha: str) -> tuple[tuple[tuple[int, ...], ...], ...]:
    """The candidate sets that `write_sets` wrote, like `read_columns`."""
    return tuple(tuple(tuple(tokens) for tokens in row) for row in _read(path, sha).column("set").to_pylist())


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


def _decode(field: Any, column: Any) -> npt.NDArray[Any]:
    kind = json.loads(field.metadata[_KIND])
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


def _write(path: Path, table: pa.Table) -> str:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    data = sink.getvalue()
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    return hashlib.sha256(data).hexdigest()


def _read(path: Path, sha: str) -> pa.Table:
    where = "/".join(path.parts[-3:])
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(f"{where} is missing; restore it, or delete its shard folder") from None
    if hashlib.sha256(data).hexdigest() != sha:
        raise RunError(f"{where} is damaged (it is not what was written); restore it, or delete its shard folder")
    # Without Arrow's threads: they gain nothing on a shard, and the process ends the cleaner.
    return pq.ParquetFile(pa.BufferReader(data)).read(use_threads=False)
