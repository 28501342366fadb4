"""A program of somebody who has OpenEnv and nothing of ours: plays given actions by its own client.

Arguments: the server's address, the environment, the actions as JSON. Prints what it was told as one JSON object.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from openenv.core.client_types import StepResult
from openenv.core.env_client import EnvClient

Told = dict[str, Any]


class Client(EnvClient[str, Told, Told]):
    """As OpenEnv's guide has it: how an action is written, how results and states are read."""

    def _step_payload(self, action: str) -> Told:
        return {"action": action}

    def _parse_result(self, payload: Told) -> StepResult[Told]:
        return StepResult(payload["observation"], payload.get("reward"), payload["done"])

    def _parse_state(self, payload: Told) -> Told:
        return payload


def main(url: str, env: str, actions: list[str]) -> Told:
    """Reset, every action, one too many, and a second episode's state."""
    with Client(base_url=url) as client:
        began = client.reset(seed=3, episode_id="mine", env=env, env_options={"view": "memory"})
        steps = [client.step(action) for action in actions]
        state = client.state()
        try:
            client.step(actions[0])
            refused = ""
        except RuntimeError as error:
            refused = str(error)
        again = client.reset(seed=3)
    return {
        "began": [began.observation, began.reward, began.done],
        "steps": [[step.observation, step.reward, step.done] for step in steps],
        "state": state,
        "refused": refused,
        "again": again.observation["observation"],
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
