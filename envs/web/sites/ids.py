"""The ids of real sites; imports neither a site nor a browser."""

from __future__ import annotations

from agentgym import registration

__all__ = ["ROUNDUP", "register"]

ROUNDUP = (
    "set-status",
    "set-priority",
    "assign",
    "unassign",
    "add-keyword",
    "remove-keyword",
    "comment",
    "resolve",
    "retitle",
    "watch",
    "duplicate",
    "planted-text",
    "create",
    "new-keyword",
    "settings",
    "triage",
    "reassign",
    "count",
    "who",
)
"""Tasks on the issue tracker."""


def register() -> None:
    """Register all ids of sites (entry point of the group ``agentgym.envs``)."""
    entry = "agentgym.envs.web.sites.roundup.make:roundup_env"
    summary = "work on an issue tracker (Roundup), any of its tasks"
    registration.register("agentgym/Site-Roundup-v0", entry, family="web", summary=summary, extra="web")
    for name in ROUNDUP:
        registration.register(
            f"agentgym/Site-Roundup-{name}-v0",
            entry,
            family="web",
            summary=f"work on an issue tracker (Roundup): {name.replace('-', ' ')}",
            extra="web",
            kwargs={"task": name},
        )
