"""Real web applications with their data: any WSGI or ASGI application becomes a place an agent works in."""

from __future__ import annotations

from typing import Any

from agentgym.envs.web.sites.application import Application

__all__ = ["Application", "site_env"]


def __getattr__(name: str) -> Any:
    if name == "site_env":  # loads httpx and Werkzeug, which registering ids must not
        from agentgym.envs.web.sites.make import site_env

        return site_env
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
