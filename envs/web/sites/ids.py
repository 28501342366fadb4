"""The ids of real sites; imports neither a site nor a browser."""

from __future__ import annotations

from agentgym import registration

__all__ = ["ROUNDUP", "SHOP", "register"]

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

SHOP = (
    "add-to-basket",
    "cheapest",
    "search",
    "planted-text",
    "quantity",
    "remove",
    "checkout",
    "checkout-new-address",
    "add-address",
    "wish",
    "review",
    "reorder",
    "rename",
    "total",
)
"""Tasks in the shop."""


def register() -> None:
    """Register all ids of sites (entry point of the group ``agentgym.envs``)."""
    for site, folder, place, names in (
        ("Roundup", "roundup", "work on an issue tracker (Roundup)", ROUNDUP),
        ("Shop", "shop", "errands in a shop (django-oscar)", SHOP),
    ):
        entry = f"agentgym.envs.web.sites.{folder}.make:{folder}_env"
        registration.register(
            f"agentgym/Site-{site}-v0", entry, family="web", summary=f"{place}, any of its tasks", extra="web"
        )
        for name in names:
            registration.register(
                f"agentgym/Site-{site}-{name}-v0",
                entry,
                family="web",
                summary=f"{place}: {name.replace('-', ' ')}",
                extra="web",
                kwargs={"task": name},
            )
