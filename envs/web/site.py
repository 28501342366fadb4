"""What a page may reach: sites, each with an origin of its own that exists nowhere but in this browser.

A site answers requests in this process; there is no port and no name to resolve. Its address is the same on every
machine, so that what the agent sees repeats.
"""

from __future__ import annotations

import mimetypes
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

__all__ = ["Answer", "Files", "Request", "Site", "origin_of"]


@dataclass(frozen=True)
class Request:
    """One request of a page: method, full address, headers (lower-case names) and body."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """What a site answers."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class Site(ABC):
    """A place under one origin, like ``http://shop.test``.

    `answer`, `reset` and `digest` may be coroutines; they run on the web family's loop thread.
    """

    origin: str
    wants_headers: bool = True
    """`answer` reads the request's headers (fetching them costs a round trip)."""

    @abstractmethod
    def answer(self, request: Request) -> Any:
        """The `Answer` to a request to this origin."""

    def known(self, method: str, url: str) -> Answer | None:
        """The answer where the request's headers and body cannot matter and it is at hand; None: `answer` is asked."""
        return None

    def opens(self, url: str) -> None:
        """The next `reset` begins an episode on this first page, of any site; '' where a script adds to it."""
        return None

    def opened(self) -> None:
        """The episode's first page has come to rest, and the agent has not acted yet."""
        return None

    def reset(self, setup: Any) -> Any:
        """Bring the server's state back to what an episode starts from; called before the page is loaded."""
        return None

    def digest(self) -> Any:
        """The server state that matters for the task, as anything `agentgym.anchor` takes; part of the anchor."""
        return None

    def allows(self, url: str, navigation: bool, home: str) -> bool:
        """Whether a page may fetch this address of the origin (``navigation``: to show it; ``home``: the start's)."""
        return True

    def close(self) -> Any:
        """Give back what the site holds."""
        return None


class Files(Site):
    """A folder, served read-only.

    Args:
        origin: like ``http://miniwob.test``.
        root: the folder.
        pinned: pages may not be left for another page of the folder (each is a task of its own).
    """

    wants_headers = False

    def __init__(self, origin: str, root: Path, *, pinned: bool = False) -> None:
        self.origin = origin
        self._root = root.resolve()
        self._pinned = pinned
        self._cache: dict[str, Answer] = {}

    def answer(self, request: Request) -> Answer:
        """The file, or 404; whatever the path, nothing outside of the folder."""
        path = unquote(urlsplit(request.url).path).lstrip("/")
        known = self._cache.get(path)
        if known is not None:
            return known
        file = (self._root / path).resolve() if "\x00" not in path else self._root
        if not file.is_relative_to(self._root) or not file.is_file():
            return Answer(404, {"content-type": "text/plain"}, b"not found")
        kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
        if kind.startswith("text/") or kind.endswith("javascript"):
            kind += "; charset=utf-8"
        answer = self._cache[path] = Answer(200, {"content-type": kind}, file.read_bytes())
        return answer

    def allows(self, url: str, navigation: bool, home: str) -> bool:
        """Everything, but when pinned no page other than the start's and what it frames."""
        return not (navigation and self._pinned) or url.split("#")[0].split("?")[0] == home.split("#")[0].split("?")[0]


def origin_of(url: str) -> str:
    """``scheme://host[:port]`` of an address, lower case; '' where there is none."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}".lower() if parts.netloc else ""
