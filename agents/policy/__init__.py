"""Policies: what decides. Always batched: ``act(list[Request]) -> list[Decision]``.

The names below are the public index. Those that need torch or httpx are loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from agentgym.agents.policy.types import Decision, Policy, Request, Segment, uniform
from agentgym.errors import MissingExtra

if TYPE_CHECKING:
    from agentgym.agents.policy.context import Append, ContextPolicy, LastK, Summarise
    from agentgym.agents.policy.endpoint import EndpointPolicy
    from agentgym.agents.policy.engine import Engine
    from agentgym.agents.policy.simple import ArrayPolicy, FunctionPolicy, OraclePolicy, RandomPolicy, load_policy
    from agentgym.agents.policy.small import small_model, word_tokenizer
    from agentgym.agents.policy.transformers import TransformersPolicy

__all__ = [
    "Append",
    "ArrayPolicy",
    "ContextPolicy",
    "Decision",
    "EndpointPolicy",
    "Engine",
    "FunctionPolicy",
    "LastK",
    "OraclePolicy",
    "Policy",
    "RandomPolicy",
    "Request",
    "Segment",
    "Summarise",
    "TransformersPolicy",
    "load_policy",
    "small_model",
    "uniform",
    "word_tokenizer",
]

_HOME = {
    **dict.fromkeys(("Append", "ContextPolicy", "LastK", "Summarise"), "context"),
    **dict.fromkeys(("ArrayPolicy", "FunctionPolicy", "OraclePolicy", "RandomPolicy", "load_policy"), "simple"),
    **dict.fromkeys(("small_model", "word_tokenizer"), "small"),
    "EndpointPolicy": "endpoint",
    "Engine": "engine",
    "TransformersPolicy": "transformers",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or _HOME[name], "train") from error
