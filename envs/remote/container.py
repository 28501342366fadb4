"""Containers that serve: one for each (image, environment) of this process, kept while an environment uses it."""

from __future__ import annotations

import os
import threading
from typing import ClassVar

from agentgym.containers.services import SHARED, Service
from agentgym.errors import UsageError

__all__ = ["Container"]


class Container:
    """A counted reference to a shared `Service`; sessions in it are as separate as any server's."""

    _running: ClassVar[dict[tuple[int, str, str], Container]] = {}
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self, key: tuple[int, str, str], service: Service) -> None:
        self._key, self._service, self._users = key, service, 0

    @classmethod
    def of(cls, image: str, id: str, start_timeout: float) -> Container:
        """The container, started if it is the first. Each call wants one `release`."""
        if not id:
            raise UsageError("with image=, say which environment it shall serve: env_id='agentgym/…'")
        key = (os.getpid(), image, id)
        with cls._lock:
            if key not in cls._running:
                words = ["serve", id, "--uds", f"{SHARED}/socket", "--until-eof"]
                cls._running[key] = cls(key, Service(image, words, start_timeout=start_timeout))
            found = cls._running[key]
            found._users += 1
            return found

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"unix://{self._service.socket}"

    def release(self) -> None:
        """One environment less; the last one removes the container."""
        with self._lock:
            self._users -= 1
            if self._users == 0:
                del self._running[self._key]
                self._service.close()
