"""Tables drawn at random: distinct trajectories of ragged lengths, in any order of ids."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from agentgym import StepTable, TokenTable, TrajectoryTable
from agentgym.tokens import TokenWriter

IDS = st.lists(st.integers(0, 40), unique=True, max_size=6)


def step_table(ids: list[int], seed: int, *, extras: tuple[str, ...] = ()) -> StepTable:
    """A table of these trajectories; some have no steps. Every column is filled with what could stand there."""
    rng = np.random.default_rng([seed, *ids])
    ids = sorted(ids)
    lengths = rng.integers(0, 5, size=len(ids))
    n = int(lengths.sum())
    column: dict[str, Any] = {
        "trajectory": np.repeat(np.array(ids, dtype=np.int64), lengths),
        "group": np.repeat(rng.integers(0, 3, size=len(ids)), lengths),
        "t": np.concatenate([np.arange(k) for k in lengths] or [np.empty(0)]).astype(np.int32),
        "reward": rng.normal(size=n),
        "progress": rng.random(n),
        "danger": rng.random(n) < 0.5,
        "anchor": rng.integers(-(2**63), 2**63 - 1, size=n),
        "action": rng.integers(-(2**63), 2**63 - 1, size=n),
    }
    kinds = {
        "number": rng.normal(size=n),
        "count": rng.integers(0, 9, size=n),
        "text": np.array([f"text {k}" for k in range(n)], dtype=object),
        "vector": rng.normal(size=(n, 2)),
    }
    trajectories = TrajectoryTable.from_columns(
        id=np.array(ids, dtype=np.int64),
        outcome=rng.random(len(ids)),
        env=np.array([f"e{k}" for k in ids], dtype=object),
    )
    return StepTable.from_columns(**column, trajectories=trajectories, extras={k: kinds[k] for k in extras})


@st.composite
def step_tables(draw: st.DrawFn, *, extras: bool = True) -> StepTable:
    """One table."""
    names = st.sets(st.sampled_from(["number", "count", "text", "vector"])) if extras else st.just(set[str]())
    return step_table(draw(IDS), draw(st.integers(0, 99)), extras=tuple(sorted(draw(names))))


def token_table(ids: list[int], seed: int) -> TokenTable:
    """Tokens of these trajectories: several segments, some steps chosen among candidates."""
    rng = np.random.default_rng([seed, *ids])
    writer = TokenWriter()
    for trajectory in rng.permutation(ids).tolist():
        segment = 0
        for t in range(int(rng.integers(0, 4))):
            segment += int(rng.integers(0, 2)) if t else 0
            action = rng.integers(0, 99, size=rng.integers(1, 4))
            candidates = ((1, 2), tuple(action.tolist()), (3,)) if rng.random() < 0.5 else None
            writer.add(
                trajectory,
                t,
                segment=segment,
                prompt=rng.integers(0, 99, size=rng.integers(0, 5)),
                action=action,
                logprob=-rng.random(len(action)),
                logprob_behaviour=-rng.random(len(action)),
                candidates=candidates,
                chosen=-1 if candidates is None else 1,
                weights_version=seed,
            )
    return writer.table()


def same_steps(a: StepTable, b: StepTable) -> None:
    """Equal in every column, trajectory and extra, dtypes included."""
    pairs = [(a.columns(), b.columns()), (a.trajectories.columns(), b.trajectories.columns()), (a.extras, b.extras)]
    for left, right in pairs:
        assert set(left) == set(right)
        for name, column in left.items():
            assert column.dtype == right[name].dtype, name
            np.testing.assert_array_equal(column, right[name], err_msg=name)


def same_tokens(a: TokenTable, b: TokenTable) -> None:
    """Equal in every column; candidate sets may be numbered differently."""
    for name, column in a.arrays().items():
        if name != "choice_set":
            assert column.dtype == b.arrays()[name].dtype, name
            np.testing.assert_array_equal(column, b.arrays()[name], err_msg=name)
    assert [a.candidate_sets[k] for k in a.choice_set] == [b.candidate_sets[k] for k in b.choice_set]
    assert set(a.candidate_sets) == set(b.candidate_sets)
