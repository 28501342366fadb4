"""The messages of OpenEnv's clients (openenv-core 0.3): JSON ``{type, data}`` over a WebSocket, or JSON over HTTP.

An action is ``{"action": VALUE}``, VALUE as the action space wants it (arrays as nested lists). An observation is a
dict: ``observation`` (arrays as lists), ``info`` (with ``process``, ``success``, ``events``, ``goal``), ``terminated``,
``truncated``; beside it ``reward`` and ``done``, as OpenEnv has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from agentgym.errors import UsageError
from agentgym.serve import codec

__all__ = ["as_action", "as_json", "error", "read", "result", "schema"]

_CODES = {"usage": "VALIDATION_ERROR", "type": "VALIDATION_ERROR", "protocol": "VALIDATION_ERROR"}


def read(text: str | bytes) -> dict[str, Any]:
    """A JSON object.

    Raises:
        UsageError: anything else.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"expected a JSON object: {error}") from error
    if not isinstance(found, dict):
        raise UsageError(f"expected a JSON object, got {type(found).__name__}")
    return found


def as_json(value: Any) -> Any:
    """Plain JSON values: arrays and tuples as lists, numbers that JSON lacks as None, bytes as Latin-1 text."""
    if isinstance(value, np.ndarray | np.generic):
        return as_json(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): as_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(inner) for inner in value]
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value


def as_action(data: Mapping[str, Any], space: spaces.Space[Any]) -> Any:
    """The action that the data of a step message names.

    Raises:
        UsageError: there is none, or a list that is no array of the space.
    """
    if "action" not in data:
        raise UsageError('expected a step as {"action": VALUE}, got ' + json.dumps(sorted(map(str, data)))[:200])
    action = data["action"]
    if isinstance(action, dict) and list(action) == ["action"] and not isinstance(space, spaces.Dict):
        action = action["action"]  # over HTTP, OpenEnv puts an action's fields one level down
    return _shaped(action, space)


def _shaped(value: Any, space: spaces.Space[Any]) -> Any:
    if isinstance(space, spaces.Dict) and isinstance(value, dict):
        return {key: _shaped(inner, space[key]) if key in space.spaces else inner for key, inner in value.items()}
    if isinstance(space, spaces.Tuple) and isinstance(value, list) and len(value) == len(space.spaces):
        return tuple(_shaped(inner, part) for inner, part in zip(value, space.spaces, strict=True))
    if isinstance(space, spaces.Box | spaces.MultiDiscrete | spaces.MultiBinary):
        try:
            return np.asarray(value, dtype=space.dtype)
        except (TypeError, ValueError, OverflowError) as error:
            raise UsageError(f"expected an array for {space}: {error}") from error
    return value


def result(observation: Any, info: Mapping[str, Any], reward: float | None, ended: tuple[bool, bool]) -> dict[str, Any]:
    """The data of an observation message. ``ended``: terminated, truncated."""
    inside = {"observation": observation, "info": info, "terminated": ended[0], "truncated": ended[1]}
    return {"observation": as_json(inside), "reward": as_json(reward), "done": any(ended)}


def error(kind: str, message: str) -> dict[str, Any]:
    """The data of an error message; ``kind`` as in `agentgym.serve.child.ERRORS`, or ``busy``."""
    code = "CAPACITY_REACHED" if kind == "busy" else _CODES.get(kind, "EXECUTION_ERROR")
    return {"message": message, "code": code}


def schema(told: Mapping[str, Any]) -> dict[str, Any]:
    """JSON schemas of actions, observations and states, from the answer to ``make``."""
    observation = {
        "observation": _schema(codec.space(told["observation_space"])),
        "info": {"type": "object"},
        "terminated": {"type": "boolean"},
        "truncated": {"type": "boolean"},
    }
    return {
        "action": _object({"action": _schema(codec.space(told["action_space"]))}),
        "observation": _object(observation),
        "state": _object({"episode_id": {"type": "string"}, "step_count": {"type": "integer", "minimum": 0}}),
    }


def _object(parts: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": dict(parts), "required": list(parts)}


def _schema(space: spaces.Space[Any]) -> dict[str, Any]:
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return {"type": "integer", "minimum": first, "maximum": first + int(space.n) - 1}
    if isinstance(space, spaces.Text):
        return {"type": "string", "maxLength": space.max_length}
    if isinstance(space, spaces.Dict):
        return _object({key: _schema(inner) for key, inner in space.spaces.items()})
    return {"type": "array"}
