"""The entry point behind every Roundup id."""

from __future__ import annotations

from typing import Any

from agentgym.env import ProcessEnv
from agentgym.envs.web.view import PageState
from agentgym.errors import UnknownName

__all__ = ["roundup_env"]


def roundup_env(task: str = "", **options: Any) -> ProcessEnv[PageState]:
    """A Roundup environment: its own browser context, its own copy of the tracker and its data.

    Args:
        task: one of `tasks.TASKS`; "" draws one at each reset.
        options: of `agentgym.envs.web.sites.make.site_env`.

    Raises:
        UsageError: no Chromium.
        MissingExtra: `roundup` or `playwright` is not installed.
        UnknownName: no such task.
    """
    from agentgym.envs.web.sites.make import site_env
    from agentgym.envs.web.sites.roundup.tasks import TASKS
    from agentgym.envs.web.sites.roundup.tracker import ROUNDUP

    if task and task not in TASKS:
        raise UnknownName("Roundup task", task, TASKS, "`agentgym envs --family web` lists all")
    return site_env(ROUNDUP, (TASKS[task],) if task else tuple(TASKS.values()), **options)
