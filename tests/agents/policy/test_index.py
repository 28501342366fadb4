"""The public index: every name is there, and a light import stays light."""

import subprocess
import sys

import pytest

import agentgym.agents.policy as policy


def test_every_public_name_exists():
    for name in policy.__all__:
        assert getattr(policy, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = policy.nothing


def test_types_load_without_torch():
    code = (
        "import sys; from agentgym.agents.policy import Request, LastK, RandomPolicy, OraclePolicy, load_policy;"
        "load_policy('random');"
        "print([m for m in ('torch', 'transformers', 'httpx') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
