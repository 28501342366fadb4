"""StepTable: the laws of cutting, joining and growing, and what it refuses."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym import StepTable, TrajectoryTable
from agentgym.steps import STEP_COLUMNS, action_hash
from tests.contract_tables.strategies import IDS, same_steps, step_table, step_tables


def two() -> StepTable:
    """Trajectory 3 with three steps, 7 with two, 9 with none."""
    return StepTable.from_columns(
        trajectory=[3, 3, 3, 7, 7],
        reward=[0.0, 0.0, 1.0, 0.5, 0.25],
        group=[0, 0, 0, 1, 1],
        trajectories=TrajectoryTable.from_columns(id=[3, 7, 9], outcome=[1.0, 0.75, 0.0]),
    )


class TestLaws:
    """True of every table."""

    @given(IDS, st.integers(0, 9), st.randoms(use_true_random=False))
    def test_concat_undoes_any_cut_into_trajectories(self, ids: list[int], seed: int, random: Any) -> None:
        whole = step_table(ids, seed, extras=("number", "text", "vector"))
        parts = [whole.only([k]) for k in whole.trajectories.id]
        random.shuffle(parts)
        joined = StepTable.concat(parts)
        joined.validate()
        if ids:
            same_steps(joined, whole)
        else:
            same_steps(joined, StepTable.empty())

    @given(IDS, st.integers(0, 9), st.data())
    def test_concat_does_not_care_about_grouping(self, ids: list[int], seed: int, data: st.DataObject) -> None:
        a, b, c = (step_table([k for k in ids if k % 3 == r], seed + r, extras=("number",)) for r in range(3))
        flat = StepTable.concat([a, b, c])
        same_steps(StepTable.concat([c, StepTable.concat([b, a])]), flat)
        same_steps(StepTable.concat([StepTable.empty(), flat]), flat)

    @given(step_tables(), st.data())
    def test_only_keeps_whole_trajectories_also_those_without_steps(
        self, table: StepTable, data: st.DataObject
    ) -> None:
        chosen = (
            data.draw(st.sets(st.sampled_from(table.trajectories.id.tolist()))) if len(table.trajectories) else set()
        )
        part = table.only(sorted(chosen))
        part.validate()
        assert set(part.trajectories.id.tolist()) == chosen
        assert len(part) == np.isin(table.trajectory, list(chosen)).sum()
        same_steps(part.only(sorted(chosen)), part)

    @given(step_tables(), st.data())
    def test_rows_by_mask_by_index_and_by_slice_agree(self, table: StepTable, data: st.DataObject) -> None:
        n = len(table)
        low, high, step = data.draw(st.integers(0, n)), data.draw(st.integers(0, n)), data.draw(st.integers(1, 3))
        index = np.arange(n)[low:high:step]
        mask = np.isin(np.arange(n), index)
        by_slice = table[low:high:step]
        by_slice.validate()
        same_steps(by_slice, table[mask])
        same_steps(by_slice, table[index])
        same_steps(by_slice, table[list(index - n)])
        assert set(by_slice.trajectories.id) == set(by_slice.trajectory)

    @given(step_tables(extras=False), st.data())
    def test_join_puts_values_where_they_belong(self, table: StepTable, data: st.DataObject) -> None:
        rows = np.array(sorted(data.draw(st.sets(st.integers(0, len(table) - 1)))) if len(table) else [], dtype=int)
        rows = np.array(data.draw(st.permutations(rows.tolist())), dtype=int)
        values = rows * 1.5
        joined = table.join("late", table.trajectory[rows], table.t[rows], values)
        expected = np.full(len(table), np.nan)
        expected[rows] = values
        np.testing.assert_array_equal(joined.extras["late"], expected)
        assert "late" not in table.extras

    @given(step_tables(extras=False), st.integers(1, 3))
    def test_joining_in_two_goes_is_joining_once(self, table: StepTable, k: int) -> None:
        rows = np.arange(len(table))
        a, b = rows[rows % (k + 1) == 0], rows[rows % (k + 1) != 0]
        once = table.join("x", table.trajectory, table.t, rows.astype(float))
        for first, second in ((a, b), (b, a)):
            twice = table.join("x", table.trajectory[first], table.t[first], first.astype(float))
            twice = twice.join("x", table.trajectory[second], table.t[second], second.astype(float))
            np.testing.assert_array_equal(twice.extras["x"], once.extras["x"])

    @given(step_tables())
    def test_the_shape_properties_say_the_same(self, table: StepTable) -> None:
        pieces = [table.trajectory == k for k in np.unique(table.trajectory)]
        assert table.lengths.tolist() == [int(p.sum()) for p in pieces]
        assert table.starts.tolist() == [int(np.flatnonzero(p)[0]) for p in pieces]
        assert table.ends.tolist() == [int(np.flatnonzero(p)[-1]) for p in pieces]
        assert table.outcome.tolist() == [
            table.trajectories.outcome[table.trajectories.id == table.trajectory[k]][0] for k in table.starts
        ]
        np.testing.assert_array_equal(table.trajectory[table.starts][table.segment], table.trajectory)

    @given(st.integers(0, 99))
    def test_lineage_is_the_walk_from_the_root(self, seed: int) -> None:
        """Grow a random tree of branches beside the plain list of rows each of them stands for."""
        rng = np.random.default_rng(seed)
        paths: list[list[tuple[int, int]]] = []  # of every trajectory: (trajectory, t) from the root
        columns: dict[str, Any] = {"trajectory": [], "t": [], "parent": [], "parent_t": []}
        for k in range(8):
            parent, parent_t, path = -1, -1, list[tuple[int, int]]()
            if k and rng.random() < 0.8:
                parent = int(rng.integers(k))
                parent_t = int(rng.integers(len(paths[parent])))  # may lie before the parent's own first step
                path = paths[parent][: parent_t + 1]
            own = [(k, parent_t + 1 + i) for i in range(int(rng.integers(1, 4)))]
            paths.append(path + own)
            for _, t in own:
                for name, value in zip(columns, (k, t, parent, parent_t), strict=True):
                    columns[name].append(value)
        table = StepTable.from_columns(**columns)
        for k, path in enumerate(paths):
            rows = table.lineage(k)
            assert list(zip(table.trajectory[rows].tolist(), table.t[rows].tolist(), strict=True)) == path
            assert [t for _, t in path] == list(range(len(path)))


class TestBuilding:
    """Missing columns get defaults; wrong ones are named."""

    def test_defaults(self) -> None:
        table = StepTable.from_columns(trajectory=[0, 0, 4], reward=[1, 2, 3])
        assert table.t.tolist() == [0, 1, 0]
        assert table.outcome.tolist() == [3.0, 3.0]
        assert {k: str(v.dtype) for k, v in table.columns().items()} == {k: d for k, (d, _) in STEP_COLUMNS.items()}
        assert table.grounded.all()
        assert table.parent.tolist() == [-1] * 3

    def test_lists_may_be_empty(self) -> None:
        assert len(StepTable.from_columns(trajectory=[], reward=[])) == 0
        same_steps(StepTable.concat([]), StepTable.empty())
        assert len(two()[[]]) == 0

    def test_outcome_by_trajectory_or_by_row(self) -> None:
        for outcome in ([0.5, 1.0], [0.5, 0.5, 1.0]):
            assert StepTable.from_columns(trajectory=[0, 0, 4], outcome=outcome).outcome.tolist() == [0.5, 1.0]

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({}, "'trajectory' must be given"),
            ({"trajectory": [0], "rewards": [1.0]}, "unknown step columns"),
            ({"trajectory": [1, 0]}, "row 1: 'trajectory' must ascend"),
            ({"trajectory": [0, 0], "t": [1, 0]}, "row 1: 't' must ascend"),
            ({"trajectory": [0, 0], "t": [1, 1]}, "row 1: 't' must ascend"),
            ({"trajectory": [0], "t": [-1]}, "'t' must be at least 0"),
            ({"trajectory": [0, 0], "group": [0, 1]}, "'group' changes inside trajectory 0"),
            ({"trajectory": [0], "reward": [1.0, 2.0]}, r"'reward' must have shape \(1,\)"),
            ({"trajectory": [0], "reward": [float("nan")]}, "'reward' must be finite, row 0"),
            ({"trajectory": [0.0]}, "'trajectory' must be int64, got float64"),
            ({"trajectory": [0], "danger": [1]}, "'danger' must be bool, got int64"),
            ({"trajectory": [0], "t": [2**31]}, "'t' must fit into int32"),
            ({"trajectory": [0], "anchor": np.array([2**63], dtype=np.uint64)}, "'anchor' must fit into int64"),
            ({"trajectory": [0], "extras": {"x": [1, 2]}}, "'x' must have 1 rows"),
            ({"trajectory": [0], "extras": {"reward": [1]}}, "'reward' is a column of every table"),
            ({"trajectory": [0, 0], "outcome": [0.0, 1.0]}, "constant inside a trajectory"),
            ({"trajectory": [0, 1], "outcome": [0.0]}, "one value per trajectory"),
            (
                {"trajectory": [5], "trajectories": TrajectoryTable.from_columns(id=[4])},
                "trajectory 5 has steps but no row",
            ),
        ],
    )
    def test_refusals(self, columns: dict[str, Any], message: str) -> None:
        with pytest.raises(ValueError, match=message):
            StepTable.from_columns(**columns)

    def test_trajectories_are_unique_and_ascend(self) -> None:
        for ids in ([1, 1], [2, 1]):
            with pytest.raises(ValueError, match="unique and ascending"):
                TrajectoryTable.from_columns(id=ids)

    def test_several_agents_may_act_at_one_time(self) -> None:
        table = StepTable.from_columns(trajectory=[0, 0, 0], t=[0, 0, 1], agent=[0, 1, 0])
        joined = table.join("x", [0], [0], [5.0])
        np.testing.assert_array_equal(joined.extras["x"], [5.0, 5.0, np.nan])


class TestCutting:
    """A table stays sorted whatever is asked of it."""

    @pytest.mark.parametrize("rows", [slice(None, None, -1), [1, 0], [-1, 0], [2, 2]])
    def test_no_other_order(self, rows: Any) -> None:
        with pytest.raises(ValueError, match="must ascend"):
            two()[rows]

    def test_a_single_row_is_asked_for_as_a_slice(self) -> None:
        with pytest.raises(ValueError, match="expected a slice"):
            two()[np.int64(2)]  # type: ignore[index]  # the very mistake

    def test_unknown_trajectories(self) -> None:
        with pytest.raises(ValueError, match="trajectory 8 is not in the table"):
            two().only([3, 8])

    def test_one_trajectory_in_two_tables(self) -> None:
        with pytest.raises(ValueError, match="trajectory 9 is in two tables"):
            StepTable.concat([two(), two().only([9])])

    def test_extras_missing_in_a_part_are_filled(self) -> None:
        a = (
            two()
            .only([3])
            .with_extra(number=[1.0, 2.0, 3.0], note=np.array(["a", "b", "c"], dtype=object), word=["x"] * 3)
        )
        both = StepTable.concat([two().only([7, 9]), a])
        np.testing.assert_array_equal(both.extras["number"], [1, 2, 3, np.nan, np.nan])
        assert both.extras["note"].tolist() == ["a", "b", "c", None, None]
        assert both.extras["word"].tolist() == ["x", "x", "x", "", ""]

    def test_an_extra_cannot_take_the_name_of_a_column(self) -> None:
        with pytest.raises(ValueError, match="'reward' is a column"):
            two().with_extra(reward=np.zeros(5))


class TestJoin:
    """Annotations that come after the rollout."""

    def test_defaults_by_kind(self) -> None:
        table = two()
        assert table.join("x", [7], [1], [2]).extras["x"].tolist()[-1] == 2.0
        assert np.isnan(table.join("x", [7], [1], [2]).extras["x"][0])
        assert table.join("x", [7], [1], ["good"]).extras["x"].tolist() == ["", "", "", "", "good"]
        assert table.join("x", [7], [1], np.array([{}], dtype=object)).extras["x"].tolist() == [None] * 4 + [{}]
        assert table.join("x", [7], [1], [2], default=0).extras["x"].dtype == np.int64
        assert table.join("x", [7], [1], [[1.0, 2.0]]).extras["x"].shape == (5, 2)

    def test_a_later_value_that_needs_more_room_gets_it(self) -> None:
        table = two().join("x", [3], [0], ["no"]).join("x", [3], [1], ["certainly"])
        assert table.extras["x"].tolist() == ["no", "certainly", "", "", ""]
        table = two().join("n", [3], [0], [1], default=0).join("n", [3], [1], [0.5])
        assert table.extras["n"].tolist() == [1.0, 0.5, 0.0, 0.0, 0.0]

    @pytest.mark.parametrize(("trajectory", "t"), [(3, 3), (3, -1), (4, 0), (9, 0), (10, 0), (-1, 0), (3, 2**31)])
    def test_steps_that_are_not_there(self, trajectory: int, t: int) -> None:
        with pytest.raises(ValueError, match=rf"no step \(trajectory={trajectory}, t={t}\)"):
            two().join("x", [3, trajectory], [0, t], [1.0, 2.0])

    def test_lengths_must_agree(self) -> None:
        with pytest.raises(ValueError, match="one length"):
            two().join("x", [3], [0], [1.0, 2.0])


class TestLineage:
    """Tree rollouts."""

    def test_no_steps_no_lineage(self) -> None:
        with pytest.raises(ValueError, match="trajectory 9 has no steps"):
            two().lineage(9)

    def test_circles_are_found(self) -> None:
        table = StepTable.from_columns(trajectory=[0, 1], parent=[1, 0], parent_t=[5, 5], t=[6, 6])
        with pytest.raises(ValueError, match="its own ancestor"):
            table.lineage(0)


def test_equal_actions_have_equal_hashes() -> None:
    assert action_hash(2) == action_hash(np.int64(2)) == action_hash(np.array(2)[()])
    assert action_hash("2") != action_hash(2)
    assert action_hash({"x": 1, "y": 2}) == action_hash({"y": 2, "x": 1})
