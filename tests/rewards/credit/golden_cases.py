"""Golden files of credit methods: how they are read, and how their rows become a StepTable.

A file has ``method``, ``case``, ``params``, ``inputs``, ``outputs`` (null where the reference raised), ``error`` (null,
a text, or one text per implementation), ``tolerance`` {atol, rtol} and ``notes``. An array is {dtype, shape, data}.
Rows are (trajectory, step) pairs, in time order inside a trajectory; the score of a row sits on its last valid token.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from agentgym.steps import StepTable, TrajectoryTable

GOLDEN = Path(os.environ.get("AGENTGYM_GOLDEN") or Path(__file__).parents[2] / "golden")
"""The folder with ``credit/*.json``."""


@dataclass(frozen=True)
class Comparison:
    """One output of a file: our computation of it, and the reference's result (None: the reference raised)."""

    name: str
    ours: Callable[[], Any]
    theirs: np.ndarray | None
    from_inputs: bool = False
    """It is held against an input of the reference: an intermediate that we compute from earlier ones."""


@dataclass(frozen=True)
class Case:
    """One golden file."""

    path: Path
    data: dict[str, Any]

    @classmethod
    def load(cls, path: Path) -> Case:
        return cls(path, json.loads(path.read_text()))

    @property
    def method(self) -> str:
        return str(self.data["method"])

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.data["params"])

    @property
    def tolerance(self) -> tuple[float, float]:
        atol, rtol = self.data["tolerance"]["atol"], self.data["tolerance"]["rtol"]
        # Rewards that differ in the last digits of float32: the reference is itself off by a few percent.
        return (max(atol, 0.1), max(rtol, 0.1)) if "near_equal" in self.data["case"] else (atol, rtol)

    def input(self, name: str) -> Any:
        """An input, arrays as NumPy, other values as they are."""
        return decoded(self.data["inputs"][name])

    def output(self, name: str) -> np.ndarray | None:
        """An output; None where the reference raised."""
        outputs = self.data["outputs"]
        value = None if outputs is None else outputs.get(name)
        return None if value is None else np.asarray(decoded(value))

    def output_names(self) -> set[str]:
        return set(self.data["outputs"] or ())

    def was_run(self, name: str) -> bool:
        """The reference gave this output, or raised instead; an implementation may be missing from a file."""
        error, outputs = self.data["error"], self.data["outputs"]
        return outputs is None or name in outputs or (isinstance(error, dict) and name in error)

    @cached_property
    def rows(self) -> Rows:
        return Rows.of(self)


def decoded(value: Any) -> Any:
    """{dtype, shape, data} as an array; "nan", "inf" and "-inf" are numbers there."""
    if isinstance(value, dict) and {"dtype", "shape", "data"} <= set(value):
        dtype = object if value["dtype"] == "object" else np.float64 if "float" in value["dtype"] else value["dtype"]
        return np.array(value["data"], dtype=dtype).reshape(value["shape"])
    return value


def codes(values: Iterable[Any]) -> np.ndarray:
    """int64[n]: equal values share a number, in the order of first appearance."""
    seen: dict[Any, int] = {}
    return np.array([seen.setdefault(v, len(seen)) for v in values], dtype=np.int64)


def observation_key(observation: Any) -> Any:
    """Equality as the reference's hash sees it: nested lists (arrays) by their flat values, dicts by sorted items."""
    if isinstance(observation, dict):
        return tuple((k, observation_key(observation[k])) for k in sorted(observation))
    if isinstance(observation, list):
        return tuple(flat(observation))
    return observation


def flat(nested: list[Any]) -> Iterator[Any]:
    """The values of nested lists, in order."""
    for item in nested:
        yield from flat(item) if isinstance(item, list) else [observation_key(item)]


@dataclass(frozen=True)
class Rows:
    """The rows of a file as a table: sorted by trajectory; `back` undoes the sorting."""

    table: StepTable
    order: np.ndarray

    @classmethod
    def of(cls, case: Case) -> Rows:
        inputs = case.data["inputs"]
        index = case.input("index").tolist()
        trajectory = codes(zip(index, case.input("traj_index").tolist(), strict=True))
        order = np.argsort(trajectory, kind="stable")
        grounded = np.array(case.params.get("is_action_valid", [True] * len(index)))
        score = np.array(case.input("token_level_rewards").sum(axis=1))
        score += case.params.get("invalid_action_penalty_coef", 0.0) * ~grounded  # the table holds the plain score
        first = order[np.append(0, np.flatnonzero(np.diff(trajectory[order])) + 1)]
        outcome = score[first]
        assert np.allclose(score, outcome[trajectory], atol=1e-6), "the rows of a trajectory carry one score"
        columns: dict[str, Any] = {"trajectory": trajectory, "group": codes(index), "grounded": grounded}
        extras = {"n_tokens": case.input("response_mask").sum(axis=1)}
        if "step_env_rewards" in inputs:
            columns["reward"] = case.input("step_env_rewards")
        if "anchor_obs" in inputs:
            observations = case.input("anchor_obs")
            columns["anchor"] = codes(observation_key(o) for o in observations)
            extras["observation"] = np.empty(len(observations), dtype=object)
            extras["observation"][:] = observations
        table = StepTable.from_columns(
            **{k: v[order] for k, v in columns.items()},
            outcome=outcome,
            extras={k: v[order] for k, v in extras.items()},
        )
        return cls(table, order)

    def back(self, values: np.ndarray) -> np.ndarray:
        """Values of the table's rows in the file's order."""
        result = np.empty_like(values)
        result[self.order] = values
        return result


def per_row(case: Case, tokens: np.ndarray | None, *, only: np.ndarray | None = None) -> np.ndarray | None:
    """The one value that a row's valid tokens carry; 0 stands where a row has none or is not in ``only``."""
    if tokens is None:
        return None
    mask = case.input("response_mask").astype(bool)
    value = np.array([row[m][0] if m.any() else 0.0 for row, m in zip(tokens, mask, strict=True)])
    assert np.array_equal(np.where(mask, tokens, 0), np.where(mask, value[:, None], 0), equal_nan=True)
    return value if only is None else np.where(only, value, 0.0)


def row_comparison(
    case: Case, output: str, assign: Callable[[StepTable], np.ndarray], *, only: np.ndarray | None = None
) -> Comparison:
    """Our per-step advantage against the reference's per-token one, on rows that have tokens."""
    counted = case.input("response_mask").any(axis=1)
    if only is not None:
        counted &= only
    return Comparison(
        output,
        lambda: np.where(counted, case.rows.back(assign(case.rows.table)), 0.0),
        per_row(case, case.output(output), only=only),
    )


def single_step_rollouts(group: np.ndarray, **extras: np.ndarray) -> StepTable:
    """One row per trajectory."""
    return StepTable.from_columns(trajectory=np.arange(len(group)), group=group, extras=extras)


def matrix_rollouts(
    mask: np.ndarray, *, group: np.ndarray | None = None, outcome: np.ndarray | None = None, **extras: np.ndarray
) -> StepTable:
    """A trajectory per line of the mask, a row per true entry; a line without any is a trajectory without steps."""
    lines = np.arange(len(mask))
    trajectories = TrajectoryTable.from_columns(id=lines, outcome=np.zeros(len(mask)) if outcome is None else outcome)
    trajectory = np.repeat(lines, mask.sum(axis=1))
    columns = {} if group is None else {"group": group[trajectory]}
    return StepTable.from_columns(trajectory=trajectory, trajectories=trajectories, extras=extras, **columns)
