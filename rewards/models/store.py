"""Learned models on disk: one file of arrays and a few JSON values, written whole; nothing in it is ever executed."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import ModelFolderError
from agentgym.files import disk, replace

__all__ = ["read_model", "write_model"]

_VERSION = 1


def write_model(path: str | Path, kind: str, values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write an ``.npz`` file beside and rename it.

    Args:
        path: the file; its folder must exist.
        kind: name of the model's class, asked for again when it is read.
        values: JSON-like.
        arrays: numeric arrays by name.

    Raises:
        RunError: the operating system refuses.
    """
    head = json.dumps({"kind": kind, "version": _VERSION, "values": dict(values)}, allow_nan=False)
    memory = io.BytesIO()
    np.savez(memory, allow_pickle=False, **{"head": np.frombuffer(head.encode(), dtype=np.uint8), **arrays})
    with disk("write", Path(path)):
        replace(Path(path), memory.getvalue())


def read_model(path: str | Path, kind: str) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
    """The values and arrays that `write_model` wrote.

    Raises:
        ModelFolderError: the file is missing, damaged, of another version, or holds another kind of model.
    """
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        head = json.loads(arrays.pop("head").tobytes())
        found, version, values = head["kind"], head["version"], head["values"]
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ModelFolderError(
            f"expected a saved {kind} in {path}, but the file is missing or damaged ({error}); fit and save it again"
        ) from error
    if found != kind or version != _VERSION:
        raise ModelFolderError(
            f"expected a {kind} of version {_VERSION} in {path}, got a {found} of version {version}; "
            "load it by its own class"
        )
    return dict(values), arrays
