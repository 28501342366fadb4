"""The annotator beside the loop: it never waits, asks once, counts what it drops, and ends when it is told."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import pytest

from agentgym.rewards.models.annotator import Annotator
from agentgym.rewards.models.sources import OracleSource, Question, RuleSource
from agentgym.steps import StepTable
from tests.rewards.credit.tables import rollouts

PATIENCE = 30.0


def said(*texts: str, **columns: np.ndarray) -> StepTable:
    """One trajectory that saw these texts."""
    return rollouts([0.0] * len(texts), **columns).with_extra(text=np.array(texts, dtype=object))


class Gate:
    """A source that answers only when the test lets it."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.busy, self.go = threading.Event(), threading.Event()

    def label(self, questions: Sequence[Question]) -> list[float | None]:
        self.asked.append([q.message for q in questions])
        self.busy.set()
        self.go.wait(PATIENCE)
        return [float(q.message.startswith("good")) for q in questions]

    def close(self) -> None:
        self.go.set()


def test_labels_come_late_and_join_by_trajectory_and_time() -> None:
    gate = Gate()
    with Annotator(gate) as annotator:
        steps = said("good", "bad", "good")
        assert annotator.submit(steps) == 2, "equal messages are asked about once"
        assert gate.busy.wait(PATIENCE)
        assert len(annotator.take()) == 0, "the source is still thinking, and nobody waits"
        assert np.isnan(annotator.take().join(steps).extras["label"]).all()
        assert annotator.stats.pending == 2
        gate.go.set()
        assert annotator.wait(PATIENCE)
        joined = annotator.take().join(steps)
        assert joined.extras["label"].tolist() == [1.0, 0.0, 1.0]
        assert annotator.submit(steps) == 0, "known already"
        assert annotator.take().join(steps, "again").extras["again"].tolist() == [1.0, 0.0, 1.0]
        assert annotator.labelled()[0] == ["good", "bad"]


def test_what_does_not_fit_is_dropped_and_counted_never_waited_for() -> None:
    gate = Gate()
    with Annotator(gate, queue=3, batch=1) as annotator:
        annotator.submit(said("first"))
        assert gate.busy.wait(PATIENCE)  # the worker holds it: the queue is empty
        assert annotator.submit(said(*"abcde")) == 3
        now = annotator.stats
        assert (now.asked, now.dropped, now.pending) == (4, 2, 4)
        gate.go.set()
        assert annotator.wait(PATIENCE)
        assert annotator.stats.labelled == 4
        assert annotator.submit(said(*"de")) == 2, "what was dropped is asked when it comes again"


def test_questions_go_in_batches() -> None:
    gate = Gate()
    with Annotator(gate, batch=3) as annotator:
        annotator.submit(said("first"))
        assert gate.busy.wait(PATIENCE)
        annotator.submit(said(*"abcdefg"))
        gate.go.set()
        assert annotator.wait(PATIENCE)
    assert [len(batch) for batch in gate.asked] == [1, 3, 3, 1]


def test_closing_ends_a_worker_that_is_in_the_middle_of_a_question() -> None:
    gate = Gate()
    annotator = Annotator(gate)
    annotator.submit(said("first"))
    assert gate.busy.wait(PATIENCE)
    assert annotator.close(PATIENCE)
    assert annotator.close()
    with pytest.raises(ValueError, match="closed; make another"):
        annotator.submit(said("more"))


def test_a_source_that_fails_costs_a_batch_and_is_told() -> None:
    def rule(question: Question) -> float:
        if question.message == "odd":
            raise KeyError("no such thing")
        return 1.0

    with Annotator(RuleSource(rule), batch=1) as annotator:
        annotator.submit(said("odd", "even"))
        assert annotator.wait(PATIENCE)
        now = annotator.stats
        assert (now.labelled, now.failed, now.pending) == (1, 1, 0)
        assert "KeyError" in now.error
        assert annotator.submit(said("odd")) == 1, "it may be asked again"


@pytest.mark.parametrize("answer", [2.0, float("nan"), -1.0])
def test_an_answer_that_is_no_label_is_refused(answer: float) -> None:
    with Annotator(RuleSource(lambda q: answer)) as annotator:
        annotator.submit(said("a"))
        assert annotator.wait(PATIENCE)
        assert annotator.stats.failed == 1
        assert "answers" in annotator.stats.error or "labels" in annotator.stats.error


def test_a_question_without_an_answer_is_not_asked_for_ever() -> None:
    with Annotator(RuleSource(lambda q: None), tries=2) as annotator:
        for expected in (1, 1, 0):
            assert annotator.submit(said("what?")) == expected
            assert annotator.wait(PATIENCE)
        assert annotator.stats.unanswered == 2


def test_the_oracle_labels_by_the_record() -> None:
    steps = said(
        "a",
        "b",
        "c",
        milestones_before=np.array([0, 1, 1]),
        milestones=np.array([1, 1, 3]),
        progress_before=np.array([0.0, 0.3, 0.4]),
        progress=np.array([0.3, 0.4, 0.4]),
        danger=np.array([False, False, True]),
    )
    for rule, expected in (("milestone", [1.0, 0.0, 0.0]), ("progress", [1.0, 1.0, 0.0])):
        with Annotator(OracleSource(rule), by="step") as annotator:  # type: ignore[arg-type]
            annotator.submit(steps)
            assert annotator.wait(PATIENCE)
            assert annotator.take().join(steps).extras["label"].tolist() == expected


def test_pairs_are_compared() -> None:
    with Annotator(RuleSource(lambda q: float(len(q.message) > len(q.other)))) as annotator:
        assert annotator.compare(["long", "a"], ["a", "long"]) == 2
        assert annotator.wait(PATIENCE)
        first, second, preference = annotator.compared()
        assert (first, second, preference.tolist()) == (["long", "a"], ["a", "long"], [1.0, 0.0])
        assert annotator.labelled()[0] == []
        with pytest.raises(ValueError, match="equally many texts"):
            annotator.compare(["a"], [])


def test_labels_survive_a_checkpoint() -> None:
    with Annotator(RuleSource(lambda q: 1.0)) as annotator:
        annotator.submit(said("a", "b"))
        assert annotator.wait(PATIENCE)
        state = annotator.state_dict()
    with Annotator(RuleSource(lambda q: 0.0)) as other:
        other.load_state_dict(state)
        assert other.submit(said("b", "c")) == 1
        assert other.wait(PATIENCE)
        assert dict(zip(other.labelled()[0], other.labelled()[1].tolist(), strict=True)) == {"a": 1, "b": 1, "c": 0}


def test_memory_is_bounded() -> None:
    with Annotator(RuleSource(lambda q: 1.0), remember=3) as annotator:
        annotator.submit(said(*"abcdef"))
        assert annotator.wait(PATIENCE)
        assert annotator.labelled()[0] == list("def")


def test_bad_input_is_named() -> None:
    with Annotator(RuleSource(lambda q: 1.0)) as annotator:
        with pytest.raises(ValueError, match="reads the extra column 'text'"):
            annotator.submit(rollouts([0.0]))
        with pytest.raises(ValueError, match="row 0 is NoneType"):
            annotator.submit(rollouts([0.0]).with_extra(text=np.array([None], dtype=object)))
    with pytest.raises(ValueError, match="'queue' must lie in"):
        Annotator(RuleSource(lambda q: 1.0), queue=0)
