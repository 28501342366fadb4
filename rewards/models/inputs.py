"""What a learned model sees of a step: numeric and text columns as one matrix.

A numeric column float[n] or float[n, d] is centred and scaled by what `Inputs.fit` saw; a text column becomes
``buckets`` signed counts of its words and pairs of neighbouring words (feature hashing, Weinberger et al. 2009), scaled
to length 1. Hashing needs no vocabulary: words never seen in training have a place too. The hash is CRC-32, the same
everywhere.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import Float, extra, finite, number
from agentgym.steps import STEP_COLUMNS, StepTable

__all__ = ["Inputs", "check_texts", "column_names", "hashed_words"]

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, eq=False)
class Inputs:
    """How some columns become a matrix; made by `fit`.

    Attributes:
        columns: names, of extras or of the table's own columns.
        widths: features of every column; 0 says that it is text.
        centre, scale: float64 of all numeric features, in order.
        buckets: features of a text column.
    """

    columns: tuple[str, ...]
    widths: tuple[int, ...]
    centre: Float
    scale: Float
    buckets: int

    @classmethod
    def fit(
        cls, steps: StepTable, columns: str | Sequence[str], why: str, *, buckets: int = 256, standardise: bool = True
    ) -> Inputs:
        """Look at the columns of some steps.

        Args:
            steps: n rows, at least one.
            columns: one name or several.
            why: who reads them, for messages.
            buckets: features of a text column, at least 1.
            standardise: False takes numeric features as they are.

        Raises:
            ValueError: no steps or no columns; a column is missing, not finite, or neither numbers nor text.
        """
        names = column_names(columns)
        number("buckets", buckets, 1)
        if not len(steps):
            raise ValueError(f"{why} cannot be fitted on a table without steps; collect rollouts first")
        given = [_column(steps, name, why) for name in names]
        numeric = [g for g in given if g.dtype.kind == "f"]
        joined = np.concatenate(numeric, axis=1) if numeric else np.zeros((len(steps), 0))
        spread = joined.std(axis=0)
        widths = tuple(g.shape[1] if g.dtype.kind == "f" else 0 for g in given)
        # a feature that never changes says nothing, and must not be blown up
        scale = np.where(spread > 1e-12 * (1.0 + np.abs(joined).max(axis=0, initial=0.0)), spread, 1.0)
        centre = joined.mean(axis=0)
        if not standardise:
            centre, scale = np.zeros_like(centre), np.ones_like(scale)
        return cls(names, widths, centre, scale, int(buckets))

    @property
    def width(self) -> int:
        """Columns of the matrix."""
        return sum(w or self.buckets for w in self.widths)

    def matrix(self, steps: StepTable, why: str) -> Float:
        """float64[n, width]: the features of every step.

        Raises:
            ValueError: a column is missing, not finite, or of another kind or width than when it was fitted.
        """
        parts: list[Float] = []
        at = 0
        for name, width in zip(self.columns, self.widths, strict=True):
            column = _column(steps, name, why)
            found = column.shape[1] if column.dtype.kind == "f" else 0
            if found != width:
                kind = [f"{w} numeric features" if w else "text" for w in (width, found)]
                raise ValueError(f"column {name!r} must be {kind[0]}, as when {why} was fitted; got {kind[1]}")
            if width:
                parts.append((column - self.centre[at : at + width]) / self.scale[at : at + width])
                at += width
            else:
                parts.append(hashed_words(column[:, 0].tolist(), self.buckets))
        return np.concatenate(parts, axis=1)

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; the inverse of `from_json`."""
        return {
            "columns": list(self.columns),
            "widths": list(self.widths),
            "centre": self.centre.tolist(),
            "scale": self.scale.tolist(),
            "buckets": self.buckets,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Inputs:
        """What `to_json` gave."""
        return cls(
            tuple(data["columns"]),
            tuple(data["widths"]),
            np.array(data["centre"], dtype=np.float64),
            np.array(data["scale"], dtype=np.float64),
            int(data["buckets"]),
        )


def column_names(columns: str | Sequence[str]) -> tuple[str, ...]:
    """One name or several, as a tuple.

    Raises:
        ValueError: none, or one twice.
    """
    names = (columns,) if isinstance(columns, str) else tuple(columns)
    if not names or len(set(names)) != len(names):
        raise ValueError(f"'columns' must name at least one column and each once, got {list(names)}")
    return names


def hashed_words(texts: Sequence[str], buckets: int) -> Float:
    """float64[n, buckets]: signed counts of words and of pairs of neighbours, every row of length 1 (or all 0)."""
    place = {text: k for k, text in enumerate(dict.fromkeys(texts))}
    distinct = np.zeros((len(place), buckets))
    for text, k in place.items():
        words = [w.lower() for w in _WORD.findall(text)]
        for token in (*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))):
            code = zlib.crc32(token.encode())
            distinct[k, (code >> 1) % buckets] += 1.0 if code & 1 else -1.0
    size = np.linalg.norm(distinct, axis=1, keepdims=True)
    distinct /= np.where(size > 0.0, size, 1.0)
    return distinct[[place[t] for t in texts]] if len(texts) else np.zeros((0, buckets))


def check_texts(name: str, values: npt.NDArray[Any]) -> None:
    """Refuse what is not one text a row.

    Raises:
        ValueError: naming the column, the row and the remedy.
    """
    if values.ndim != 1 or values.dtype.kind not in "UO":
        raise ValueError(f"column {name!r} must hold one text per row, got {values.dtype} of shape {values.shape}")
    for row, value in enumerate(values.tolist()):
        if not isinstance(value, str):
            raise ValueError(
                f"column {name!r} must hold texts, row {row} is {type(value).__name__}; "
                'collect with keep=("text", "action"), or fill the gap with a text of yours'
            )


def _column(steps: StepTable, name: str, why: str) -> npt.NDArray[Any]:
    """float64[n, d], or object[n, 1] of str."""
    if name in STEP_COLUMNS:
        if STEP_COLUMNS[name][0] == "int64":
            raise ValueError(
                f"{why} cannot read column {name!r}: it holds identities, not sizes; add what you mean as an extra"
            )
        given = steps.columns()[name]
    else:
        given = extra(steps, name, why)
    if given.dtype.kind in "UO":
        check_texts(name, given)
        return given.astype(object)[:, None]
    shape = given.shape if given.ndim == 2 else (len(steps),)
    values = finite(name, given, shape)
    return values if values.ndim == 2 else values[:, None]
