"""The ids of the SWE family; imports neither a sandbox nor any instance."""

from __future__ import annotations

from agentgym import registration

__all__ = ["register"]


def register() -> None:
    """Register all ids of the family (entry point of the group ``agentgym.envs``)."""
    registration.register(
        "agentgym/SWE-Smoke-v0",
        "agentgym.envs.swe.make:smoke_env",
        family="swe",
        summary="repair one line of a small function, made by number",
        extra="swe",
    )
    registration.register(
        "agentgym/SWE-Bugs-v0",
        "agentgym.envs.swe.make:bugs_env",
        family="swe",
        summary="repair a hand-written bug in a small module",
        extra="swe",
    )
    registration.register(
        "agentgym/SWE-Releases-v0",
        "agentgym.envs.swe.sources.make:releases_env",
        family="swe",
        summary="bring a release to what the next one does; built by `agentgym swe build releases`",
        extra="swe",
    )
    registration.register(
        "agentgym/SWE-Mutants-v0",
        "agentgym.envs.swe.sources.make:mutants_env",
        family="swe",
        summary="find the one token that was changed in a package; see `agentgym swe build mutants`",
        extra="swe",
    )
