"""``agentgym serve``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tyro

from agentgym.cli._output import known, require
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError


@dataclass(frozen=True)
class Command:
    """Serve environments to other processes, containers and machines.

    Clients are gymnasium.make("agentgym/Remote-v0", url=...), an ordinary environment with the same record, and
    OpenEnv's clients. Each session has an environment and a process of its own. Without a token only this machine is
    served.

    Example:
      agentgym serve agentgym/Grid-DoorKey-8x8-v0 --port 8000
      agentgym serve agentgym/Grid-DoorKey-8x8-v0 --uds /run/agentgym/socket
      agentgym serve agentgym/MiniWoB-click-test-2-v0 --host 0.0.0.0 --token-file token --max-sessions 8
    """

    ids: tyro.conf.Positional[tuple[str, ...]]
    """Environments; a client that names none gets the first."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of gymnasium.make that clients cannot change, as KEY=VALUE words or one JSON object."""
    allow: tuple[str, ...] = ()
    """Further options that clients may choose, beside view, actions, admissible, max_steps, reward and render_mode."""
    host: str = "127.0.0.1"
    """Address to listen on; one that is not loopback needs --token-file."""
    port: int = 8000
    """0 takes a free one."""
    uds: Path | None = None
    """Listen on a Unix socket instead, made for this user alone."""
    token_file: Path | None = None
    """File with the token that clients must show."""
    max_sessions: int = 64
    """Sessions at once."""
    environments: int = 1
    """Environments that one session may have in its process; a client takes more than one by shared=True."""
    max_request: int = 1 << 20
    """Bytes of one message from a client."""
    step_timeout: float = 120.0
    """Seconds of one reset or step; the session's process is then stopped."""
    idle_timeout: float = 900.0
    """Seconds after which a silent session ends."""
    max_rate: float = 1000.0
    """Messages a second that are read of one client; more wait."""

    until_eof: Flag = False
    """End when standard input closes: whoever started the server is gone."""

    def run(self) -> int:
        for package in ("starlette", "uvicorn", "websockets", "msgpack"):
            require(package, "serve")
        from agentgym.serve.limits import OPTIONS, Limits
        from agentgym.serve.server import read_token, run
        from agentgym.serve.sessions import Served

        if not 0 <= self.port < 65536:
            raise UsageError(f"--port must be in [0, 65536), got {self.port}")
        for id in self.ids:
            known(id)
        limits = Limits(
            sessions=self.max_sessions,
            environments=self.environments,
            request_bytes=self.max_request,
            seconds=self.step_timeout,
            idle_seconds=self.idle_timeout,
            rate=self.max_rate,
        )
        run(
            Served(self.ids, self.env_kwargs, (*OPTIONS, *self.allow)),
            host=self.host,
            port=self.port,
            uds=self.uds,
            token=read_token(self.token_file) if self.token_file else "",
            limits=limits,
            until=sys.stdin.fileno() if self.until_eof else None,
            ready=_say,
        )
        return 0


def _say(url: str) -> None:
    print(f"serving at {url}", flush=True)
    print("Ctrl-C ends it", file=sys.stderr, flush=True)


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "serve", words).run()
