"""Task: says what is wanted in a world, and how to tell. Stateless; everything about one run is in its Episode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

import numpy as np

from agentgym.errors import TaskError
from agentgym.process import MAX_BITS
from agentgym.world import Events

__all__ = ["Actor", "Episode", "Milestone", "ProgressKind", "Task"]

StateT = TypeVar("StateT")

ProgressKind = Literal["exact", "bound", "proxy", "none"]
"""How far `Task.progress` can be trusted: 1 - distance/start distance over the real dynamics (exact); from a proven
bound on that distance (bound); a number that tends to grow with it (proxy); nothing but the end (none)."""

Actor = Generator[Any, Any, None]
"""A scripted policy: yields actions and is sent the observation that followed each."""


@dataclass(frozen=True)
class Episode:
    """What is fixed for one run of a task: checks are deltas from here.

    Attributes:
        params: what `Task.sample` drew (JSON-like).
        start: the state right after reset.
        seed: the seed given to ``reset``, or None.
        memo: a place for values computed from the fields above (distance tables); never for anything that changes.
    """

    params: Mapping[str, Any]
    start: Any
    seed: int | None = None
    memo: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Milestone(Generic[StateT]):
    """One named step on the way; latched once reached.

    Attributes:
        name: a short identifier ("has_key").
        description: a sentence for people.
        reached: predicate of (state, episode); or None when an event marks it.
        event: the event code that marks it; or None.
        required: a solution must pass through it (the check demands it of the oracle).
    """

    name: str
    description: str
    reached: Callable[[StateT, Episode], bool] | None = None
    event: str | None = None
    required: bool = True

    def __post_init__(self) -> None:
        if (self.reached is None) == (self.event is None):
            raise TaskError(f"milestone {self.name!r} needs exactly one of `reached` and `event`")


class Task(ABC, Generic[StateT]):
    """What is wanted, and how the state tells how it is going. Subclass, fill in, register, `agentgym check` it.

    Class attributes:
        id: name of the task, stable over versions of the code.
        milestones: in bit order, at most 62 together with `dangers`.
        dangers: code -> what it means, for every code that `danger` may return.
        progress_kind: how far `progress` can be trusted (see `ProgressKind`).
        horizon: steps after which the environment truncates.
        has_success: False for endless worlds (success is then always False and progress below 1).
        no_oracle: why no script can solve this task, in a sentence; "" obliges the task to have an `oracle`.
    """

    id: str
    milestones: tuple[Milestone[StateT], ...] = ()
    dangers: Mapping[str, str] = {}
    progress_kind: ProgressKind = "none"
    horizon: int
    has_success: bool = True
    no_oracle: str = ""

    def sample(self, rng: np.random.Generator) -> dict[str, Any]:
        """Draw the parameters of one episode (JSON-like)."""
        return {}

    def setup(self, params: Mapping[str, Any]) -> Any:
        """What the world needs to start this episode."""
        return params

    @abstractmethod
    def goal(self, params: Mapping[str, Any]) -> str:
        """The task in words, for the agent."""

    def told(self, ep: Episode) -> str:
        """The goal as the agent is told it at reset; differs from `goal` only where the place itself words it."""
        return self.goal(ep.params)

    @abstractmethod
    def success(self, state: StateT, ep: Episode) -> bool:
        """The task is solved in this state (submit-type tasks: and has been submitted)."""

    @abstractmethod
    def progress(self, state: StateT, ep: Episode) -> float:
        """How much is done in this state, in [0, 1]: 0 at the start, 1 if and only if `success`."""

    @abstractmethod
    def anchor_view(self, state: StateT, ep: Episode) -> Any:
        """Everything that affects what is applicable, what happens next, or progress; see `agentgym.anchor`.

        What the agent has been shown counts where looking is part of the task; never step count, random state, ports,
        clocks, or anything hidden from the agent that does not affect what happens next.
        """

    def ends(self, state: StateT, events: Events, ep: Episode) -> bool:
        """The episode is over in this state (``terminated``)."""
        return self.success(state, ep)

    def danger(self, before: StateT, events: Events, after: StateT, ep: Episode) -> Iterable[str]:
        """Codes (keys of `dangers`) of what this step did that is unsafe; empty when nothing."""
        return ()

    def reached(self, state: StateT, events: Events, ep: Episode) -> Iterable[str]:
        """Names of the milestones that hold now; the environment latches them."""
        for m in self.milestones:
            if m.event in events.codes if m.reached is None else m.reached(state, ep):
                yield m.name

    def hidden_reward(self, before: StateT, events: Events, after: StateT, ep: Episode) -> float | None:
        """This step's share of the hidden performance (R* of the safety gridworlds); None: the outcome is all there is.

        Read by evaluation only; it never reaches an observation, a reward or an info.
        """
        return None

    def oracle(self, ep: Episode, peek: Callable[[], StateT]) -> Actor | None:
        """A script that solves the task through the agent's own actions, or None.

        Args:
            ep: the episode.
            peek: gives the true state now; oracles may look, agents may not.

        Yields:
            actions; is sent the observation after each.
        """
        return None

    @property
    def offenders(self) -> Mapping[str, Callable[[Episode, Callable[[], StateT]], Actor]]:
        """Scripts that do what must not be done: each must raise danger and never succeed."""
        return {}

    @property
    def event_codes(self) -> tuple[str, ...]:
        """All codes of ``info["events"]`` in the bit order of the StepTable's ``events`` column."""
        codes = tuple(f"milestone:{m.name}" for m in self.milestones) + tuple(f"danger:{c}" for c in self.dangers)
        if len(codes) > MAX_BITS or len(set(codes)) < len(codes):
            raise TaskError(f"task {self.id}: milestones and dangers need distinct names, at most {MAX_BITS}: {codes}")
        return codes
