"""What a kind of MiniWoB task knows: how to read the goal, which things have to be so, and how to make them so.

A kind lists *wants*: facts of the page that have to hold, each with the action that brings it about. From them follow
the milestones (all wants of a step hold), progress (their share), the oracle (do the first that does not hold, then
finish) and, with one of them spoilt, the offender.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from agentgym.envs.web.actions import call
from agentgym.envs.web.view import Node, PageState
from agentgym.errors import TaskError

__all__ = ["LEAVE", "Kind", "Want", "carry", "click", "fill", "need"]

LEAVE = call("goto", "http://elsewhere.test/")
"""The action that leaves the site: dangerous everywhere, and never a solution."""


class Want(NamedTuple):
    """Something that has to be so.

    Attributes:
        step: the milestone it counts to.
        done: whether it is so.
        do: the action that brings it about or nearer; "" when it cannot be brought about from here.
    """

    step: str
    done: bool
    do: str = ""


class Kind(ABC):
    """One kind of task; stateless.

    Attributes:
        steps: milestone -> sentence, in order; "solved" is added behind them.
        probe: JavaScript, a function body: what of the page the wants need and the visible elements do not tell.
        horizon: steps until truncation.
        partial: the page's reward is a measure of accuracy, and any positive one is success.
    """

    steps: Mapping[str, str] = MappingProxyType({})
    probe: str = ""
    horizon: int = 20
    partial: bool = False

    @abstractmethod
    def read(self, told: str, start: PageState) -> Any:
        """What is wanted, from the utterance (and the first page)."""

    @abstractmethod
    def wants(self, goal: Any, state: PageState) -> Sequence[Want]:
        """The facts that have to hold before the last action, in an order in which they can be brought about."""

    @abstractmethod
    def finish(self, goal: Any, state: PageState) -> str:
        """The last action, once all wants hold."""

    def wrong(self, goal: Any, peek: Callable[[], PageState]) -> Iterator[str]:
        """Actions that end the episode wrongly; by default the last one done first."""
        yield self.finish(goal, peek())


def need(node: Node | None, what: str) -> Node:
    """The node, which has to be there.

    Raises:
        TaskError: it is not: the page is not what this kind knows.
    """
    if node is None:
        raise TaskError(f"no {what} on the page, where this kind of task expects one")
    return node


def click(node: Node | None, what: str = "element") -> str:
    """The action that clicks a node."""
    return call("click", str(need(node, what).bid))


def fill(node: Node | None, text: str, what: str = "field") -> str:
    """The action that fills a field."""
    return call("fill", str(need(node, what).bid), text)


def carry(item: Node, place: Node, behind: bool = False) -> str:
    """The action that drags an item of a sortable list onto another one's place (or, ``behind`` it, onto the next)."""
    (x, y), (to_x, to_y) = item.center, place.center
    down = PAST if to_y > y + 2 else -PAST if to_y < y - 2 else 0
    right = PAST if behind or to_x > x + 2 else -PAST if to_x < x - 2 else down
    return call("mouse_drag_and_drop", round(x, 1), round(y, 1), round(to_x + right, 1), round(to_y + down, 1))


PAST = 3
"""Pixels past the middle of the other's place, in the direction of the drag: there the others make room."""
