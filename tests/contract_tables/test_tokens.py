"""TokenTable: exactly what was written comes out, however tables are cut and joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentgym import TokenTable
from agentgym.tokens import TokenWriter
from tests.contract_tables.strategies import IDS, same_tokens, token_table


def add(writer: TokenWriter, trajectory: int, t: int, prompt: list[int], action: list[int], **more: Any) -> None:
    """One step with log-probabilities that tell where it came from."""
    logprob = -np.arange(1.0, len(action) + 1) - t
    writer.add(
        trajectory,
        t,
        prompt=np.array(prompt, dtype=np.int64),
        action=np.array(action, dtype=np.int64),
        logprob=logprob,
        logprob_behaviour=logprob / 2,
        **{"segment": 0, **more},
    )


class TestLaws:
    """True of every table."""

    @given(IDS, st.integers(0, 99), st.randoms(use_true_random=False))
    def test_concat_undoes_any_cut_into_trajectories(self, ids: list[int], seed: int, random: Any) -> None:
        whole = token_table(ids, seed)
        parts = [whole.only([k]) for k in ids]
        random.shuffle(parts)
        same_tokens(TokenTable.concat(parts), whole)

    @given(IDS, st.integers(0, 99))
    def test_only_everything_is_everything_and_only_nothing_nothing(self, ids: list[int], seed: int) -> None:
        whole = token_table(ids, seed)
        same_tokens(whole.only(ids), whole)
        same_tokens(whole.only([]), TokenTable.empty())
        same_tokens(whole.only([1000]), TokenTable.empty())

    @given(IDS, st.integers(0, 99))
    def test_columns_fit_together(self, ids: list[int], seed: int) -> None:
        table = token_table(ids, seed)
        assert np.all(np.diff(table.segment) >= 0)
        assert table.segment_starts[-1] == len(table)
        assert np.array_equal(np.isnan(table.logprob), ~table.mask)
        assert np.array_equal(np.isnan(table.logprob_behaviour), ~table.mask)
        assert np.all(np.diff(table.segment_trajectory) >= 0)
        assert len(set(table.candidate_sets)) == len(table.candidate_sets)

    @given(st.integers(0, 9999))
    def test_what_is_written_is_read(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        writer = TokenWriter()
        written: dict[tuple[int, int], Any] = {}
        context: dict[int, tuple[int, list[int]]] = {}
        clock: dict[int, int] = {}
        for _ in range(12):  # trajectories take turns in any order
            trajectory = int(rng.integers(3))
            t = clock[trajectory] = clock.get(trajectory, -1) + 1
            segment, before = context.get(trajectory, (0, []))
            if before and rng.random() < 0.3:
                segment, before = segment + 1, []
            prompt = rng.integers(0, 50, size=rng.integers(0, 4)).tolist()
            action = rng.integers(0, 50, size=rng.integers(1, 4)).tolist()
            candidates = ((0,), tuple(action)) if rng.random() < 0.5 else None
            add(
                writer,
                trajectory,
                t,
                prompt,
                action,
                segment=segment,
                candidates=candidates,
                chosen=1 if candidates else -1,
            )
            written[trajectory, t] = (before + prompt, action, candidates)
            context[trajectory] = (segment, before + prompt + action)
        table = writer.table()
        read = {(s.trajectory, s.t): (s.prefix.tolist(), s.action.tolist(), s.candidates) for s in table.steps()}
        assert read == written
        assert list(read) == sorted(written)
        for step in table.steps():
            assert step.chosen == (1 if step.candidates else -1)
            assert table.id[step.start : step.start + len(step.action)].tolist() == step.action.tolist()
            np.testing.assert_array_equal(step.logprob, -np.arange(1.0, len(step.action) + 1) - step.t)
            np.testing.assert_array_equal(step.logprob_behaviour, step.logprob / 2)


def test_segments_and_masks_by_example() -> None:
    writer = TokenWriter()
    add(writer, 5, 0, [10, 11], [12])
    add(writer, 2, 0, [20], [21, 22], weights_version=3)
    add(writer, 5, 1, [13], [14], segment=1)
    table = writer.table()
    assert table.id.tolist() == [20, 21, 22, 10, 11, 12, 13, 14]
    assert table.segment.tolist() == [0, 0, 0, 1, 1, 1, 2, 2]
    assert table.mask.astype(int).tolist() == [0, 1, 1, 0, 0, 1, 0, 1]
    assert table.step.tolist() == [0, 0, 0, 0, 0, 0, 1, 1]
    assert table.weights_version.tolist() == [3, 3, 3, 0, 0, 0, 0, 0]
    assert table.segment_trajectory.tolist() == [2, 5, 5]
    assert table.segment_index.tolist() == [0, 0, 1]
    assert {k: str(v.dtype) for k, v in table.arrays().items()} == {
        "id": "int64",
        "segment": "int64",
        "step": "int32",
        "mask": "bool",
        "logprob": "float64",
        "logprob_behaviour": "float64",
        "weights_version": "int64",
        "segment_trajectory": "int64",
        "segment_index": "int32",
        "choice_trajectory": "int64",
        "choice_t": "int32",
        "choice_set": "int64",
        "choice_chosen": "int64",
    }
    same = TokenTable.empty()
    assert same.arrays().keys() == table.arrays().keys()
    assert {k: v.dtype for k, v in same.arrays().items()} == {k: v.dtype for k, v in table.arrays().items()}


def test_equal_candidate_sets_are_kept_once() -> None:
    writer = TokenWriter()
    for t in range(3):
        add(writer, 0, t, [t], [1], candidates=((1,), (2,)), chosen=0)
    other = TokenWriter()
    add(other, 1, 0, [0], [2], candidates=((1,), (2,)), chosen=1)
    both = TokenTable.concat([writer.table(), other.table()])
    assert both.candidate_sets == (((1,), (2,)),)
    assert both.choice_chosen.tolist() == [0, 0, 0, 1]


def test_a_dropped_trajectory_is_forgotten() -> None:
    writer = TokenWriter()
    add(writer, 0, 0, [1], [2])
    add(writer, 1, 0, [3], [4])
    writer.drop(0)
    writer.drop(17)
    assert writer.table().id.tolist() == [3, 4]


def test_a_branch_may_begin_late() -> None:
    writer = TokenWriter()
    add(writer, 0, 4, [1], [2])
    assert [s.t for s in writer.table().steps()] == [4]


class TestRefusals:
    def test_lengths(self) -> None:
        three, two = np.zeros(3), np.zeros(2)
        with pytest.raises(ValueError, match="one length, got 3, 2, 3"):
            TokenWriter().add(
                0, 0, segment=0, prompt=two.astype(int), action=three.astype(int), logprob=two, logprob_behaviour=three
            )

    @pytest.mark.parametrize(("t", "segment"), [(1, 1), (0, 1), (2, 0)])
    def test_steps_come_in_order(self, t: int, segment: int) -> None:
        writer = TokenWriter()
        add(writer, 0, 1, [1], [2], segment=1)
        with pytest.raises(ValueError, match="t must ascend and segments must not go back"):
            add(writer, 0, t, [1], [2], segment=segment)

    def test_one_trajectory_in_two_tables(self) -> None:
        a, b = TokenWriter(), TokenWriter()
        add(a, 4, 0, [1], [2])
        add(b, 4, 1, [1], [2], segment=1)
        with pytest.raises(ValueError, match="trajectory 4 is in two tables"):
            TokenTable.concat([a.table(), b.table()])
