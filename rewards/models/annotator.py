"""An annotator beside the loop: questions go in and never wait, labels come out when they are there.

`submit` puts the messages of a table into a bounded queue and returns at once. A worker thread hands them to a `Source`
in batches. `take` gives the labels that have come since the last time, by (trajectory, t): late columns for `StepTable.
join`. A message is asked about once, however many steps saw it; steps that come after its label get it at once. What
does not fit into the queue is dropped and counted, never waited for; it is asked again when it comes again.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np

from agentgym.rewards.credit.checks import Float, Int, extra, finite, number, one_of
from agentgym.rewards.models.inputs import check_texts
from agentgym.rewards.models.sources import Question, Source
from agentgym.steps import StepTable

__all__ = ["Annotator", "AnnotatorStats", "Labels"]

_RECORD = ("milestones_before", "milestones", "progress_before", "progress", "danger", "grounded", "reward")


@dataclass(frozen=True)
class AnnotatorStats:
    """Where an annotator stands.

    Attributes:
        asked: questions that were taken into the queue.
        labelled: questions that got a label.
        unanswered: questions whose answer was no label.
        failed: questions of batches that the source could not answer at all.
        dropped: questions that found the queue full.
        pending: questions in the queue or with the source now.
        error: what the source last said when it failed, '' when it never did.
    """

    asked: int = 0
    labelled: int = 0
    unanswered: int = 0
    failed: int = 0
    dropped: int = 0
    pending: int = 0
    error: str = ""


@dataclass(frozen=True, eq=False)
class Labels:
    """Labels of steps: ``trajectory`` int64[k], ``t`` int64[k], ``value`` float64[k]."""

    trajectory: Int
    t: Int
    value: Float

    def __len__(self) -> int:
        return len(self.value)

    def join(self, steps: StepTable, name: str = "label") -> StepTable:
        """The table with those labels that belong to its steps in the extra ``name``; NaN where there is none (yet)."""
        there = set(zip(steps.trajectory.tolist(), steps.t.tolist(), strict=True))
        mine = np.array(
            [key in there for key in zip(self.trajectory.tolist(), self.t.tolist(), strict=True)], dtype=bool
        )
        return steps.join(name, self.trajectory[mine], self.t[mine], self.value[mine])


class Annotator:
    """Labels messages while the loop goes on; close it, or use it as a context manager.

    Args:
        source: who labels.
        queue: most questions that wait; further ones are dropped and counted.
        batch: most questions the source is given at once.
        by: "message": equal messages share one label. "step": every step is asked about on its own.
        tries: how often a question without an answer is asked, when it comes again.
        remember: most labels kept for messages that come again; the oldest are forgotten first.
    """

    def __init__(
        self,
        source: Source,
        *,
        queue: int = 1000,
        batch: int = 100,
        by: Literal["message", "step"] = "message",
        tries: int = 2,
        remember: int = 100_000,
    ) -> None:
        one_of("by", by, ("message", "step"))
        for name, value in (("queue", queue), ("batch", batch), ("tries", tries), ("remember", remember)):
            number(name, value, 1)
        self.source, self.by = source, by
        self._queue, self._batch, self._tries, self._remember = queue, batch, tries, remember
        self._waiting: deque[tuple[str, Question]] = deque()
        self._steps: dict[str, list[tuple[int, int]]] = {}  # key of a question under way -> who wants to know
        self._labels: dict[str, float] = {}
        self._messages: dict[str, Question] = {}  # what a key in `_labels` stands for
        self._unanswered: dict[str, int] = {}
        self._ready: list[tuple[int, int, float]] = []
        self._counts = dict.fromkeys(("asked", "labelled", "unanswered", "failed", "dropped"), 0)
        self._error = ""
        self._closed = False
        self._changed = threading.Condition()
        self._worker = threading.Thread(target=self._work, name="agentgym-annotator", daemon=True)
        self._worker.start()

    def __enter__(self) -> Annotator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ questions in, labels out

    def submit(self, steps: StepTable, *, message: str = "text") -> int:
        """Ask about the message of every step; never waits. Returns how many new questions went into the queue.

        Args:
            steps: n rows.
            message: name of the extra column of texts.

        Raises:
            ValueError: closed; the column is missing or holds no texts.
        """
        texts = extra(steps, message, "an annotator")
        check_texts(message, texts)
        columns = steps.columns()
        records = zip(*(columns[name].tolist() for name in _RECORD), strict=True)
        with self._changed:
            self._open()
            before = self._counts["asked"]
            for text, trajectory, t, record in zip(
                texts.tolist(), steps.trajectory.tolist(), steps.t.tolist(), records, strict=True
            ):
                key = text if self.by == "message" else f"{trajectory}\0{t}"
                self._enter(key, Question(text, record=dict(zip(_RECORD, record, strict=True))), (trajectory, t))
            self._changed.notify_all()
            return self._counts["asked"] - before

    def compare(self, first: Sequence[str], second: Sequence[str]) -> int:
        """Ask which of two messages is the better, for every pair; never waits. Returns how many went into the queue.

        Raises:
            ValueError: closed; lengths differ; a second message is empty.
        """
        if len(first) != len(second) or not all(second):
            raise ValueError(
                "'first' and 'second' must be equally many texts, those of the second not empty; "
                f"got {len(first)}, {len(second)}"
            )
        with self._changed:
            self._open()
            before = self._counts["asked"]
            for a, b in zip(first, second, strict=True):
                self._enter(f"{a}\0\0{b}", Question(a, b), None)
            self._changed.notify_all()
            return self._counts["asked"] - before

    def take(self) -> Labels:
        """The labels of steps that have come since the last call; never waits."""
        with self._changed:
            ready, self._ready = self._ready, []
        rows = np.array([r[:2] for r in ready], dtype=np.int64).reshape(-1, 2)
        return Labels(rows[:, 0], rows[:, 1], np.array([r[2] for r in ready], dtype=np.float64))

    def labelled(self) -> tuple[list[str], Float]:
        """Every message with its label, in the order they came: what `MessageClassifier.fit` takes."""
        with self._changed:
            found = [(q.message, self._labels[k]) for k, q in self._messages.items() if not q.other]
        return [m for m, _ in found], np.array([v for _, v in found], dtype=np.float64)

    def compared(self) -> tuple[list[str], list[str], Float]:
        """Every pair with its preference, in the order they came: what `MessageRanking.fit` takes."""
        with self._changed:
            found = [(q.message, q.other, self._labels[k]) for k, q in self._messages.items() if q.other]
        return [a for a, _, _ in found], [b for _, b, _ in found], np.array([v for _, _, v in found], dtype=np.float64)

    @property
    def stats(self) -> AnnotatorStats:
        """Counts now."""
        with self._changed:
            return AnnotatorStats(**self._counts, pending=len(self._steps), error=self._error)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is pending (or it is closed); whether that came within ``timeout`` seconds.

        The loop has no need of this; a run that must be the same bit for bit when it is repeated does.
        """
        with self._changed:
            return self._changed.wait_for(lambda: not self._steps or self._closed, timeout)

    def close(self, timeout: float = 5.0) -> bool:
        """Take no more questions, break off what the source is doing, end the worker; may be called again.

        Returns:
            whether the worker ended within ``timeout`` seconds. It is a daemon: one that hangs holds up no exit.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self.source.close()
        self._worker.join(timeout)
        return not self._worker.is_alive()

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, list[tuple[str, str, float]]]:
        """The labels known: (message, other, label) each. Questions under way are not part of it."""
        with self._changed:
            return {"labels": [(q.message, q.other, self._labels[k]) for k, q in self._messages.items()]}

    def load_state_dict(self, state: Mapping[str, Sequence[Sequence[str | float]]]) -> None:
        """Put labels back (for ``by="message"``)."""
        with self._changed:
            for message, other, label in state["labels"]:
                question = Question(str(message), str(other))
                self._know(f"{message}\0\0{other}" if other else str(message), question, float(label))

    # ------------------------------------------------------------------ inside; the lock is held

    def _open(self) -> None:
        if self._closed:
            raise ValueError("this Annotator is closed; make another")

    def _enter(self, key: str, question: Question, step: tuple[int, int] | None) -> None:
        if key in self._labels:
            if step is not None:
                self._ready.append((*step, self._labels[key]))
        elif key in self._steps:
            if step is not None:
                self._steps[key].append(step)
        elif self._unanswered.get(key, 0) >= self._tries:
            return
        elif len(self._waiting) >= self._queue:
            self._counts["dropped"] += 1
        else:
            self._counts["asked"] += 1
            self._steps[key] = [] if step is None else [step]
            self._waiting.append((key, question))

    def _know(self, key: str, question: Question, label: float) -> None:
        self._labels[key], self._messages[key] = label, Question(question.message, question.other)
        while len(self._labels) > self._remember:
            oldest = next(iter(self._labels))
            del self._labels[oldest], self._messages[oldest]

    # ------------------------------------------------------------------ the worker

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._closed)
                if self._closed:
                    return
                asked = [self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))]
            answers: Sequence[float | None] | None = None
            problem = ""
            try:
                answers = _checked(self.source.label([q for _, q in asked]), len(asked))
            except Exception as error:  # noqa: BLE001  (any fault of a source costs one batch, never the run)
                problem = f"{type(error).__name__}: {error}"
            with self._changed:
                if answers is None:
                    self._error = problem
                    self._counts["failed"] += len(asked)
                for k, (key, question) in enumerate(asked):
                    steps = self._steps.pop(key)
                    if answers is None:
                        continue
                    label = answers[k]
                    if label is None:
                        self._counts["unanswered"] += 1
                        self._unanswered[key] = self._unanswered.get(key, 0) + 1
                        while len(self._unanswered) > self._remember:
                            del self._unanswered[next(iter(self._unanswered))]
                        continue
                    self._counts["labelled"] += 1
                    self._know(key, question, label)
                    self._ready += [(*step, label) for step in steps]
                self._changed.notify_all()


def _checked(answers: Sequence[float | None], n: int) -> list[float | None]:
    """A source's answers: n of them, each None or a number in [0, 1].

    Raises:
        ValueError: they are not.
    """
    if len(answers) != n:
        raise ValueError(f"a source must give one answer per question ({n}), got {len(answers)}")
    given = [a for a in answers if a is not None]
    values = finite("answers", np.array(given, dtype=np.float64), (len(given),))
    bad = np.flatnonzero((values < 0.0) | (values > 1.0))
    if bad.size:
        raise ValueError(f"a source's labels must lie in [0, 1], got {values[bad[0]]}; scale them in the source")
    return [None if a is None else float(a) for a in answers]
