"""Run where BrowserGym is installed: its login page with our signals from the milestone file that is given."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import gymnasium

import agentgym  # noqa: F401  (registers)


def main(signals: Path) -> None:
    """Milestones as fields are filled, success as the page says; without signals the rest is the same."""
    options = {"env_id": "browsergym/miniwob.login-user", "slow_mo": 0, "pre_observation_delay": 0.0}
    bare = gymnasium.make("agentgym/BrowserGym-v0", **options)
    seen, info = bare.reset(seed=3)
    assert "elapsed_time" not in seen
    _, user, _, password, _ = info["goal"].split('"')
    bare.close()
    signals.write_text(signals.read_text().replace("USER", user))
    env: Any = gymnasium.make("agentgym/BrowserGym-v0", signals=signals, **options).unwrapped
    env.reset(seed=3)

    def bids(role: str) -> list[str]:
        nodes = env.peek().next_observation["axtree_object"]["nodes"]
        return [str(n["browsergym_id"]) for n in nodes if "browsergym_id" in n and n["role"]["value"] == role]

    fields, (button,) = bids("textbox"), bids("button")
    progress = []
    for action in (f"fill('{fields[0]}', '{user}')", f"fill('{fields[1]}', '{password}')", f"click('{button}')"):
        _, reward, terminated, _, info = env.step(action)
        assert info["process"]["grounded"], info["error"]
        progress.append(round(info["process"]["progress"], 2))
    assert progress == [0.33, 0.67, 1.0], progress
    assert (reward, terminated, info["success"]) == (1.0, True, True)
    env.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
