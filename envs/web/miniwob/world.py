"""MiniWobWorld: pages of MiniWoB, whose own reward is the world's."""

from __future__ import annotations

from dataclasses import replace

from agentgym.envs.web.world import WebWorld
from agentgym.world import Events

__all__ = ["MiniWobWorld"]


class MiniWobWorld(WebWorld):
    """Pages of MiniWoB; ``Events.reward`` is the page's verdict in the step that brings it, else 0."""

    async def act(self, action: str) -> Events:
        """Carry out one action."""
        before = self.state().probe
        events = await super().act(action)
        after = self.state().probe
        if before is not None and after is not None and after["done"] and not before["done"]:
            return replace(events, reward=float(after["raw"]))
        return events
