"""``python -m agentgym``: the same as the command ``agentgym``."""

from __future__ import annotations

from agentgym.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
