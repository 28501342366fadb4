"""Scripts that are sent into a sandbox and run by its ``python3`` (3.8 or later, standard library and pytest only)."""

from __future__ import annotations

from functools import cache
from importlib import resources

__all__ = ["source"]


@cache
def source(name: str) -> str:
    """The text of a script of this folder."""
    return resources.files(__name__).joinpath(f"{name}.py").read_text()
