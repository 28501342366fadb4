"""Are the signals of the grids true? Reports of four families, means over five levels each, for docs/fidelity.md.

    python benchmarks/signal_fidelity.py [--quick] [--save] [--json]

``--quick``: two levels each.
"""

from __future__ import annotations

import json
import time

import common

from agentgym.rewards import audit

FAMILIES = ("DoorKey-6x6", "LavaCrossing-S9N1", "KeyCorridor-S3R1", "MultiRoom-N2-S4")


def main() -> None:
    options = common.parser(__doc__ or "").parse_args()
    seeds = range(2 if options.quick else 5)
    began = time.process_time()
    reports = {}
    for family in FAMILIES:
        id = f"agentgym/Grid-{family}-v0"
        # Through JSON once, so that what is printed is what is saved.
        reports[id] = json.loads(json.dumps(audit.signal_report(id, seeds=seeds).as_dict()))
        print(f"{family}: {time.process_time() - began:.0f} CPU-seconds", flush=True)
        for key, value in reports[id].items():
            print(f"  {key}: {value}")
    figures = {"levels": len(seeds), "cpu_seconds": round(time.process_time() - began, 1), "reports": reports}
    common.finish("signal_fidelity", figures, options)


if __name__ == "__main__":
    main()
