"""The text of an observation, for policies that read."""

from __future__ import annotations

from typing import Any

from agentgym.errors import PolicyError

__all__ = ["observation_text"]


def observation_text(observation: Any) -> str:
    """The text of an observation: ``observation["text"]`` of a dict, a string itself.

    Raises:
        PolicyError: for anything else.
    """
    if isinstance(observation, dict) and isinstance(observation.get("text"), str):
        observation = observation["text"]
    if not isinstance(observation, str):
        what = (
            f"a dict with keys {sorted(observation)}" if isinstance(observation, dict) else type(observation).__name__
        )
        raise PolicyError(
            f"a language model reads a string or a dict with 'text', got {what};"
            " make the environment with its text view"
        )
    return observation
