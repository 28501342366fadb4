"""Where Chromium is on this machine, and how it is started."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from agentgym.errors import UsageError

__all__ = ["ARGUMENTS", "AT_ONCE", "DISABLED", "NAMES", "ON_DEMAND", "VARIABLE", "draws_on_demand", "find_chromium"]

VARIABLE = "AGENTGYM_CHROMIUM"
NAMES = (
    # Debian's; what stands on PATH there is a shell script that stays the browser's parent, so that a signal to it
    # leaves the browser running.
    "/usr/lib/chromium/chromium-headless-shell",
    "chromium-headless-shell",
    *("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
)
"""Looked for in this order: the headless shell is the same engine without a window's parts, and leaner."""

DISABLED = (
    # After a click Chromium holds back scripts until the next frame has been shown, up to 17 ms, for smoothness.
    "DeferRendererTasksAfterInput",
    # A frame made anew for every document, its compositor too, costs a tenth of loading a page.
    "RenderDocument",
    # What Playwright switches off: Chromium heeds the last list on its command line only, and that is this one.
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsUpgrades",
    "HttpsFirstBalancedModeAutoEnable",
    "LensOverlay",
    "MediaRouter",
    "PaintHolding",
    "ThirdPartyStoragePartitioning",
    "AvoidCorsURLLoaderRestartOnRedirect",
    "TcpPortRandomizationWin",
    "OptimizationHints",
    "NetworkTimeServiceQuerying",
    "AimEnabled",
    "PreconnectToSearch",
    "msForceBrowserSignIn",
    "msEdgeUpdateLaunchServicesPreferredVersion",
)
"""Features of Chromium that are switched off."""

ARGUMENTS = (
    "--disable-features=" + ",".join(DISABLED),
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

ON_DEMAND = (
    "--enable-begin-frame-control",
    "--run-all-compositor-stages-before-draw",
    "--disable-new-content-rendering-timeout",
    "--disable-threaded-animation",
    "--disable-threaded-scrolling",
    "--disable-checker-imaging",
)
"""Frames are drawn when asked for (HeadlessExperimental.beginFrame) and at no other time: nobody looks at most of them,
and they take a third of a click's processor time. Only the headless shell can do it."""

AT_ONCE = "--disable-frame-rate-limit"
"""Frames are drawn whenever something changed, so that a picture need not wait for the next sixtieth of a second; for
browsers that cannot draw on demand, and only where pictures are taken."""


def draws_on_demand(path: str) -> bool:
    """Whether this executable is the headless shell, on a system where frames can be held back (by its name)."""
    return sys.platform == "linux" and Path(path).resolve().name.replace("_", "-").endswith("headless-shell")


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
    own = Path.home() / ".cache" / "ms-playwright"  # where `playwright install chromium` puts both
    for pattern in ("chromium_headless_shell-*/chrome-*/*headless?shell", "chromium-*/chrome-linux*/chrome"):
        for candidate in sorted(own.glob(pattern), reverse=True):
            return str(candidate)
    raise UsageError(f"no Chromium found on PATH; {_FIX}, or name one by {VARIABLE} or chromium=PATH")


_FIX = "`apt-get install chromium-headless-shell` (or `chromium`, or `playwright install chromium`)"
