"""The web family: tasks on pages in a real Chromium, with a process record at every step.

Importing this package loads neither Playwright nor any task; ids are registered by `agentgym.envs.web.ids`.

==================  ================================================================================================
`miniwob`           all tasks of the package `miniwob`, one file a kind
`world.WebWorld`    drives pages: trusted input, a page clock that stands still, a network that is closed
`site.Site`         what a page may reach: answers requests under an origin that exists in this browser alone
`actions`           BrowserGym's action strings and JSON tool calls, parsed by a whitelist
`view`              the state that tasks check, and the text that agents read
`parts`             the parts of an observation
`browser`           one Chromium for all environments of a process, one more for pictures; `close_browsers`
==================  ================================================================================================
"""

from __future__ import annotations

from typing import Any

_LAZY = {
    "Files": "agentgym.envs.web.site",
    "PageState": "agentgym.envs.web.view",
    "Site": "agentgym.envs.web.site",
    "Start": "agentgym.envs.web.world",
    "WebWorld": "agentgym.envs.web.world",
    "close_browsers": "agentgym.envs.web.browser",
    "miniwob_env": "agentgym.envs.web.miniwob.make",
}

__all__ = ["Files", "PageState", "Site", "Start", "WebWorld", "close_browsers", "miniwob_env"]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        import importlib

        return getattr(importlib.import_module(_LAZY[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
