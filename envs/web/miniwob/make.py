"""The entry point behind every MiniWoB id."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Literal

from agentgym.env import ProcessEnv
from agentgym.envs.web.ids import FLIGHT, TASKS
from agentgym.envs.web.view import PageState
from agentgym.errors import MissingExtra, UnknownName

__all__ = ["ORIGIN", "VERBS", "VIEWPORT", "miniwob_env"]

ORIGIN = "http://miniwob.test"
VIEWPORT = (332, 214)
"""BrowserGym's view of these pages."""
VERBS = tuple(
    "click dblclick hover fill clear check uncheck select_option press focus drag_and_drop scroll mouse_move mouse_down "
    "mouse_up mouse_click mouse_dblclick mouse_drag_and_drop keyboard_press keyboard_down keyboard_up keyboard_type "
    "keyboard_insert_text goto noop send_msg_to_user report_infeasible".split()
)


@cache
def html_root() -> Path:
    """The folder of the package's pages; the package itself (and Selenium) is not imported.

    Raises:
        MissingExtra: `miniwob` is not installed.
    """
    spec = importlib.util.find_spec("miniwob")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtra("miniwob", "web")
    return Path(spec.submodule_search_locations[0]) / "html"


def miniwob_env(
    task: str,
    *,
    observation: Iterable[str] = ("text", "goal", "last_action_error"),
    render_mode: str | None = None,
    max_steps: int | None = None,
    reward: Literal["success", "world"] = "success",
    admissible: bool = False,
    chromium: str | None = None,
    keep_page: bool = True,
) -> ProcessEnv[PageState]:
    """A MiniWoB environment.

    Args:
        task: its name in the package, "click-test-2".
        observation: parts of the observation (see `agentgym.envs.web.parts.PARTS`).
        render_mode: "ansi" or "rgb_array".
        max_steps: truncate after so many steps instead of the task's horizon.
        reward: "success" (1 once, on success) or "world" (the page's own, from -1 to 1, without its discount for time).
        admissible: list applicable actions in ``info["admissible"]``.
        chromium: the browser's executable.
        keep_page: keep the page between episodes where that equals loading it again; False loads it for each.

    Raises:
        UsageError: no Chromium.
        MissingExtra: `miniwob` or `playwright` is not installed.
        UnknownName: no such task.
    """
    from agentgym.envs.web.miniwob.task import make_task
    from agentgym.envs.web.site import Files
    from agentgym.envs.web.miniwob.world import MiniWobWorld

    if task not in TASKS and task not in FLIGHT:
        raise UnknownName("MiniWoB task", task, (*TASKS, *FLIGHT), "`agentgym envs --family web` lists all")
    site = Files(ORIGIN, html_root(), pinned=True)
    made = make_task(task, keep_page=keep_page)
    world = MiniWobWorld([site], observation=observation, verbs=VERBS, viewport=made.viewport, chromium=chromium)
    options: dict[str, Any] = {"max_steps": max_steps, "reward": reward, "admissible": admissible}
    return ProcessEnv(world, made, render_mode=render_mode, **options)
