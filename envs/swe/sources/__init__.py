"""Where instances come from besides this package: releases and mutants of packages on the index, SWE-bench's JSON.

Nothing of third parties is committed: sources are fetched at set-up into `cache`, checked against their hashes.
"""

from __future__ import annotations

from agentgym.envs.swe.sources.sdist import Sdist, cache, fetch

__all__ = ["Sdist", "cache", "fetch"]
