"""What the model is shown: context policies turn an episode's history into segments of tokens.

A *segment* is one unbroken token sequence. `Append` never drops anything, so an episode is one segment; `LastK` and
`Summarise` drop old turns, and every drop starts the next segment. Actions enter later prompts as the very ids the
model produced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from agentgym.agents.policy.template import Template
from agentgym.errors import UsageError

__all__ = ["Append", "ContextPolicy", "History", "LastK", "Plan", "Question", "Summarise", "digest"]


class ContextPolicy(Protocol):
    """Decides what stays in view. Stateless: one object serves all episodes."""

    def keep(self, history: History, added: int) -> int | None:
        """Called from the second turn on, before ``added`` tokens are appended.

        Returns:
            None to go on with the present segment, or the number of past turns that the next segment begins with.
        """
        ...

    def note(self, history: History, dropped: Iterable[tuple[str, str]]) -> str:
        """Text that stands for the (observation, action) turns which the next segment no longer shows; '' for none.

        ``dropped`` is spelled out only as far as it is read.
        """
        ...

    def question(self, history: History, added: int) -> Question | None:
        """What the model itself is asked before the next segment begins; its answer then takes the place of `note`."""
        ...


@dataclass(frozen=True, slots=True)
class Question:
    """Put to the model at the end of a segment, answered greedily in at most ``max_tokens`` tokens."""

    text: str
    max_tokens: int


class _NoSummary:
    """What is dropped is gone."""

    __slots__ = ()

    def note(self, history: History, dropped: Iterable[tuple[str, str]]) -> str:
        return ""

    def question(self, history: History, added: int) -> Question | None:
        return None


@dataclass(frozen=True, slots=True)
class Append(_NoSummary):
    """Everything stays: one segment per episode."""

    def keep(self, history: History, added: int) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class LastK(_NoSummary):
    """The goal, the last ``k`` turns (observation and action) and the present observation.

    ``LastK(0)`` shows goal and observation alone: every step is a free-standing prompt, and equal situations are
    equal prompts, which the engine computes once.
    """

    k: int = 0

    def __post_init__(self) -> None:
        if self.k < 0:
            raise UsageError(f"expected k of at least 0, got {self.k}")

    def keep(self, history: History, added: int) -> int | None:
        return self.k if history.shown + 1 > self.k else None


def digest(goal: str, dropped: Sequence[tuple[str, str]]) -> str:
    """A plain summary without a model: which actions were taken, how often, in order of first use."""
    counts = Counter(action for _, action in dropped)
    return "Earlier actions: " + ", ".join(a if n == 1 else f"{a} ({n} times)" for a, n in counts.items())


@dataclass(frozen=True, slots=True)
class Summarise:
    """When a segment would pass ``max_tokens``, start the next with a summary and the last ``keep_turns`` turns.

    Attributes:
        max_tokens: longest prompt, in tokens. A summary plus kept turns that exceed it are shown all the same.
        keep_turns: past turns that stay as they were.
        write: (goal, dropped turns as (observation, action) texts, all since the episode's start) -> summary; or
            None: the model writes it. It is then asked ``ask`` at the end of the old segment, which holds its former
            summary too. ``max_tokens`` must leave room for question and answer below the model's positions. Summaries
            are the policy's context, not its actions: no step's segment trains them.
        ask: the question to the model.
        summary_tokens: longest answer.
    """

    max_tokens: int
    keep_turns: int = 1
    write: Callable[[str, Sequence[tuple[str, str]]], str] | None = digest
    ask: str = "Summarise in a few sentences what was done and seen so far, and what is left to do."
    summary_tokens: int = 128

    def __post_init__(self) -> None:
        if self.max_tokens < 1 or self.keep_turns < 0 or self.summary_tokens < 1:
            raise UsageError(
                "expected max_tokens and summary_tokens of at least 1 and keep_turns of at least 0, got"
                f" {self.max_tokens}, {self.summary_tokens}, {self.keep_turns}"
            )

    def keep(self, history: History, added: int) -> int | None:
        return self.keep_turns if len(history.tokens) + added > self.max_tokens else None

    def note(self, history: History, dropped: Iterable[tuple[str, str]]) -> str:
        if self.write is None:
            return ""
        turns = list(dropped)
        return self.write(history.goal, turns) if turns else ""

    def question(self, history: History, added: int) -> Question | None:
        if self.write is not None or self.keep(history, added) is None:
            return None
        return Question(self.ask, self.summary_tokens)


@dataclass(frozen=True, slots=True)
class Plan:
    """A prompt that was built and not yet answered.

    Attributes:
        index: number of the segment.
        new: the tokens appended to the segment (the whole prompt when the segment is new).
        tokens: the segment's whole sequence, ``new`` included.
        shown: past turns visible in it.
        observation: the present observation's text.
    """

    index: int
    new: tuple[int, ...]
    tokens: list[int]
    shown: int
    observation: str


@dataclass(slots=True)
class History:
    """One episode as its policy remembers it.

    Attributes:
        goal: the task in words.
        turns: (observation text, action tokens) of every step so far.
        tokens: the present segment, actions included.
        index: its number.
        shown: past turns visible in it.
        summary: (number of turns when it was written, the model's own summary).
        parted: another episode began the present segment (`fork`), so this one has yet to write it down.
    """

    goal: str
    turns: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    tokens: list[int] = field(default_factory=list)
    index: int = 0
    shown: int = 0
    summary: tuple[int, str] = (0, "")
    parted: bool = False

    def fork(self) -> History:
        """A copy for an episode that goes on from here; its next prompt restates the segment, under a new number."""
        return replace(self, turns=list(self.turns), tokens=list(self.tokens), parted=True)

    def plan(self, observation: str, template: Template, policy: ContextPolicy) -> Plan:
        """Build the next prompt; changes nothing, so a failed step can be asked again."""
        if not self.turns:
            new = template.opening(self.goal, observation)
            return Plan(0, new, list(new), 0, observation)
        turn = template.turn(self.turns[-1][1], observation)
        keep = policy.keep(self, len(turn))
        if keep is None:
            tokens = self.tokens + list(turn)
            if self.parted:
                return Plan(self.index + 1, tuple(tokens), tokens, self.shown + 1, observation)
            return Plan(self.index, turn, tokens, self.shown + 1, observation)
        keep = min(keep, len(self.turns))
        kept, dropped = self.turns[len(self.turns) - keep :], self.turns[: len(self.turns) - keep]
        if self.summary[0] == len(self.turns):
            note = self.summary[1]
        else:
            note = policy.note(self, ((seen, template.say(action)) for seen, action in dropped))
        observations = [*(seen for seen, _ in kept), observation]
        new = template.opening(self.goal, observations[0], note)
        for (_, action), seen in zip(kept, observations[1:], strict=True):
            new += action + template.turn(action, seen)
        return Plan(self.index + 1, new, list(new), keep, observation)

    def commit(self, plan: Plan, action: tuple[int, ...]) -> None:
        """The plan was answered with ``action``."""
        self.turns.append((plan.observation, action))
        self.tokens = plan.tokens + list(action)
        self.index, self.shown, self.parted = plan.index, plan.shown, False
