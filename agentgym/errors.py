"""Errors, named after the boundary that was crossed.

::

    AgentGymError
    ├── UsageError (ValueError)      the caller asked for something that cannot be: exit code 2, one line
    │   ├── UnknownName              an id, recipe, suite or option that does not exist (says the nearest one)
    │   ├── MissingExtra (ImportError)   an optional dependency is not installed (says the command)
    │   ├── RunError                 a run folder is missing, foreign, corrupt, read-only or of another version
    │   └── ModelFolderError         a model folder or hub id that cannot be loaded
    ├── WorldError                   the place broke: browser gone, container lost, worker dead; ends one episode
    │   └── WorldTimeout (TimeoutError)
    ├── TaskError                    a task broke its own contract (progress out of range, unknown event code, …)
    └── PolicyError                  the policy could not decide
        └── EndpointError            a model server answered garbage, refused, or could not be reached

Every message says what was expected, what came, and what to do. Environments raise none of these for what an *action*
contains: a malformed action is a step with ``grounded`` False.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

__all__ = [
    "AgentGymError",
    "EndpointError",
    "MissingExtra",
    "ModelFolderError",
    "PolicyError",
    "RunError",
    "TaskError",
    "UnknownName",
    "UsageError",
    "WorldError",
    "WorldTimeout",
    "nearest",
]


class AgentGymError(Exception):
    """Root of all errors that this package raises on purpose. Survives pickling: workers send errors home."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[AgentGymError], args: tuple[Any, ...], state: dict[str, Any]) -> AgentGymError:
    """Make an error from its message, past constructors that compose the message from other arguments."""
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(AgentGymError, ValueError):
    """The caller asked for something that cannot be. The command line prints it in one line and exits with 2."""


class UnknownName(UsageError):
    """A name that is not known; the message offers the nearest ones.

    Args:
        kind: what was looked up, e.g. "environment".
        name: the name that was asked for.
        known: the names that exist.
        hint: the command or call that lists them.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], hint: str = "") -> None:
        close = nearest(name, known)
        message = f"unknown {kind} {name[:200]!r}"
        if close:
            message += "; did you mean " + " or ".join(map(repr, close)) + "?"
        if hint:
            message += f" ({hint})" if close else f"; {hint}"
        super().__init__(message)
        self.kind, self.name, self.close = kind, name, close


class MissingExtra(UsageError, ImportError):
    """An optional dependency is not installed."""

    def __init__(self, package: str, extra: str, fix: str = "") -> None:
        fix = fix or f'pip install -e ".[{extra}]" in the checkout'
        super().__init__(f"this needs the package {package!r}, which is not installed; {fix}")
        self.package, self.extra = package, extra


class RunError(UsageError):
    """A run folder is missing, foreign, corrupt, not writable, or of another format version."""


class ModelFolderError(UsageError):
    """A model folder or hub id that cannot be loaded."""


class WorldError(AgentGymError):
    """The world broke. Ends the episode as ``error``; the run goes on."""


class WorldTimeout(WorldError, TimeoutError):
    """The world did not answer in time."""


class TaskError(AgentGymError):
    """A task broke its contract. A bug of the task's author, reported with the task and the value."""


class PolicyError(AgentGymError):
    """The policy could not decide."""


class EndpointError(PolicyError):
    """A model server answered garbage, refused, or could not be reached."""


def nearest(name: str, known: Iterable[str], n: int = 2) -> list[str]:
    """At most ``n`` known names close to ``name``, best first; compares without regard to case."""
    by_lower = {k.lower(): k for k in known}
    return [by_lower[k] for k in difflib.get_close_matches(name.lower()[:200], by_lower, n=n, cutoff=0.6)]
