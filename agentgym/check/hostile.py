"""Rules about actions that no well-meaning agent would send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium
import numpy as np

from agentgym.check.report import Broken, NotApplicable, Rule
from agentgym.check.subject import Subject
from agentgym.check.trace import Moment, note
from agentgym.env import ProcessEnv

__all__ = ["RULES", "STRINGS", "hostile_actions", "wrong_types"]

STRINGS = (
    "",
    " ",
    "\x00",
    "\n\r\t\x0b\x1b[2J",
    "a" * 100_000,
    "(" * 5_000,
    "[" * 5_000 + "]" * 5_000,
    '{"action": "click", "coordinate": [1e999, -1]}',
    '{"action":',
    "%s%s%n%x{0}{self.__class__}",
    "__import__('os')._exit(3)",
    "$(exit 3); `exit 3`; exit 3 #",
    "'; DROP TABLE users; --",
    "../../../../etc/passwd",
    "<script>alert(1)</script>",
    "\ud800 lone surrogate",
    "\u202egnirts detrevni\u202c",
    "\ufeffzero\u200bwidth",
    "\uff19" * 50,
    "-1",
    "1e400",
    "9" * 5_000,
    "NaN",
    "None",
    "🦾" * 300,
)
"""Strings that have broken parsers: empty, control, huge, nested, half JSON, format, code, shell, SQL, path, markup,
surrogate, bidirectional, invisible, digits of other scripts, numbers out of range (longer than `int` will parse)."""


def hostile_actions(space: gymnasium.Space[Any]) -> tuple[Any, ...]:
    """Actions of the right Python type whose content is out of bounds; none for spaces we know nothing about."""
    if isinstance(space, gymnasium.spaces.Text):
        return STRINGS
    if isinstance(space, gymnasium.spaces.Discrete):
        low, high = int(space.start), int(space.start + space.n)
        return (low - 1, high, high + 1, np.int64(high), 2**31, -(2**31), 2**63 - 1, -(2**63), 2**64, 10**400)
    if isinstance(space, gymnasium.spaces.Dict):
        members = space.sample()
        texts = [name for name, member in space.items() if isinstance(member, gymnasium.spaces.Text)]
        spoilt = [{**members, name: text} for name in texts for text in STRINGS]
        return ({}, {"\x00": None}, *({**members, name: None} for name in members), *spoilt)
    if isinstance(space, (gymnasium.spaces.Box, gymnasium.spaces.MultiDiscrete)):
        shape = space.shape or ()
        return (np.full((*shape, 2), 0, space.dtype), np.full(shape, np.iinfo(np.int64).max), np.full(shape, np.nan))
    return ()


def wrong_types(space: gymnasium.Space[Any]) -> tuple[Any, ...]:
    """Actions of a wrong Python type: bugs of the caller."""
    if isinstance(space, gymnasium.spaces.Text):
        return (None, 0, b"left", ["left"])
    if isinstance(space, gymnasium.spaces.Discrete):
        return (None, "0", 0.0, True, [0])
    if isinstance(space, gymnasium.spaces.Dict):
        return (None, "text", 0, [("a", 1)])
    if isinstance(space, (gymnasium.spaces.Box, gymnasium.spaces.MultiDiscrete)):
        return (None, "0", {})
    return ()


def _storm(subject: Subject) -> Iterator[tuple[Any, Moment, Moment]]:
    """Send every hostile action; gives it with the moments before and after."""
    env = subject.make()
    actions = hostile_actions(env.action_space)
    if not actions:
        raise NotApplicable(f"no hostile content is known for {env.action_space}")
    seed = subject.seeds[0]
    before = note(env, None, env.reset(seed=seed))
    for step, action in enumerate(actions):
        shown = repr(action)[:60]
        base = env.unwrapped
        listed = base.admissible() if isinstance(base, ProcessEnv) else None
        try:
            result = env.step(action)
        except Exception as error:
            do = "answer Events(grounded=False, error=…) whatever an action contains"
            raise Broken(
                f"a step for {shown}", f"{type(error).__name__}: {error!s:.200}", do, seed=seed, step=step
            ) from error
        after = note(env, action, result, listed)
        yield action, before, after
        before = note(env, None, env.reset(seed=seed)) if result[2] or result[3] else after


def raises(subject: Subject) -> str:
    return f"{sum(1 for _ in _storm(subject))} hostile actions"


def stays(subject: Subject) -> str:
    refused = 0
    for action, before, after in _storm(subject):
        shown, then, now = repr(action)[:60], before.record or {}, after.record or {}
        out_of_list = after.admissible is not None and action not in after.admissible
        if now.get("grounded") and (out_of_list or isinstance(action, (int, np.integer))):
            raise Broken(f"grounded False for {shown}", "grounded True", "ground only what is applicable")
        if not now.get("grounded"):
            refused += 1
            for name in ("anchor", "progress", "milestones"):
                if now.get(name) != then.get(name):
                    do = "leave the state alone when an action is not grounded, and keep time out of `anchor_view`"
                    raise Broken(f"the same {name} after {shown}", f"{then.get(name)} -> {now.get(name)}", do)
    return f"{refused} refused"


def explains(subject: Subject) -> str:
    refused = 0
    for action, _, after in _storm(subject):
        if not (after.record or {}).get("grounded"):
            refused += 1
            if not (isinstance(after.error, str) and after.error):
                raise Broken(
                    f"info['error'] to say why {action!r:.60} was refused", repr(after.error), "fill Events.error"
                )
    return f"{refused} refused"


def type_errors(subject: Subject) -> str:
    env = subject.make()
    actions = wrong_types(env.action_space)
    if not actions:
        raise NotApplicable(f"no wrong types are known for {env.action_space}")
    env.reset(seed=subject.seeds[0])
    for action in actions:
        try:
            env.step(action)
        except TypeError:
            continue
        raise Broken(f"TypeError for {action!r}", "a step", "refuse a wrong Python type: it is a bug of the caller")
    return f"{len(actions)} wrong types"


RULES = (
    Rule("hostile/raises", "No content of an action makes the environment raise.", raises),
    Rule(
        "hostile/state",
        "A refused action leaves the state as it was.",
        stays,
        ("hostile/raises",),
    ),
    Rule("hostile/error", "A refused action is told why.", explains, ("hostile/raises",)),
    Rule("hostile/type", "An action of the wrong Python type is a TypeError.", type_errors),
)
