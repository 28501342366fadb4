"""The quickstart in containers and outside, one after the other: is it the same curve, and what does it cost?

Needs a Docker engine and the images agentgym/serve and agentgym/train (`agentgym images build serve train`), built from
this checkout. CPU-seconds are those of training itself, environments included where they are in the same process: in
containers the server's come on top, and only the wall clock shows them. --quick: 3 updates and 16 layouts.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from common import finish, parser

STORE = Path("runs/bench-quickstart-containers")
QUICK = {"updates": 3, "test_episodes": 16, "validation_episodes": 8}
CLOCK = ("time", "train_cpu_seconds", "cpu_seconds")
TOLD = ("success_before", "success_after", "greedy_after", "contrast_after", "env_steps", "train_cpu_seconds")


def play(name: str, seed: int, settings: dict[str, Any], *words: str) -> dict[str, Any]:
    """One run by the user's own command; its summary, its wall clock, and its curve."""
    from agentgym.runs import Run

    out = STORE / name
    shutil.rmtree(out, ignore_errors=True)
    STORE.mkdir(parents=True, exist_ok=True)
    config = STORE / "settings.json"
    config.write_text(json.dumps(settings))
    command = [sys.executable, "-m", "agentgym", "quickstart", "--seed", str(seed), "--config", str(config)]
    began = time.monotonic()
    subprocess.run([*command, "--out", str(out), *words], check=True)
    wall = time.monotonic() - began
    run = Run.open(out)
    curve = [{key: value for key, value in line.items() if key not in CLOCK} for line in run.metrics()]
    summary = run.summary()
    return {"wall_seconds": wall, "curve": curve, **{key: summary[key] for key in TOLD}}


def main() -> None:
    made = parser(__doc__ or "")
    made.add_argument("--seed", type=int, default=0, help="of both runs (default %(default)s)")
    options = made.parse_args()
    settings = QUICK if options.quick else {}
    inside = play("inside", options.seed, settings, "--in-containers")
    outside = play("outside", options.seed, settings)
    curves = inside.pop("curve"), outside.pop("curve")
    figures = {
        "seed": options.seed,
        "settings": settings,
        "same_curve": curves[0] == curves[1],
        "measurements_compared": len(curves[1]),
        "in_containers": inside,
        "outside": outside,
        "wall_ratio": inside["wall_seconds"] / outside["wall_seconds"],
    }
    print(f"same curve: {figures['same_curve']}; in containers it took {figures['wall_ratio']:.2f} times as long")
    finish("quickstart-containers", figures, options)


if __name__ == "__main__":
    main()
