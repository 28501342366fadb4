"""What a server grants its clients."""

from __future__ import annotations

from dataclasses import dataclass, fields

from agentgym.errors import UsageError

__all__ = ["OPTIONS", "Limits"]

OPTIONS = ("view", "actions", "admissible", "max_steps", "reward", "render_mode")
"""Options of environments that clients may choose unless the operator says otherwise. None of them names a file, a
program or an address."""


@dataclass(frozen=True)
class Limits:
    """Bounds of a server, each above 0.

    Attributes:
        sessions: at once, over all clients.
        environments: of one session, which share its process: where one hangs or dies, so do its session's others.
        request_bytes, reply_bytes: size of one message, in and out.
        seconds: one call (a reset, a step); the session's process is then killed.
        start_seconds: making the environment.
        idle_seconds: a session that hears nothing for so long ends.
        request_seconds: a request over HTTP must have come whole within these.
        rate: messages a second that are read of one WebSocket; more wait, unread.
    """

    sessions: int = 64
    environments: int = 1
    request_bytes: int = 1 << 20
    reply_bytes: int = 64 << 20
    seconds: float = 120.0
    start_seconds: float = 120.0
    idle_seconds: float = 900.0
    request_seconds: float = 30.0
    rate: float = 1000.0

    @property
    def connections(self) -> int:
        """Connections at once, those included that have not said what they want."""
        return 2 * int(self.sessions) + 64

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise UsageError(f"{each.name} must be above 0, got {value!r}")
