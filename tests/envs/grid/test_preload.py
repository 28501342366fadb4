"""What a server imports once for all sessions is all that making a grid environment needs."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import importlib, sys
import agentgym, agentgym.serve.child, gymnasium
from agentgym.envs.grid.make import PRELOAD
for name in PRELOAD:
    importlib.import_module(name)
before = set(sys.modules)
gymnasium.make("agentgym/Grid-DoorKey-8x8-v0", view="memory", disable_env_checker=True).reset(seed=0)
print(sorted(name for name in set(sys.modules) - before))
"""


def test_making_one_imports_nothing_more() -> None:
    """Each session would import it again: two seconds for minigrid and what it needs."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
