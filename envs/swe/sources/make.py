"""Environments of what is built from packages: release pairs and mutants."""

from __future__ import annotations

from typing import Any, Literal

from agentgym.env import ProcessEnv
from agentgym.envs.swe.make import swe_env
from agentgym.envs.swe.sources.mutants import mutants
from agentgym.envs.swe.sources.pairs import PAIRS, load_pair, releases
from agentgym.envs.swe.state import RepoState
from agentgym.errors import UsageError

__all__ = ["mutants_env", "releases_env"]


def releases_env(*, number: int | None = None, **options: Any) -> ProcessEnv[RepoState]:
    """The older of two releases, with the newer one's tests.

    Args:
        number: only this pair, from 0 on; all when None.
        options: see `swe_env`.

    Raises:
        UsageError: the pairs are not built here; says the command.
    """
    if number is not None and not 0 <= number < len(PAIRS):
        raise UsageError(f"number: expected 0 to {len(PAIRS) - 1}, got {number!r}")
    found = releases() if number is None else [load_pair(PAIRS[number])]
    return swe_env("swe-releases", found, **options)


def mutants_env(*, split: Literal["all", "train", "held_out"] = "all", **options: Any) -> ProcessEnv[RepoState]:
    """A package with one planted fault that some of its own tests notice.

    Args:
        split: of the functions the faults stand in.
        options: see `swe_env`.

    Raises:
        UsageError: no such split, or a package cannot be fetched.
    """
    return swe_env("swe-mutants", mutants(split), **options)
