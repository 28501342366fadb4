"""Application: a web application with its data, so that every environment can have one to itself."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Application", "seed_folder"]


@dataclass(frozen=True)
class Application:
    """An application and its seed data: together a place that can be put back.

    Attributes:
        name: short identifier; the agent finds it at ``http://<name>.test/``.
        version: of the seed data; raise it when `build` changes.
        build: fills an empty folder with the application's data. Runs once; its result is kept and copied.
        app: makes the application (WSGI, or ASGI with ``asgi=True``) over a copy of that folder.
        read: the server's state as the checks need it, read from the folder beside the application, never through it.
        mutable: paths in the folder that the application writes to; they are put back at every reset.
        login: signs in on a fresh copy and returns cookies (name -> value), so that episodes begin signed in.
        asgi: the application is ASGI.
        static: beginnings of addresses behind the origin ("/static/") whose answers never change, whoever asks: each is
            asked for once and then told from memory.
    """

    name: str
    version: str
    build: Callable[[Path], None]
    app: Callable[[Path], Any]
    read: Callable[[Path], Any]
    mutable: tuple[str, ...]
    login: Callable[[Any], Mapping[str, str]] | None = None
    asgi: bool = False
    static: tuple[str, ...] = ()

    @property
    def origin(self) -> str:
        """Where the agent finds it."""
        return f"http://{self.name}.test"


def seed_folder(application: Application) -> Path:
    """The seed data, built when first asked for and kept in the user's cache (``AGENTGYM_CACHE`` names another).

    A build that is cut short leaves nothing: the folder is renamed into place when it is whole.
    """
    cache = Path(os.environ.get("AGENTGYM_CACHE") or Path.home() / ".cache" / "agentgym") / "sites"
    digest = hashlib.sha256(f"{application.name}\0{application.version}".encode()).hexdigest()[:12]
    folder = cache / f"{application.name}-{digest}"
    if folder.is_dir():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    beside = Path(tempfile.mkdtemp(prefix=f".{application.name}-", dir=cache))
    try:
        application.build(beside)
        try:
            beside.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first: its data are the same
                raise
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return folder
