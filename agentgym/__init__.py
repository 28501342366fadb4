"""agentgym: a gym for language-model agents in which every environment says how the task is going at every step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentgym.anchor import anchor
from agentgym.env import ProcessEnv, Snapshot
from agentgym.process import ProcessRecord, read_record
from agentgym.registration import catalogue, find, register
from agentgym.registration import load_entry_points as _load_entry_points
from agentgym.task import Actor, Episode, Milestone, Task
from agentgym.world import Events, World

if TYPE_CHECKING:
    from agentgym.gym_world import Transition, add_process
    from agentgym.runs import Run
    from agentgym.steps import StepTable, TrajectoryTable
    from agentgym.tokens import TokenTable

__version__ = "0.1.0"

__all__ = [
    "Actor",
    "Episode",
    "Events",
    "Milestone",
    "ProcessEnv",
    "ProcessRecord",
    "Run",
    "Snapshot",
    "StepTable",
    "Task",
    "TokenTable",
    "TrajectoryTable",
    "Transition",
    "World",
    "add_process",
    "anchor",
    "catalogue",
    "find",
    "read_record",
    "register",
]

_LAZY = {
    "Transition": "agentgym.gym_world",
    "add_process": "agentgym.gym_world",
    "Run": "agentgym.runs",
    "StepTable": "agentgym.steps",
    "TokenTable": "agentgym.tokens",
    "TrajectoryTable": "agentgym.steps",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'agentgym' has no attribute {name!r}")


_load_entry_points()
