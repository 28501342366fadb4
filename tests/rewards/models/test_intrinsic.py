"""ONI's three models: what each makes of messages it has labels for, and of others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agentgym.errors import ModelFolderError
from agentgym.rewards.models.intrinsic import MessageClassifier, MessageRanking, MessageRetrieval, pairs_of_labels
from agentgym.rewards.terms import intrinsic
from agentgym.steps import StepTable
from tests.rewards.credit.tables import rollouts


def halves(steps: StepTable, seed: int) -> tuple[list[str], np.ndarray, list[str], np.ndarray]:
    """Distinct messages (what was seen, what was done) and whether progress rose, in two halves at random."""
    label: dict[str, float] = {}
    rose = steps.progress > steps.progress_before
    for text, action, up in zip(steps.extras["text"], steps.extras["action_text"], rose, strict=True):
        label.setdefault(f"{text} > {action}", float(up))
    messages, values = np.array(list(label), dtype=object), np.array(list(label.values()))
    first = np.random.default_rng(seed).random(len(messages)) < 0.5
    return messages[first].tolist(), values[first], messages[~first].tolist(), values[~first]


def area(scores: np.ndarray, labels: np.ndarray) -> float:
    """Probability that a message of label 1 scores above one of label 0."""
    return float((scores[labels == 1][:, None] > scores[labels == 0][None, :]).mean())


def test_the_classifier_knows_messages_that_retrieval_has_never_seen(seen: StepTable) -> None:
    known, labels, new, truth = halves(seen, 0)
    assert not MessageRetrieval().fit(known, labels).rewards(new).any()
    model = MessageClassifier(seed=0).fit(known, labels, epochs=15)
    rewarded = model.rewards(new)
    assert set(rewarded) == {0.0, 1.0}
    assert area(model.probabilities(new), truth) > 0.75
    assert rewarded[truth == 1].mean() > 2 * rewarded[truth == 0].mean()


def test_the_ranking_puts_progress_first_and_pays_the_upper_part_alone(seen: StepTable) -> None:
    known, labels, new, truth = halves(seen, 1)
    a, b, preference = pairs_of_labels(labels, 4000, np.random.default_rng(1))
    model = MessageRanking(seed=1, threshold=0.5)
    model.fit([known[k] for k in a], [known[k] for k in b], preference, epochs=5)
    assert area(model.scores(new), truth) > 0.75
    rewards = model.rewards(new)
    assert ((rewards == 0.0) | (rewards >= 0.5)).all()
    assert (rewards[truth == 1] > 0).mean() > 2 * (rewards[truth == 0] > 0).mean()


def test_retrieval_gives_labels_back_and_takes_newer_ones() -> None:
    model = MessageRetrieval().fit(["a", "b"], [1, 0]).fit(["b"], [0.5])
    assert model.rewards(["a", "b", "c"]).tolist() == [1.0, 0.5, 0.0]
    arrays = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert MessageRetrieval().fit(arrays, [1, 0]).rewards(arrays[:1] + 0.0).tolist() == [1.0]


def test_arrays_are_classified_and_ranked_too() -> None:
    x = np.random.default_rng(0).normal(size=(300, 3))
    y = (x[:, 0] > 0).astype(float)
    assert (MessageClassifier().fit(x, y).rewards(x) == y).mean() > 0.95
    a, b, preference = pairs_of_labels(y, 2000, np.random.default_rng(0))
    assert area(MessageRanking().fit(x[a], x[b], preference).scores(x), y) > 0.95


def test_running_statistics_do_not_depend_on_how_scores_are_cut() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    a, b, preference = pairs_of_labels((x[:, 0] > 0).astype(float), 100, np.random.default_rng(0))
    one, other = (MessageRanking(seed=0).fit(x[a], x[b], preference, epochs=1) for _ in range(2))
    one.rewards(x)
    for part in np.array_split(x, [7, 8, 30]):
        other.rewards(part)
    scores = one.scores(x)
    assert one.count == other.count == 50
    np.testing.assert_allclose([one.mean, one.variance], [scores.mean(), scores.var()], rtol=1e-9)
    np.testing.assert_allclose([other.mean, other.variance], [one.mean, one.variance], rtol=1e-6)


def test_saved_and_loaded_they_say_the_same(tmp_path: Path) -> None:
    messages, labels = ["a key", "a wall", "a door"], [1.0, 0.0, 1.0]
    ranking = MessageRanking().fit(["a key"], ["a wall"], [1.0])
    ranking.rewards(messages)
    for model in (MessageRetrieval().fit(messages, labels), MessageClassifier().fit(messages, labels), ranking):
        model.save(tmp_path / "oni.npz")
        again = type(model).load(tmp_path / "oni.npz")
        np.testing.assert_array_equal(again.rewards(messages), model.rewards(messages))
        state = type(model)()
        state.load_state_dict(model.state_dict())
        np.testing.assert_array_equal(state.rewards(messages), again.rewards(messages))
    with pytest.raises(ModelFolderError, match="expected a MessageClassifier"):
        MessageClassifier.load(tmp_path / "oni.npz")


def test_the_reward_fades_as_its_message_repeats_in_the_episode() -> None:
    steps = rollouts([0.0] * 4, [0.0] * 2).with_extra(
        intrinsic=np.array([1.0, 1.0, 0.5, 1.0, 1.0, 1.0]),
        message=np.array(["a", "b", "a", "a", "a", "b"], dtype=object),
    )
    np.testing.assert_allclose(intrinsic.term(steps), [1.0, 1.0, 0.25, 1 / 3, 1.0, 1.0])
    np.testing.assert_allclose(intrinsic.term(steps, beta=2.0)[3], 1 / 9)
    np.testing.assert_array_equal(intrinsic.term(steps, beta=0.0), steps.extras["intrinsic"])


@pytest.mark.parametrize("kind", [MessageRetrieval, MessageClassifier, MessageRanking])
def test_unfitted_models_say_so(kind) -> None:
    with pytest.raises(ValueError, match=f"this {kind.__name__} is not fitted"):
        kind().rewards(["a"])


def test_bad_input_is_named() -> None:
    model = MessageClassifier()
    with pytest.raises(ValueError, match=r"'labels' must have shape \(2,\)"):
        model.fit(["a", "b"], [1.0])
    with pytest.raises(ValueError, match=r"'labels' must lie in \[0, 1\], row 1 is 2.0"):
        model.fit(["a", "b"], [1.0, 2.0])
    with pytest.raises(ValueError, match=r"'labels' must be finite .* row 0"):
        model.fit(["a"], [np.nan])
    with pytest.raises(ValueError, match="'messages' must hold texts, row 1 is int"):
        model.fit(["a", 3], [1.0, 0.0])  # type: ignore[list-item]
    with pytest.raises(ValueError, match=r"needs (a label at least|at least one label)"):
        model.fit([], [])
    model.fit(["a", "b"], [1.0, 0.0])
    with pytest.raises(ValueError, match="'messages' must have 512 features"):
        model.rewards(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="two labelled messages"):
        pairs_of_labels([1.0], 3, np.random.default_rng(0))
