"""The entry point behind every shop id."""

from __future__ import annotations

from typing import Any

from agentgym.env import ProcessEnv
from agentgym.envs.web.view import PageState
from agentgym.errors import UnknownName

__all__ = ["shop_env"]


def shop_env(task: str = "", **options: Any) -> ProcessEnv[PageState]:
    """A shop: its own browser context, its own copy of the data.

    Args:
        task: one of `tasks.TASKS`; "" draws one at each reset.
        options: of `agentgym.envs.web.sites.make.site_env`.

    Raises:
        UsageError: no Chromium, or this process has set up a Django project of its own.
        MissingExtra: `django-oscar` or `playwright` is not installed.
        UnknownName: no such task.
    """
    from agentgym.envs.web.sites.make import site_env
    from agentgym.envs.web.sites.shop.server import SHOP
    from agentgym.envs.web.sites.shop.tasks import TASKS

    if task and task not in TASKS:
        raise UnknownName("shop task", task, TASKS, "`agentgym envs --family web` lists all")
    return site_env(SHOP, (TASKS[task],) if task else tuple(TASKS.values()), **options)
