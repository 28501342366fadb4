"""What a learned model sees: numbers centred and scaled, texts hashed; and what it refuses, by column and row."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from agentgym.errors import ModelFolderError
from agentgym.rewards.models.inputs import Inputs, hashed_words
from agentgym.rewards.models.store import read_model, write_model
from agentgym.steps import StepTable
from tests.rewards.credit.tables import rollouts


def table(**extras: Any) -> StepTable:
    return rollouts([0.0, 0.0], [0.0]).with_extra(**{k: np.array(v) for k, v in extras.items()})


def test_numbers_are_centred_and_scaled_by_what_was_fitted() -> None:
    inputs = Inputs.fit(table(x=[1.0, 2.0, 3.0]), "x", "a test")
    np.testing.assert_allclose(inputs.matrix(table(x=[2.0, 2.0, 3.0]), "a test")[:, 0], [0.0, 0.0, 1.5**0.5])


def test_a_constant_column_is_not_blown_up() -> None:
    inputs = Inputs.fit(table(x=[0.1, 0.1, 0.1]), "x", "a test")
    assert np.abs(inputs.matrix(table(x=[0.1, 0.1, 0.2]), "a test")).max() <= 0.2


def test_texts_are_known_by_their_words_and_neighbours() -> None:
    a, b, c, d = hashed_words(["the key", "key the", "The key", ""], 4096)
    np.testing.assert_array_equal(a, c)
    assert 0.0 < a @ b < 1.0, "the same words in another order are akin, not equal"
    assert not d.any()
    np.testing.assert_allclose(np.linalg.norm(a), 1.0)


def test_inputs_survive_json() -> None:
    steps = table(x=[[1.0, 2.0], [3.0, 4.0], [5.0, 7.0]], text=["a b", "b", "c"])
    inputs = Inputs.fit(steps, ("text", "x", "progress"), "a test", buckets=16)
    again = Inputs.from_json(inputs.to_json())
    assert inputs.width == 16 + 2 + 1
    np.testing.assert_array_equal(again.matrix(steps, "a test"), inputs.matrix(steps, "a test"))


@pytest.mark.parametrize(
    ("columns", "extras", "message"),
    [
        ("x", {}, "reads the extra column 'x'"),
        ("x", {"x": [0.0, np.nan, 0.0]}, "'x' must be finite .* row 1"),
        ("x", {"x": np.array(["a", None, "b"], dtype=object)}, "column 'x' must hold texts, row 1 is NoneType"),
        ("action", {}, "'action': it holds identities"),
        ((), {}, "at least one column"),
        (("x", "x"), {"x": [0.0, 0.0, 0.0]}, "each once"),
    ],
)
def test_bad_columns_are_named(columns: Any, extras: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Inputs.fit(table(**extras), columns, "a test")


def test_a_column_that_changes_its_kind_is_named() -> None:
    inputs = Inputs.fit(table(x=[0.0, 1.0, 2.0]), "x", "a test")
    with pytest.raises(ValueError, match="'x' must be 1 numeric features, as when a test was fitted; got text"):
        inputs.matrix(table(x=["a", "b", "c"]), "a test")


def test_an_empty_table_teaches_nothing() -> None:
    with pytest.raises(ValueError, match="without steps; collect rollouts first"):
        Inputs.fit(StepTable.empty(), "progress", "a test")


def test_a_model_file_is_whole_of_its_kind_or_refused(tmp_path: Any) -> None:
    path = tmp_path / "model.npz"
    write_model(path, "One", {"a": 1}, {"w": np.arange(3)})
    values, arrays = read_model(path, "One")
    assert values == {"a": 1}
    assert arrays["w"].tolist() == [0, 1, 2]
    with pytest.raises(ModelFolderError, match=r"expected a Two .* got a One"):
        read_model(path, "Two")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ModelFolderError, match="missing or damaged"):
        read_model(path, "One")
    with pytest.raises(ModelFolderError, match="missing or damaged"):
        read_model(tmp_path / "nothing", "One")
