"""What all benchmarks share: the flags, the machine's description, and where results go."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from agentgym.agents.train.splits import Split

RESULTS = Path(__file__).parent / "results"


def parser(doc: str) -> argparse.ArgumentParser:
    """A parser with ``--quick``, ``--json`` and ``--save``, described by the script's docstring."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--quick", action="store_true", help="smaller, in a minute or two")
    made.add_argument("--json", action="store_true", help="end with one JSON object of figures")
    made.add_argument("--save", action="store_true", help="write the figures into benchmarks/results/")
    return made


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line.partition(":")[2].strip() for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0] if names else model
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "system": platform.system()}


def unseen(split: Split, part: Literal["validation", "test"], number: int, seed: int) -> list[int]:
    """Task seeds of ``number`` layouts of a part, others for every seed and none of the first 256.

    Those are what the quickstart itself, and every run before the searches were made fair, was measured on.
    """
    seen = {split.instance(s) for s in split.take(part, 256, distinct=True)}
    found: list[int] = []
    for candidate in split.seeds(part, start=1_000_000 * (seed + 1) + 500_000, distinct=True):
        if split.instance(candidate) not in seen:
            found.append(candidate)
        if len(found) == number:
            break
    return found


def saved(name: str) -> dict[str, Any]:
    """The figures of the last saved run of a benchmark; {} where there is none."""
    path = RESULTS / f"{name}.json"
    figures: dict[str, Any] = json.loads(path.read_text())["figures"] if path.exists() else {}
    return figures


def finish(name: str, figures: dict[str, Any], options: argparse.Namespace) -> None:
    """Save the figures when asked, and end with them as JSON when asked."""
    if options.save:
        RESULTS.mkdir(exist_ok=True)
        record = {
            "benchmark": name,
            "date": datetime.date.today().isoformat(),
            "command": "python " + " ".join([f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
            "machine": machine(),
            "figures": figures,
        }
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
    if options.json:
        print(json.dumps(figures))
