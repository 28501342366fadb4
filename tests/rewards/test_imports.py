"""People use credit inside other trainers: it must not drag anything heavy in."""

from __future__ import annotations

import subprocess
import sys

HEAVY = ("torch", "transformers", "scipy", "numba", "pandas", "pyarrow", "minigrid")


def test_rewards_load_nothing_but_numpy_and_gymnasium() -> None:
    code = (
        "import sys, agentgym.rewards, agentgym.rewards.credit, agentgym.rewards.models.tournament\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
