"""Environments for the tests of serving: a corridor whose actions can hang, exit, or break."""

from __future__ import annotations

import os
import time
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

import agentgym

__all__ = ["ID", "corridor"]

ID = "serving/Corridor-v0"


class _Corridor(gymnasium.Env[Any, Any]):
    observation_space = spaces.Dict({"place": spaces.Box(0, 9, (2,), np.int64), "text": spaces.Text(20)})
    action_space = spaces.Text(40)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.place = 0
        return self._see(), {}

    def step(self, action: str) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if action == "exit":
            os._exit(3)
        if action == "hang":
            time.sleep(3600)
        if action == "break":
            raise RuntimeError("the corridor fell in")
        if action.startswith("sleep"):
            time.sleep(float(action[5:]))
        self.place += 1
        return self._see(), 0.0, False, False, {}

    def _see(self) -> dict[str, Any]:
        return {"place": np.array([self.place, os.getpid() % 10]) * [1, 0], "text": f"place {self.place}"}


def corridor(**options: Any) -> Any:
    """Nine places in a row."""
    return agentgym.add_process(
        _Corridor(),
        id="Corridor",
        goal="Walk.",
        success=lambda t: int(t.next_observation["place"][0]) == 9,
        horizon=50,
        anchor=lambda t: int(t.next_observation["place"][0]),
        **options,
    )


if ID not in gymnasium.registry:
    agentgym.register(ID, corridor, family="serving", summary="a corridor")
