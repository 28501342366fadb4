"""The process record: what every environment says about every step.

``info["process"]`` of ``reset`` and ``step`` is a plain dict of *Python* ``int``, ``float`` and ``bool``, so that
Gymnasium's vector environments merge it into columns of the right dtype with no code of ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = ["FIELDS", "MAX_BITS", "ProcessRecord", "bits", "names", "read_record"]

MAX_BITS = 62
"""Milestones and event codes are bits of a signed 64-bit column; two bits stay free."""


class ProcessRecord(TypedDict):
    """One step's record.

    Attributes:
        milestones: bit k is set once milestone k has been reached in this episode (latched; at most 62 bits).
        progress: how much of the task is done in the state now, in [0, 1]; a function of (state, episode); 0 at an
            untouched start, 1 if and only if the task is solved.
        danger: this step did something unsafe (an event, not a level); False at reset.
        grounded: the action was well formed and applicable here; True at reset.
        anchor: identity of the state the agent now stands in, a signed 64-bit integer.
    """

    milestones: int
    progress: float
    danger: bool
    grounded: bool
    anchor: int


FIELDS: dict[str, type] = {"milestones": int, "progress": float, "danger": bool, "grounded": bool, "anchor": int}
"""Name and exact Python type of every field, in order."""


def read_record(info: Mapping[str, Any]) -> ProcessRecord:
    """Take the record out of an ``info`` dict.

    Raises:
        KeyError: there is none; says how to add one.
    """
    try:
        record: ProcessRecord = info["process"]
    except KeyError:
        raise KeyError(
            "info has no 'process' record; use an agentgym environment or wrap yours with agentgym.add_process"
        ) from None
    return record


def bits(items: Sequence[str], present: Sequence[str]) -> int:
    """The bit mask of ``present`` where bit k stands for ``items[k]``."""
    mask = 0
    for name in present:
        mask |= 1 << items.index(name)
    return mask


def names(items: Sequence[str], mask: int) -> tuple[str, ...]:
    """The inverse of `bits`: the names whose bits are set, in bit order."""
    return tuple(name for k, name in enumerate(items) if mask >> k & 1)
