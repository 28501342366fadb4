"""The id of remote environments, as the catalogue knows it."""

from __future__ import annotations

from agentgym.registration import register as _register

__all__ = ["register"]


def register() -> None:
    """Register ``agentgym/Remote-v0``."""
    _register(
        "agentgym/Remote-v0",
        "agentgym.envs.remote.env:RemoteEnv",
        family="remote",
        summary="any environment behind `agentgym serve`",
        extra="serve",
        needs="url=… of a server, or image=… that serves",
    )
