"""Files that are there whole or not at all, and values that may be handed on: what a run folder is made of."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from agentgym.errors import RunError, UsageError

__all__ = ["disk", "json_like", "read_json", "replace", "shareable", "sync_folder", "write_json"]

_SECRET = re.compile(r"(secret|passw|passphrase|credential|authori[sz]ation|cookie|api_?key|private_?key|token$)", re.I)


@contextmanager
def disk(verb: str, path: Path) -> Iterator[None]:
    """What the operating system refuses is a RunError that names the path."""
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot {verb} {path}: {error.strerror or error}; check that path and its permissions"
        ) from error


def replace(path: Path, data: bytes) -> None:
    """Write beside, flush to the disk, rename: the file is there whole or not at all."""
    part = path.with_name(f".{path.name}")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    sync_folder(path.parent)


def sync_folder(path: Path) -> None:
    """Wait until what was renamed inside the folder is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_json(path: Path, value: Any) -> None:
    """`replace` with a JSON value (strict: no NaN)."""
    replace(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """What `write_json` wrote; a missing or damaged file is a RunError."""
    try:
        return json.loads(path.read_bytes())
    except (ValueError, FileNotFoundError) as error:
        raise RunError(f"{path} is missing or damaged ({error}); restore it, or delete the folder it is in") from error


# ---------------------------------------------------------------------- values


def json_like(value: Any) -> Any:
    """JSON-like: NumPy scalars and arrays become Python's, numbers that are not finite None."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if isinstance(value, Mapping):
        return {str(k): json_like(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [json_like(v) for v in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, str | int | bool):
        return value
    raise UsageError(f"a run stores JSON-like values (str, number, bool, None, list, dict), got {type(value).__name__}")


def shareable(config: Any) -> Any:
    """`json_like` without secrets (also those inside addresses) and without this machine's paths."""
    if isinstance(config, Mapping):
        return {
            str(k): "(not stored)" if isinstance(v, str) and v and _SECRET.search(str(k)) else shareable(v)
            for k, v in config.items()
        }
    if isinstance(config, list | tuple):
        return [shareable(v) for v in config]
    if isinstance(config, PurePath):
        config = str(config)
    if isinstance(config, str):
        if config.startswith(("~/", "file:/")) or os.path.isabs(config):
            return PurePath(config).name
        return re.sub(r"(?<=://)[^/@\s]+@", "", config)
    return json_like(config)
