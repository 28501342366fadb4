"""Three ways to write an action: minigrid's number, one word, or a phrase that names what it acts on.

Phrases are for free generation. They are grounded only if what they name is really there: ``pick up the yellow key``
needs a yellow key in front; the colour may be left out (``pick up the key``), a wrong one is refused.
"""

from __future__ import annotations

from typing import Literal

from agentgym.envs.grid import codes
from agentgym.envs.grid.state import ACTIONS, DROP, PICKUP, TOGGLE, GridState, admissible

__all__ = ["PHRASE_WORDS", "ActionFormat", "decode", "encode"]

ActionFormat = Literal["index", "words", "phrases"]

_PLAIN = ("turn left", "turn right", "go forward")
PHRASE_WORDS = (*" ".join(_PLAIN).split(), "pick", "up", "drop", "open", "close", "the", *codes.COLOURS)
"""The words of all phrases but for the names of things."""


def encode(action: int, state: GridState, fmt: ActionFormat) -> int | str:
    """Write an applicable action in a format; phrases name the object with its colour."""
    if fmt == "index":
        return action
    if fmt == "words":
        return ACTIONS[action]
    return _PLAIN[action] if action < len(_PLAIN) else _phrases(action, state)[0]


def decode(text: str, state: GridState, fmt: ActionFormat) -> tuple[int, str]:
    """Read a word or phrase: (action, '') if it is applicable, else (-1, why not in a sentence).

    Case and runs of blanks do not matter; anything else does. More than 200 characters are never an action.
    """
    said = " ".join(text.lower().split()) if len(text) <= 200 else ""
    if fmt == "words":
        if said not in ACTIONS:
            return -1, f"unknown action {_quote(text)}: say one of {', '.join(ACTIONS)}"
        return check(ACTIONS.index(said), state)
    if said in _PLAIN:
        return _PLAIN.index(said), ""
    for action in admissible(state)[len(_PLAIN) :]:
        if said in _phrases(action, state):
            return action, ""
    return -1, f"cannot do {_quote(text)} here: possible is " + ", ".join(
        str(encode(a, state, "phrases")) for a in admissible(state)
    )


def _quote(text: str) -> str:
    """How it begins, in ASCII and of bounded length, so that no answer grows with what was said."""
    return ascii(text[:40])[:60]


def check(action: int, state: GridState) -> tuple[int, str]:
    """(action, '') if it is applicable, else (-1, why not)."""
    if action in admissible(state):
        return action, ""
    if not 0 <= action < len(ACTIONS):
        return -1, f"unknown action: use 0 to {len(ACTIONS) - 1}"
    front, held = codes.kind_of(state.cells[state.front]), codes.kind_of(state.carrying)
    hands = "nothing" if state.carrying == codes.EMPTY else held
    return -1, f"{ACTIONS[action]} does nothing here: {front} in front, carrying {hands}"


def _phrases(action: int, state: GridState) -> tuple[str, ...]:
    """All phrases for a pickup, drop or toggle that is applicable; the full one first."""
    code = state.carrying if action == DROP else state.cells[state.front]
    kind, colour = codes.kind_of(code), codes.colour_of(code)
    if action == PICKUP:
        verb = "pick up"
    elif action == DROP:
        verb = "drop"
    else:
        assert action == TOGGLE, f"only pickup, drop and toggle name an object, got {action}"
        is_open = codes.KIND[code] == codes.DOOR and codes.door_state(code) == codes.OPEN
        verb = "close" if is_open else "open"
    return (f"{verb} the {colour} {kind}", f"{verb} the {kind}")
