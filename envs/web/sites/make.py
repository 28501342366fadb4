"""An environment from an application and a task."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from agentgym.env import ProcessEnv
from agentgym.envs.web import parts
from agentgym.envs.web.sites.application import Application
from agentgym.envs.web.sites.serve import AppSite
from agentgym.envs.web.view import PageState
from agentgym.envs.web.world import WebWorld
from agentgym.task import Task

__all__ = ["VERBS", "site_env"]

VERBS = (
    *("click", "fill", "clear", "check", "uncheck", "select_option", "press", "focus", "hover", "scroll"),
    *("keyboard_press", "goto", "go_back", "go_forward", "noop", "send_msg_to_user"),
)
"""What a task on a site of forms and links takes."""


def site_env(
    application: Application,
    task: Task[PageState] | Sequence[Task[PageState]],
    *,
    observation: Iterable[str] = parts.DEFAULT,
    verbs: Iterable[str] = VERBS,
    viewport: tuple[int, int] = (1280, 720),
    render_mode: str | None = None,
    max_steps: int | None = None,
    admissible: bool = False,
    chromium: str | None = None,
) -> ProcessEnv[PageState]:
    """An environment with its own browser context and its own copy of an application's data.

    Args:
        application: what is served; reset puts its data back.
        task: what is wanted there, or several of which each reset draws one. Its ``setup`` returns a `Start` with the
            first page; checks read ``state.server[0]``, which is what ``application.read`` found after the last action.
        observation: parts of the observation (see `agentgym.envs.web.parts.PARTS`).
        verbs: the actions that are known.
        viewport: width and height of the view in CSS pixels.
        render_mode: "ansi" or "rgb_array".
        max_steps: truncate after so many steps instead of the task's horizon.
        admissible: list applicable actions in ``info["admissible"]``.
        chromium: the browser's executable.

    Raises:
        UsageError: no Chromium.
    """
    world = WebWorld([AppSite(application)], observation=observation, verbs=verbs, viewport=viewport, chromium=chromium)
    options: dict[str, Any] = {"max_steps": max_steps, "admissible": admissible}
    return ProcessEnv(world, task, render_mode=render_mode, **options)
