"""Recorder: turns resets and steps, as they come from many environments at once, into a StepTable."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from agentgym.process import bits, read_record
from agentgym.steps import STEP_COLUMNS, StepTable, TrajectoryTable, action_hash

__all__ = ["Recorder"]

_ROW = tuple(name for name in STEP_COLUMNS if name not in ("trajectory", "group", "parent", "parent_t", "agent"))


@dataclass
class _Open:
    """One episode in flight."""

    head: dict[str, Any]
    event_codes: tuple[str, ...]
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
        """An episode starts (or, with ``parent``, branches off after the parent's step ``parent_t``)."""
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
            event_codes,
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
        """One step was taken. ``extras`` are kept as columns (None where a row has none)."""
        ep = self._open[trajectory]
        record = read_record(info)
        now = (record["milestones"], record["progress"], record["anchor"])
        row = {
            "t": ep.t,
            "reward": float(reward),
            "milestones_before": ep.before[0],
            "milestones": now[0],
            "events": bits(ep.event_codes, [c for c in info.get("events", ()) if c in ep.event_codes]),
            "progress_before": ep.before[1],
            "progress": now[1],
            "danger": record["danger"],
            "grounded": record["grounded"],
            "terminated": bool(terminated),
            "truncated": bool(truncated),
            "anchor": ep.before[2],
            "next_anchor": now[2],
            "action": action_hash(_plain(action)),
            "duration": duration,
        }
        for name in ep.extras.keys() | (extras or {}).keys():
            values = ep.extras.setdefault(name, [None] * len(ep.rows))
            values.append((extras or {}).get(name))
        ep.rows.append(tuple(row[name] for name in _ROW))
        ep.before, ep.t, ep.success = now, ep.t + 1, bool(info["success"])
        ep.reward += float(reward)

    def finish(
        self, trajectory: int, *, outcome: float | None = None, hidden_performance: float = float("nan")
    ) -> None:
        """The episode is over. ``outcome`` defaults to the sum of its rewards (the environment's own score)."""
        ep = self._open.pop(trajectory)
        ep.head |= {
            "outcome": ep.reward if outcome is None else float(outcome),
            "success": ep.success,
            "hidden_performance": hidden_performance,
            "status": "ok",
            "error": "",
        }
        self._done[trajectory] = ep

    def fail(self, trajectory: int, error: str, *, head: Mapping[str, Any] | None = None) -> None:
        """The world broke (also before the first observation: then ``head`` names env, seed, …)."""
        ep = self._open.pop(trajectory, None)
        if ep is None:
            ep = _Open({"id": trajectory, **(head or {})}, (), -1, -1, -1, (0, 0.0, 0), 0, False)
        ep.head |= {"outcome": 0.0, "success": False, "status": "error", "error": error}
        self._done[trajectory] = ep

    def discard(self, trajectory: int) -> None:
        """Forget an open episode."""
        self._open.pop(trajectory, None)

    @property
    def finished(self) -> int:
        """Number of finished episodes since the last `take`."""
        return len(self._done)

    def take(self) -> StepTable:
        """The finished episodes as a table; they leave the recorder."""
        done, self._done = self._done, {}
        return _table([done[k] for k in sorted(done)])


def _table(episodes: list[_Open]) -> StepTable:
    if not episodes:
        return StepTable.empty()
    counts = [len(ep.rows) for ep in episodes]
    rows = [row for ep in episodes for row in ep.rows]
    columns: dict[str, Any] = {
        name: np.array([row[k] for row in rows], dtype=STEP_COLUMNS[name][0]) for k, name in enumerate(_ROW)
    }
    for name, values in {
        "trajectory": [ep.head["id"] for ep in episodes],
        "group": [ep.group for ep in episodes],
        "parent": [ep.parent for ep in episodes],
        "parent_t": [ep.parent_t for ep in episodes],
    }.items():
        columns[name] = np.repeat(np.array(values, dtype=np.int64), counts)
    heads = [ep.head for ep in episodes]
    given = {name: [h.get(name) for h in heads] for name in dict.fromkeys(k for h in heads for k in h)}
    defaults = {
        "seed": -1,
        "horizon": 0,
        "weights_version": 0,
        "hidden_performance": float("nan"),
        "env": "",
        "task": "",
    }
    trajectories = TrajectoryTable.from_columns(
        **{k: np.array([defaults.get(k) if v is None else v for v in vs]) for k, vs in given.items()}
    )
    extras = {}
    for name in dict.fromkeys(k for ep in episodes for k in ep.extras):
        column = np.empty(len(rows), dtype=object)
        column[:] = [v for ep, n in zip(episodes, counts, strict=True) for v in ep.extras.get(name, [None] * n)]
        extras[name] = column
    return StepTable.from_columns(**columns, trajectories=trajectories, extras=extras)


def _plain(action: Any) -> Any:
    """NumPy scalars as Python values, so that equal actions hash equally wherever they came from."""
    return action.item() if isinstance(action, np.generic) else action
