"""A page's text as a prompt: short lines, and a mark behind everything that can be acted on.

The text is what web environments observe (``[4] checkbox "wine" checked``, children indented). A mark stands where a
model that reads from left to right has seen all of the thing: behind its words and those of what it holds.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from agentgym.agents.policy.lexicon import MARKS, Notes

__all__ = ["Mark", "Page", "read_page"]

Verb = Literal["click", "fill", "select_option"]

_LINE = re.compile(r"( *)\[(\d+)\] (\S+)(.*)")
_FIELDS = frozenset(("textbox", "searchbox", "spinbutton"))
_CONTROLS = _FIELDS | frozenset(
    ["button", "link", "checkbox", "radio", "combobox", "listbox", "tab", "option", "menuitem", "switch", "slider"]
)
_FLAGS = frozenset(["checked", "disabled", "selected", "expanded"])
_SAID, _TOLD = 8, 4  # tokens that are kept of the words of what has a mark, and of what has none


@dataclass(frozen=True, slots=True)
class Mark:
    """Something to act on: its number on the page, how, and the tokens that name it."""

    bid: str
    verb: Verb
    name: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Page:
    """A page as tokens with marks.

    Attributes:
        tokens: the prompt's part.
        marks: in the order of the marks in ``tokens``.
        owner: number of any element -> index of its own mark, or of the innermost one around it.
    """

    tokens: tuple[int, ...]
    marks: tuple[Mark, ...]
    owner: dict[str, int]


def read_page(text: str, notes: Notes, goal: Sequence[int] = ()) -> Page:
    """The page of an observation's text; what comes after the last mark there is room for has none.

    Args:
        text: of the observation.
        notes: the words of the episode.
        goal: tokens of the goal. Where all words of a thing, or of something it holds, stand there in a row, its mark
            has `Lexicon.named` before it.
    """
    return _Reader(notes, goal).read(text)


@dataclass(slots=True)
class _Open:
    """Something to act on whose lines are being read: its depth and number, whether the goal names it or something
    inside, and the numbers of what is inside without a mark."""

    depth: int
    bid: str
    named: bool
    held: list[str] = field(default_factory=list)


class _Reader:
    def __init__(self, notes: Notes, goal: Sequence[int]) -> None:
        self.notes, self.lexicon = notes, notes.lexicon
        self.goal = f" {' '.join(map(str, goal))} "
        self.tokens: list[int] = []
        self.marks: list[Mark] = []
        self.owner: dict[str, int] = {}
        self.open: list[_Open] = []
        self.last = ""

    def read(self, text: str) -> Page:
        lines = text.split("\n")
        for k, line in enumerate(lines):
            found = _LINE.fullmatch(line)
            if found is None:
                self._plain(line)
            else:
                depth = len(found[1])
                self._close(depth)
                after = lines[k + 1] if k + 1 < len(lines) else ""
                inside = len(after) - len(after.lstrip(" ")) > depth
                self._element(depth, found[2], found[3], found[4], inside)
        self._close(0)
        return Page(tuple(self.tokens), tuple(self.marks), self.owner)

    def _plain(self, line: str) -> None:
        words = line.strip().strip('"')
        if line.startswith("page: ") or words == self.last:
            return
        self._close(0 if line == "out of view:" else len(line) - len(line.lstrip(" ")))
        self.tokens += self.notes.text(words)[:_TOLD]
        self.last = words

    def _element(self, depth: int, bid: str, role: str, rest: str, inside: bool) -> None:
        quoted, _, tail = rest.rpartition('"')
        flags = [word for word in tail.split() if word in _FLAGS]
        options = tail.partition("options:")[2]
        active = (role in _CONTROLS or tail.endswith("clickable")) and "disabled" not in flags
        words = quoted.replace('"', " ").split()
        self.last = quoted.strip().removeprefix('"')
        if role == "label":
            for around in self.open[-1:]:
                around.held.append(bid)
            return
        said = self.notes.text(" ".join(words))
        named = bool(said) and f" {' '.join(map(str, said))} " in self.goal
        name = (*self.notes.text(role), *said)[: _SAID if active else _TOLD]
        self.tokens += name
        for word in (*flags, *options.split()):
            self.tokens += self.notes.word(word)
        if not active:
            if self.open:
                self.open[-1].held.append(bid)
                self.open[-1].named |= named
        elif inside:
            self.open.append(_Open(depth, bid, named))
        else:
            verb: Verb = "fill" if role in _FIELDS else "select_option" if options else "click"
            self._mark(bid, verb, self.notes.text(role) if verb == "fill" else name, named)

    def _close(self, depth: int) -> None:
        """What is at least as deep as the next line has come to its end."""
        while self.open and self.open[-1].depth >= depth:
            done = self.open.pop()
            self.tokens.append(self.lexicon.end)
            place = len(self.marks)
            self._mark(done.bid, "click", (self.lexicon.end,), done.named)
            if place < len(self.marks):
                self.owner.update(dict.fromkeys(done.held, place))
            elif self.open:
                self.open[-1].held.extend([done.bid, *done.held])

    def _mark(self, bid: str, verb: Verb, name: tuple[int, ...], named: bool) -> None:
        place = len(self.marks)
        if place < MARKS:
            self.tokens += [self.lexicon.named, self.lexicon.mark] if named else [self.lexicon.mark]
            self.owner[bid] = place
            self.marks.append(Mark(bid, verb, (self.lexicon.ordinals[place], *name)))
