"""Where the checkout is and what stands in it, for the tests of this folder."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = ("agents", "containers", "envs", "rewards")


def project_files() -> list[Path]:
    """Every file and link that git knows or would add, relative to the root; what a link points at is not repeated."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    names = {Path(name) for name in listed.stdout.split("\0") if name}
    return sorted(name for name in names if os.path.lexists(ROOT / name))
