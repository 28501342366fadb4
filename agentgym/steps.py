"""StepTable: rollouts as columns, one row per (trajectory, step). The one currency between loop, rewards, credit,
training, storage and viewer.

The columns and their meaning are frozen under `FORMAT_VERSION`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.anchor import anchor

__all__ = ["FORMAT_VERSION", "STEP_COLUMNS", "TRAJECTORY_COLUMNS", "StepTable", "TrajectoryTable", "action_hash"]

FORMAT_VERSION = 1

Bool = npt.NDArray[np.bool_]
Int = npt.NDArray[np.int64]
Int32 = npt.NDArray[np.int32]
Float = npt.NDArray[np.float64]
Strings = npt.NDArray[np.object_]

STEP_COLUMNS: dict[str, tuple[str, Any]] = {
    "trajectory": ("int64", None),
    "group": ("int64", None),
    "parent": ("int64", -1),
    "parent_t": ("int64", -1),
    "agent": ("int64", 0),
    "t": ("int32", None),
    "reward": ("float64", 0.0),
    "milestones_before": ("int64", 0),
    "milestones": ("int64", 0),
    "events": ("int64", 0),
    "progress_before": ("float64", 0.0),
    "progress": ("float64", 0.0),
    "danger": ("bool", False),
    "grounded": ("bool", True),
    "terminated": ("bool", False),
    "truncated": ("bool", False),
    "anchor": ("int64", 0),
    "next_anchor": ("int64", 0),
    "action": ("int64", 0),
    "duration": ("float64", 0.0),
}
"""Step columns in order: dtype, and the value a missing column is filled with (None: it must be given)."""

TRAJECTORY_COLUMNS: dict[str, tuple[str, Any]] = {
    "id": ("int64", None),
    "env": ("object", ""),
    "task": ("object", ""),
    "seed": ("int64", -1),
    "outcome": ("float64", 0.0),
    "success": ("bool", False),
    "hidden_performance": ("float64", float("nan")),
    "horizon": ("int32", 0),
    "weights_version": ("int64", 0),
    "status": ("object", "ok"),
    "error": ("object", ""),
}
"""Trajectory columns in order; ``status`` is "ok" or "error", ``error`` says why."""


def _column(spec: Mapping[str, tuple[str, Any]], name: str, given: Any, n: int) -> npt.NDArray[Any]:
    dtype, default = spec[name]
    if given is None:
        if default is None:
            raise ValueError(f"column {name!r} must be given")
        if dtype == "object":
            column = np.empty(n, dtype=object)
            column[:] = default
            return column
        return np.full(n, default, dtype=dtype)
    values = np.asarray(given)
    if values.shape != (n,):
        raise ValueError(f"column {name!r} must have shape ({n},), got {values.shape}")
    if values.dtype == dtype:
        return values
    if not n:
        return values.astype(dtype)
    # value-preserving kinds only: a float column must not silently become an index, nor a NaN a bool
    allowed = {"int64": "iub", "int32": "iub", "float64": "iubf", "bool": "b", "object": "UO"}[dtype]
    if values.dtype.kind not in allowed:
        raise ValueError(f"column {name!r} must be {dtype}, got {values.dtype}")
    converted = values.astype(dtype)
    if dtype in ("int64", "int32") and not np.array_equal(converted, values):
        raise ValueError(f"column {name!r} must fit into {dtype}, got values up to {values.max()}")
    return converted


@dataclass(frozen=True, eq=False)
class TrajectoryTable:
    """What is known once per trajectory. Rows are sorted by ``id`` and unique.

    Attributes:
        id: int64[m], matches the steps' ``trajectory``.
        env: environment ids (str). task: task ids (str). seed: the seed given to ``reset``, -1 when none.
        outcome: float64[m], the score; never recomputed as a sum of rewards.
        success: bool[m]. hidden_performance: float64[m], NaN when unknown.
        horizon: int32[m] steps. weights_version: of the policy that began the trajectory.
        status: "ok" or "error". error: why, '' when ok.
    """

    id: Int
    env: Strings
    task: Strings
    seed: Int
    outcome: Float
    success: Bool
    hidden_performance: Float
    horizon: Int32
    weights_version: Int
    status: Strings
    error: Strings

    @classmethod
    def from_columns(cls, **columns: Any) -> TrajectoryTable:
        """Build from some columns; missing ones get the defaults of `TRAJECTORY_COLUMNS`."""
        unknown = set(columns) - set(TRAJECTORY_COLUMNS)
        if unknown:
            raise ValueError(f"unknown trajectory columns {sorted(unknown)}; known: {list(TRAJECTORY_COLUMNS)}")
        if columns.get("id") is None:
            raise ValueError("column 'id' must be given")
        n = len(columns["id"])
        table = cls(**{k: _column(TRAJECTORY_COLUMNS, k, columns.get(k), n) for k in TRAJECTORY_COLUMNS})
        if np.any(np.diff(table.id) <= 0):
            raise ValueError("trajectory ids must be unique and ascending; sort the rows by 'id'")
        return table

    def __len__(self) -> int:
        return len(self.id)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All columns by name, in order (not copied)."""
        return {k: getattr(self, k) for k in TRAJECTORY_COLUMNS}

    def take(self, rows: Any) -> TrajectoryTable:
        """The rows of an index, mask or slice (ascending)."""
        return TrajectoryTable(**{k: v[rows] for k, v in self.columns().items()})


@dataclass(frozen=True, eq=False)
class StepTable:
    """Rollouts as columns: one row per (trajectory, step), sorted by trajectory, then t, then agent.

    Build it with `from_columns`, which checks; the columns are NumPy arrays of one length n:

    ====================================  =======  ===================================================================
    ``trajectory``                        int64    number of the rollout
    ``group``                             int64    rollouts of one environment, arguments and task seed share it
    ``parent``, ``parent_t``              int64    -1, or the trajectory and its last shared step a branch grew from
    ``agent``                             int64    0 in single-agent worlds
    ``t``                                 int32    time step in the episode, from 0 (branches continue their parent's)
    ``reward``                            float64  the environment's
    ``milestones_before, milestones``     int64    bit masks before and after the step
    ``events``                            int64    bit mask over ``task.event_codes``
    ``progress_before, progress``         float64  in [0, 1]
    ``danger, grounded``                  bool     of the step
    ``terminated, truncated``             bool     after the step
    ``anchor, next_anchor``               int64    state the action was taken in, and the one it led to
    ``action``                            int64    hash of the action (`action_hash`)
    ``duration``                          float64  seconds
    ====================================  =======  ===================================================================

    ``trajectories`` has one row for every trajectory (also for those that broke before their first step); ``extras``
    holds named columns of length n that only some methods need.
    """

    trajectory: Int
    group: Int
    parent: Int
    parent_t: Int
    agent: Int
    t: Int32
    reward: Float
    milestones_before: Int
    milestones: Int
    events: Int
    progress_before: Float
    progress: Float
    danger: Bool
    grounded: Bool
    terminated: Bool
    truncated: Bool
    anchor: Int
    next_anchor: Int
    action: Int
    duration: Float
    trajectories: TrajectoryTable
    extras: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    # ------------------------------------------------------------------ building

    @classmethod
    def from_columns(
        cls,
        *,
        trajectories: TrajectoryTable | None = None,
        outcome: Any = None,
        extras: Mapping[str, Any] | None = None,
        **columns: Any,
    ) -> StepTable:
        """Build and check a table from some columns; missing ones get the defaults of `STEP_COLUMNS`.

        Args:
            trajectories: the per-trajectory table; made from ``outcome`` when not given.
            outcome: per trajectory (in ascending order of id) or per row (constant inside a trajectory); only
                without ``trajectories``. Default: the sum of the rewards.
            extras: named arrays of n rows.
            columns: at least ``trajectory``; ``group`` defaults to one group, ``t`` to counting inside a trajectory.

        Raises:
            ValueError: a column is missing, unknown, of another length or dtype, or rows are out of order.
        """
        unknown = set(columns) - set(STEP_COLUMNS)
        if unknown:
            raise ValueError(
                f"unknown step columns {sorted(unknown)}; known: {list(STEP_COLUMNS)}; others belong into `extras`"
            )
        if columns.get("trajectory") is None:
            raise ValueError("column 'trajectory' must be given")
        trajectory = _column(STEP_COLUMNS, "trajectory", columns["trajectory"], len(columns["trajectory"]))
        n = len(trajectory)
        if columns.get("group") is None:
            columns["group"] = np.zeros(n, dtype=np.int64)
        if columns.get("t") is None:
            _check_sorted(trajectory)
            starts = _run_starts(trajectory)
            columns["t"] = (np.arange(n) - np.repeat(starts, np.diff(np.append(starts, n)))).astype(np.int32)
        data = {k: _column(STEP_COLUMNS, k, columns.get(k), n) for k in STEP_COLUMNS}
        if trajectories is None:
            trajectories = _derive_trajectories(data, outcome)
        elif outcome is not None:
            raise ValueError("give either `trajectories` or `outcome`, not both")
        more = {k: np.asarray(v) for k, v in (extras or {}).items()}
        table = cls(**data, trajectories=trajectories, extras=more)
        table.validate()
        return table

    @classmethod
    def empty(cls) -> StepTable:
        """A table without rows."""
        return cls.from_columns(
            trajectory=np.empty(0, np.int64), trajectories=TrajectoryTable.from_columns(id=np.empty(0, np.int64))
        )

    def validate(self) -> None:
        """Check order, lengths and references.

        Raises:
            ValueError: naming the column, the row and the remedy.
        """
        n = len(self.trajectory)
        for name in self.extras:
            if name in STEP_COLUMNS:
                raise ValueError(f"{name!r} is a column of every table, not an extra")
        for name, column in {**self.columns(), **self.extras}.items():
            if column.shape[:1] != (n,):
                raise ValueError(f"column {name!r} must have {n} rows, got shape {column.shape}")
        for name in ("reward", "progress_before", "progress", "duration"):
            bad = np.flatnonzero(~np.isfinite(self.columns()[name]))
            if bad.size:
                raise ValueError(f"column {name!r} must be finite, row {bad[0]} is {self.columns()[name][bad[0]]}")
        if n:
            _check_sorted(self.trajectory)
            same = self.trajectory[1:] == self.trajectory[:-1]
            dt = np.diff(self.t)
            if self.t.min() < 0:
                raise ValueError(f"column 't' must be at least 0, row {np.argmin(self.t)} is {self.t.min()}")
            bad = np.flatnonzero(same & ((dt < 0) | ((dt == 0) & (np.diff(self.agent) <= 0))))
            if bad.size:
                raise ValueError(f"row {bad[0] + 1}: 't' must ascend in a trajectory; sort by (trajectory, t, agent)")
            bad = np.flatnonzero(same & (np.diff(self.group) != 0))
            if bad.size:
                raise ValueError(f"row {bad[0] + 1}: 'group' changes inside trajectory {self.trajectory[bad[0]]}")
        missing = np.setdiff1d(self.trajectory[self.starts], self.trajectories.id, assume_unique=True)
        if missing.size:
            raise ValueError(f"trajectory {missing[0]} has steps but no row in `trajectories`")

    # ------------------------------------------------------------------ shape

    def __len__(self) -> int:
        return len(self.trajectory)

    def columns(self) -> dict[str, npt.NDArray[Any]]:
        """All step columns by name, in order (not copied)."""
        return {k: getattr(self, k) for k in STEP_COLUMNS}

    @cached_property
    def starts(self) -> Int:
        """int64[k]: first row of every trajectory that has steps."""
        return _run_starts(self.trajectory)

    @cached_property
    def lengths(self) -> Int:
        """int64[k]: number of rows of every trajectory that has steps."""
        return np.diff(np.append(self.starts, len(self)))

    @cached_property
    def ends(self) -> Int:
        """int64[k]: last row of every trajectory that has steps."""
        return self.starts + self.lengths - 1

    @cached_property
    def segment(self) -> Int:
        """int64[n]: which of the k trajectories with steps a row belongs to, 0 … k-1."""
        return np.repeat(np.arange(len(self.starts)), self.lengths)

    @cached_property
    def trajectory_rows(self) -> Int:
        """int64[k]: the row in ``trajectories`` of every trajectory that has steps."""
        return np.searchsorted(self.trajectories.id, self.trajectory[self.starts]).astype(np.int64)

    @cached_property
    def outcome(self) -> Float:
        """float64[k]: outcome of every trajectory that has steps."""
        return self.trajectories.outcome[self.trajectory_rows]

    @cached_property
    def trajectory_group(self) -> Int:
        """int64[k]: group of every trajectory that has steps."""
        return self.group[self.starts]

    # ------------------------------------------------------------------ changing (always a new table)

    def __getitem__(self, rows: slice | Sequence[int] | npt.NDArray[Any]) -> StepTable:
        """The rows of a slice, mask or ascending index; only their trajectories stay."""
        if isinstance(rows, slice):
            ascending = rows.step is None or rows.step > 0
        else:
            rows = np.array(rows)
            if rows.ndim != 1:
                raise ValueError(f"expected a slice, a mask or an array of row indices, got shape {rows.shape}")
            rows = rows if rows.size else rows.astype(np.int64)  # an empty list has become float64
            if rows.dtype == bool:
                ascending = True
            else:
                ascending = not np.any(np.diff(np.where(rows < 0, rows + len(self), rows)) <= 0)
        if not ascending:
            raise ValueError("row indices must ascend: a StepTable stays sorted")
        columns = {k: v[rows] for k, v in self.columns().items()}
        keep = np.isin(self.trajectories.id, columns["trajectory"])
        return StepTable(
            **columns, trajectories=self.trajectories.take(keep), extras={k: v[rows] for k, v in self.extras.items()}
        )

    def only(self, trajectories: Sequence[int] | npt.NDArray[Any]) -> StepTable:
        """The given trajectories (ids), those without steps too."""
        wanted = np.asarray(trajectories, dtype=np.int64)
        missing = np.setdiff1d(wanted, self.trajectories.id)
        if missing.size:
            raise ValueError(f"trajectory {missing[0]} is not in the table")
        part = self[np.isin(self.trajectory, wanted)]
        return replace(part, trajectories=self.trajectories.take(np.isin(self.trajectories.id, wanted)))

    @classmethod
    def concat(cls, tables: Iterable[StepTable]) -> StepTable:
        """One table of many; trajectories must be distinct, extras missing in a part are filled (NaN, 0, '' or None).

        Raises:
            ValueError: two tables share a trajectory.
        """
        parts = [t for t in tables if len(t.trajectories)]
        if not parts:
            return cls.empty()
        ids = np.concatenate([p.trajectories.id for p in parts])
        order = np.argsort(ids, kind="stable")
        same = np.flatnonzero(np.diff(ids[order]) == 0)
        if same.size:
            raise ValueError(f"trajectory {ids[order][same[0]]} is in two tables; number trajectories across the run")
        trajectories = TrajectoryTable(
            **{k: np.concatenate([p.trajectories.columns()[k] for p in parts])[order] for k in TRAJECTORY_COLUMNS}
        )
        columns = {k: np.concatenate([p.columns()[k] for p in parts]) for k in STEP_COLUMNS}
        rows = np.argsort(columns["trajectory"], kind="stable")
        names = dict.fromkeys(name for p in parts for name in p.extras)
        extras = {name: np.concatenate(_filled(parts, name))[rows] for name in names}
        return cls(**{k: v[rows] for k, v in columns.items()}, trajectories=trajectories, extras=extras)

    def with_extra(self, **columns: Any) -> StepTable:
        """The same table with named columns of n rows added or replaced."""
        new = {k: np.asarray(v) for k, v in columns.items()}
        for name, values in new.items():
            if name in STEP_COLUMNS:
                raise ValueError(f"{name!r} is a column of every table, not an extra")
            if values.shape[:1] != (len(self),):
                raise ValueError(f"extra {name!r} must have {len(self)} rows, got shape {values.shape}")
        return replace(self, extras={**self.extras, **new})

    def join(self, name: str, trajectory: Any, t: Any, values: Any, *, default: Any = None) -> StepTable:
        """Add a late column (an annotation that came after the rollout) by (trajectory, t).

        Args:
            name: of the extra; rows that an earlier join filled keep their value unless given again.
            trajectory: int[k], t: int[k], values: [k]; every pair must exist (all its agents' rows get the value).
            default: for rows that are not named; when not given NaN, '' for text, None for objects.

        Raises:
            ValueError: a pair is not in the table.
        """
        values = np.asarray(values)
        key, base = self._row_keys
        wanted = np.asarray(trajectory, dtype=np.int64), np.asarray(t, dtype=np.int64)
        if not wanted[0].shape == wanted[1].shape == values.shape[:1]:
            raise ValueError(
                f"join {name!r}: trajectory, t and values must have one length, got shapes "
                f"{wanted[0].shape}, {wanted[1].shape}, {values.shape}"
            )
        position = np.searchsorted(base, wanted[0])
        known = (position < len(base)) & (wanted[1] >= 0) & (wanted[1] < 2**31)
        known[known] &= base[position[known]] == wanted[0][known]
        codes = np.where(known, position * 2**31 + wanted[1], -1)
        low, high = np.searchsorted(key, codes, "left"), np.searchsorted(key, codes, "right")
        bad = np.flatnonzero(high == low)
        if bad.size:
            raise ValueError(f"join {name!r}: no step (trajectory={wanted[0][bad[0]]}, t={wanted[1][bad[0]]})")
        if default is None and values.dtype.kind != "O":
            default = "" if values.dtype.kind == "U" else np.nan
        if name in self.extras:
            old = self.extras[name]
            column = old.astype(np.result_type(old, values))  # a copy that holds both without loss
        else:
            dtype = np.dtype(object) if values.dtype.kind == "O" else np.result_type(values, np.asarray(default))
            column = np.full((len(self), *values.shape[1:]), default, dtype=dtype)
        counts = high - low
        rows = np.repeat(low - np.append(0, np.cumsum(counts)[:-1]), counts) + np.arange(counts.sum())
        column[rows] = np.repeat(values, counts, axis=0)
        return self.with_extra(**{name: column})

    @cached_property
    def _row_keys(self) -> tuple[Int, Int]:
        """A sorted code per row from (trajectory, t), and the trajectory ids the code counts in."""
        ids = self.trajectory[self.starts]
        return self.segment * 2**31 + self.t, ids

    # ------------------------------------------------------------------ trees

    def lineage(self, trajectory: int) -> Int:
        """Rows from the root of a tree rollout to the end of this branch: the whole episode that ended there.

        A branch with ``parent`` p and ``parent_t`` k shares p's steps up to and including t = k.
        """
        pieces: list[Int] = []
        last = int(np.iinfo(np.int64).max)
        seen: set[int] = set()
        while trajectory != -1:
            if trajectory in seen:
                raise ValueError(f"trajectory {trajectory} is its own ancestor")
            seen.add(trajectory)
            low, high = np.searchsorted(self.trajectory, [trajectory, trajectory + 1])
            rows = np.arange(low, high, dtype=np.int64)
            if not rows.size:
                raise ValueError(f"trajectory {trajectory} has no steps in this table")
            pieces.append(rows[self.t[rows] <= last])
            trajectory, last = int(self.parent[low]), min(last, int(self.parent_t[low]))
        return np.concatenate(pieces[::-1])


def action_hash(action: Any) -> int:
    """The ``action`` column's value: equal actions (as the environment receives them) have equal hashes."""
    return anchor(action)


def _run_starts(values: npt.NDArray[Any]) -> Int:
    if not len(values):
        return np.empty(0, dtype=np.int64)
    return np.concatenate(([0], np.flatnonzero(values[1:] != values[:-1]) + 1)).astype(np.int64)


def _check_sorted(trajectory: Int) -> None:
    bad = np.flatnonzero(np.diff(trajectory) < 0)
    if bad.size:
        raise ValueError(f"row {bad[0] + 1}: 'trajectory' must ascend; sort the rows by (trajectory, t, agent)")


def _derive_trajectories(data: Mapping[str, npt.NDArray[Any]], outcome: Any) -> TrajectoryTable:
    trajectory = data["trajectory"]
    _check_sorted(trajectory)
    starts = _run_starts(trajectory)
    if outcome is None:
        values = np.add.reduceat(data["reward"], starts) if len(starts) else np.empty(0)
    else:
        values = np.asarray(outcome, dtype=np.float64)
        if values.shape == trajectory.shape and len(starts) != len(trajectory):
            per_row, values = values, values[starts]
            repeated = np.repeat(values, np.diff(np.append(starts, len(trajectory))))
            if not np.array_equal(per_row, repeated, equal_nan=True):
                raise ValueError("'outcome' given per row must be constant inside a trajectory")
        if values.shape != starts.shape:
            raise ValueError(f"'outcome' must have one value per trajectory ({len(starts)}) or row, got {values.shape}")
    return TrajectoryTable.from_columns(id=trajectory[starts], outcome=values)


def _filled(parts: Sequence[StepTable], name: str) -> list[npt.NDArray[Any]]:
    sample = next(p.extras[name] for p in parts if name in p.extras)
    fill = {"f": np.nan, "i": 0, "u": 0, "b": False, "U": ""}.get(sample.dtype.kind)
    return [
        p.extras[name] if name in p.extras else np.full((len(p), *sample.shape[1:]), fill, dtype=sample.dtype)
        for p in parts
    ]


assert tuple(STEP_COLUMNS) == tuple(f.name for f in fields(StepTable))[:-2]
assert tuple(TRAJECTORY_COLUMNS) == tuple(f.name for f in fields(TrajectoryTable))
