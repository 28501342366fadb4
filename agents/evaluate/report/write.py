"""Write the report of a run."""

from __future__ import annotations

import os
from pathlib import Path

from agentgym.agents.evaluate.report.content import gather
from agentgym.agents.evaluate.report.episodes import sample
from agentgym.agents.evaluate.report.page import page
from agentgym.files import disk, replace
from agentgym.runs import Run

__all__ = ["write_report"]


def write_report(run: Run, path: str | os.PathLike[str] | None = None) -> Path:
    """Write the report of a run and return where it is.

    The file holds everything it shows (at most about 2 MB): success with intervals and contrasts, learning curves, a
    table of environments, milestones, and sample episodes step by step. It loads nothing from elsewhere and opens from
    disk. Text of environments and models is shown as text, whatever it contains.

    Args:
        run: any run; one without tests shows the episodes it has, one without episodes its curves.
        path: of the file; by default ``report.html`` in the run folder. An earlier one is replaced.

    Raises:
        RunError: the run is damaged or the file cannot be written.
    """
    out = Path(path) if path is not None else run.path / "report.html"
    content = gather(run)
    text = page(content, sample(content))
    with disk("write", out):
        replace(out, text.encode("utf-8", "replace"))
    return out
