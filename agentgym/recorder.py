"""Recorder: turns resets and steps, as they come from many environments at once, into a StepTable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.process import read_record
from agentgym.steps import TRAJECTORY_COLUMNS, StepTable, TrajectoryTable, action_hash

__all__ = ["Recorder"]

_ROW = {
    "t": "int32",
    "reward": "float64",
    "milestones_before": "int64",
    "milestones": "int64",
    "events": "int64",
    "progress_before": "float64",
    "progress": "float64",
    "danger": "bool",
    "grounded": "bool",
    "terminated": "bool",
    "truncated": "bool",
    "anchor": "int64",
    "next_anchor": "int64",
    "action": "int64",
    "duration": "float64",
}
"""What `Recorder.step` writes down, in the order of its tuples."""


@dataclass(slots=True)
class _Open:
    """One episode in flight."""

    head: dict[str, Any]
    event_bits: dict[str, int]
    group: int
    parent: int
    parent_t: int
    before: tuple[int, float, int]  # milestones, progress, anchor
    t: int
    success: bool
    reward: float = 0.0
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    extras: dict[str, list[Any]] = field(default_factory=dict)


class Recorder:
    """Collects episodes by trajectory number; finished ones become rows, open ones stay out of `table`.

    Use: `begin` with the info of ``reset``, `step` with what ``env.step`` returned, `finish` at the end. `fail` ends an
    episode whose world broke; its steps so far stay, with status "error".
    """

    def __init__(self) -> None:
        self._open: dict[int, _Open] = {}
        self._done: dict[int, _Open] = {}

    def begin(
        self,
        trajectory: int,
        info: Mapping[str, Any],
        *,
        env: str,
        seed: int,
        horizon: int,
        group: int,
        event_codes: tuple[str, ...] = (),
        weights_version: int = 0,
        parent: int = -1,
        parent_t: int = -1,
    ) -> None:
        """An episode starts (or, with ``parent``, branches off after the parent's step ``parent_t``).

        Args:
            trajectory: its number, unique in the run.
            info: of ``reset`` (or ``restore``); has the process record and success.
            env, seed, horizon, group, weights_version, parent, parent_t: as in the tables' columns.
            event_codes: `Task.event_codes`; other codes of ``info["events"]`` are not recorded.
        """
        if trajectory in self._open or trajectory in self._done:
            raise ValueError(f"trajectory {trajectory} has begun already; number trajectories across the run")
        record = read_record(info)
        head = {
            "id": trajectory,
            "env": env,
            "task": str(info.get("task", "")),
            "seed": seed,
            "horizon": horizon,
            "weights_version": weights_version,
        }
        self._open[trajectory] = _Open(
            head,
            {code: 1 << k for k, code in enumerate(event_codes)},
            group,
            parent,
            parent_t,
            (record["milestones"], record["progress"], record["anchor"]),
            parent_t + 1,
            bool(info["success"]),
        )

    def step(
        self,
        trajectory: int,
        action: Any,
        reward: float,
        terminated: bool,
        truncated: bool,
        info: Mapping[str, Any],
        *,
        duration: float = 0.0,
        extras: Mapping[str, Any] | None = None,
    ) -> None:
        """One step was taken.

        Args:
            trajectory: its number.
            action, reward, terminated, truncated, info: what went into ``env.step`` and came out.
            duration: seconds.
            extras: kept as columns: float64 (NaN where a row has none) when all are floats, else object (None).
        """
        ep = self._episode(trajectory)
        record = read_record(info)
        milestones_before, progress_before, anchor = ep.before
        ep.before = milestones, progress, next_anchor = record["milestones"], record["progress"], record["anchor"]
        events = 0
        for code in info.get("events", ()):
            events |= ep.event_bits.get(code, 0)
        if extras or ep.extras:
            given = extras or {}
            for name in ep.extras.keys() | given.keys():
                ep.extras.setdefault(name, [None] * len(ep.rows)).append(given.get(name))
        reward = float(reward)
        ep.rows.append(
            (
                ep.t,
                reward,
                milestones_before,
                milestones,
                events,
                progress_before,
                progress,
                record["danger"],
                record["grounded"],
                terminated,
                truncated,
                anchor,
                next_anchor,
                action_hash(action),
                duration,
            )
        )
        ep.t += 1
        ep.success = bool(info["success"])
        ep.reward += reward

    def finish(
        self, trajectory: int, *, outcome: float | None = None, hidden_performance: float = float("nan")
    ) -> None:
        """The episode is over. ``outcome`` defaults to the sum of its rewards (the environment's own score)."""
        ep = self._episode(trajectory)
        del self._open[trajectory]
        ep.head |= {
            "outcome": ep.reward if outcome is None else float(outcome),
            "success": ep.success,
            "hidden_performance": hidden_performance,
            "status": "ok",
            "error": "",
        }
        self._done[trajectory] = ep

    def fail(self, trajectory: int, error: str, *, head: Mapping[str, Any] | None = None) -> None:
        """The world broke (also before the first observation: then ``head`` names env, seed, …).

        Its outcome is 0 and it did not succeed, whatever it had earned.
        """
        if trajectory in self._done:
            raise ValueError(f"trajectory {trajectory} is over already; number trajectories across the run")
        if unknown := set(head or {}) - set(TRAJECTORY_COLUMNS):
            raise ValueError(f"unknown columns {sorted(unknown)} in head; known: {list(TRAJECTORY_COLUMNS)}")
        ep = self._open.pop(trajectory, None)
        if ep is None:
            ep = _Open({"id": trajectory, **(head or {})}, {}, -1, -1, -1, (0, 0.0, 0), 0, False)
        ep.head |= {"outcome": 0.0, "success": False, "status": "error", "error": error}
        self._done[trajectory] = ep

    def _episode(self, trajectory: int) -> _Open:
        try:
            return self._open[trajectory]
        except KeyError:
            raise ValueError(f"trajectory {trajectory} is not in flight; call begin() first") from None

    def discard(self, trajectory: int) -> None:
        """Forget an open episode."""
        self._open.pop(trajectory, None)

    @property
    def finished(self) -> int:
        """Number of finished episodes since the last `take`."""
        return len(self._done)

    @property
    def unfinished(self) -> int:
        """How many episodes have begun and not come to an end."""
        return len(self._open)

    def take(self) -> StepTable:
        """The finished episodes as a table; they leave the recorder."""
        done, self._done = self._done, {}
        return _table([done[k] for k in sorted(done)])


def _table(episodes: list[_Open]) -> StepTable:
    if not episodes:
        return StepTable.empty()
    counts = [len(ep.rows) for ep in episodes]
    rows = [row for ep in episodes for row in ep.rows]
    values = zip(*rows, strict=True) if rows else ((),) * len(_ROW)
    columns: dict[str, Any] = {
        name: np.array(column, dtype=dtype) for (name, dtype), column in zip(_ROW.items(), values, strict=True)
    }
    for name, ids in {
        "trajectory": [ep.head["id"] for ep in episodes],
        "group": [ep.group for ep in episodes],
        "parent": [ep.parent for ep in episodes],
        "parent_t": [ep.parent_t for ep in episodes],
    }.items():
        columns[name] = np.repeat(np.array(ids, dtype=np.int64), counts)
    heads = [ep.head for ep in episodes]
    trajectories = {}
    for name, (kind, default) in TRAJECTORY_COLUMNS.items():
        column = np.empty(len(heads), dtype=kind)
        column[:] = [head.get(name, default) for head in heads]
        trajectories[name] = column
    extras = {}
    for name in dict.fromkeys(k for ep in episodes for k in ep.extras):
        extras[name] = _extra(
            [v for ep, n in zip(episodes, counts, strict=True) for v in ep.extras.get(name, [None] * n)]
        )
    return StepTable.from_columns(**columns, trajectories=TrajectoryTable.from_columns(**trajectories), extras=extras)


def _extra(values: list[Any]) -> npt.NDArray[Any]:
    if all(v is None or isinstance(v, float) for v in values):
        return np.array([float("nan") if v is None else v for v in values], dtype=np.float64)
    column = np.empty(len(values), dtype=object)
    for k, value in enumerate(values):  # one by one: NumPy would take lists and arrays apart
        column[k] = value
    return column
