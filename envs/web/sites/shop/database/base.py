"""`DatabaseWrapper`: what Django looks for in an ``ENGINE``.

Django knows one set of settings a process, and the shop's code one database, "default". Here that name leads to the
file of the copy that is being asked, so that environments in one process share nothing.
"""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Any

from django.db.backends.sqlite3.base import DatabaseWrapper as SQLite

__all__ = ["FILE", "DatabaseWrapper", "folder"]

FILE = "shop.db"
folder: ContextVar[Path] = ContextVar("folder")
"""The copy's folder, set around every request."""


class DatabaseWrapper(SQLite):  # type: ignore[misc]  # Django has no types
    """SQLite, opened in `folder`."""

    def get_connection_params(self) -> dict[str, Any]:
        """As for any SQLite, but the file."""
        params: dict[str, Any] = super().get_connection_params()
        return {**params, "database": str(folder.get() / FILE)}
