"""The entry point behind every Roundup id."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from agentgym.env import ProcessEnv
from agentgym.envs.web import parts
from agentgym.envs.web.view import PageState
from agentgym.errors import UnknownName

__all__ = ["VERBS", "roundup_env"]

VERBS = (
    *("click", "fill", "clear", "check", "uncheck", "select_option", "press", "focus", "hover", "scroll"),
    *("keyboard_press", "goto", "go_back", "go_forward", "noop", "send_msg_to_user"),
)
"""What a task on a site of forms and links takes."""


def roundup_env(
    task: str = "",
    *,
    observation: Iterable[str] = parts.DEFAULT,
    render_mode: str | None = None,
    max_steps: int | None = None,
    admissible: bool = False,
    chromium: str | None = None,
) -> ProcessEnv[PageState]:
    """A Roundup environment: its own browser context, its own copy of the tracker and its data.

    Args:
        task: one of `tasks.TASKS`; "" draws one at each reset.
        observation: parts of the observation (see `agentgym.envs.web.parts.PARTS`).
        render_mode: "ansi" or "rgb_array".
        max_steps: truncate after so many steps instead of the task's horizon.
        admissible: list applicable actions in ``info["admissible"]``.
        chromium: the browser's executable.

    Raises:
        UsageError: no Chromium.
        MissingExtra: `roundup` or `playwright` is not installed.
        UnknownName: no such task.
    """
    from agentgym.envs.web.sites.roundup.tasks import TASKS
    from agentgym.envs.web.sites.roundup.tracker import ROUNDUP
    from agentgym.envs.web.sites.serve import AppSite
    from agentgym.envs.web.world import WebWorld

    if task and task not in TASKS:
        raise UnknownName("Roundup task", task, TASKS, "`agentgym envs --family web` lists all")
    tasks = (TASKS[task],) if task else tuple(TASKS.values())
    world = WebWorld([AppSite(ROUNDUP)], observation=observation, verbs=VERBS, chromium=chromium)
    options: dict[str, Any] = {"max_steps": max_steps, "admissible": admissible}
    return ProcessEnv(world, tasks, render_mode=render_mode, **options)
