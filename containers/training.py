"""A training in one container, its environments in another, and nothing open between them but a socket."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agentgym.containers.services import SHARED, Folder, Service, lend, run

__all__ = ["SERVE", "SETTINGS", "TRAIN", "URL", "train"]

SERVE, TRAIN = "agentgym/serve", "agentgym/train"
URL = f"unix://{SHARED}/socket"
"""Where the training finds its environments."""
SETTINGS = f"{SHARED}/settings.json"
"""Where it finds its settings."""


def train(
    command: Sequence[str],
    settings: Mapping[str, Any],
    out: Path,
    *,
    env: str,
    environments: int,
    serve: str = SERVE,
    image: str = TRAIN,
) -> int:
    """Run a training command to its end; both containers are gone afterwards, also after Ctrl-C or a failure.

    Neither has a network. They share the folder of the socket, which the training cannot write to. The training has,
    besides, the run folder, under the path that it has here.

    Args:
        command: words after ``agentgym``; they should name `SETTINGS` and ``out``, and end when standard input closes.
        settings: JSON-like; where it names environments, those of `URL`.
        out: the run folder, made when missing; what is in it afterwards belongs to the calling user.
        env: which environment is served. environments: how many at once.
        serve, image: images of the server and of the training.

    Returns:
        the command's exit code.

    Raises:
        UsageError: an image is missing. WorldError: no engine answers, or a container was lost.
    """
    out = out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    # A session is a process that holds all environments of one arm: few sessions, each with as many as there are.
    words = ["serve", env, "--uds", URL.removeprefix("unix://"), "--until-eof", "--environments", str(environments)]
    with Service(serve, words) as service, lend(out):
        told = service.folder / Path(SETTINGS).name
        told.write_text(json.dumps(settings))
        told.chmod(0o644)  # whatever this user's habit is: the training runs as another when this is root
        return run(image, command, [Folder(service.folder, SHARED, writable=False), Folder(out, str(out))])
