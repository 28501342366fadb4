"""Where Chromium is on this machine, and how it is started."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from agentgym.errors import UsageError

__all__ = ["ARGUMENTS", "NAMES", "VARIABLE", "find_chromium"]

VARIABLE = "AGENTGYM_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")

ARGUMENTS = (
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
    "--disable-gpu",
    "--disable-smooth-scrolling",
    "--force-color-profile=srgb",
    "--font-render-hinting=none",
    # Pages reach what the environment serves them and nothing else: no name resolves.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
)


def find_chromium(path: str | os.PathLike[str] | None = None) -> str:
    """The browser's executable: the one named here, else by the variable AGENTGYM_CHROMIUM, else on PATH.

    Raises:
        UsageError: there is none; says what to install.
    """
    named = os.fspath(path) if path is not None else os.environ.get(VARIABLE)
    if named:
        found = shutil.which(named)
        if found is None:
            origin = "chromium=" if path is not None else f"{VARIABLE}="
            raise UsageError(f"{origin}{named!r} is not an executable; name Chromium's, or install it: {_FIX}")
        return found
    for name in NAMES:
        if found := shutil.which(name):
            return found
    own = Path.home() / ".cache" / "ms-playwright"  # where `playwright install chromium` puts it
    for candidate in sorted(own.glob("chromium-*/chrome-linux*/chrome"), reverse=True):
        return str(candidate)
    raise UsageError(f"no Chromium found on PATH; {_FIX}, or name one by {VARIABLE} or chromium=PATH")


_FIX = "`apt-get install chromium` (or `playwright install chromium`)"
