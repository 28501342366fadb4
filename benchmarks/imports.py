"""What it costs to import agentgym, beside Gymnasium, which it stands on.

Each figure is the median over fresh interpreters of the CPU-seconds that the import statement takes; the first
interpreter of each kind is thrown away (it may write byte code). `loaded_heavy` lists the heavy libraries that
`import agentgym` pulled in: it must be empty.

    python benchmarks/imports.py            # 15 interpreters each
    python benchmarks/imports.py --quick    # 3 interpreters each
    python benchmarks/imports.py --json     # last line: one JSON object
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys

import common

HEAVY = ("torch", "transformers", "playwright", "docker", "minigrid", "pyarrow", "numba", "tensorboard", "pygame")
PROBE = """
import json, sys, time
start = time.process_time()
import {module}
seconds = time.process_time() - start
print(json.dumps([seconds, sorted({{name.split(".")[0] for name in sys.modules}})]))
"""


def measure(module: str, runs: int) -> tuple[float, list[str]]:
    """Median CPU-seconds of `import module` in `runs` fresh interpreters, and the heavy libraries it loaded."""
    seconds, loaded = [], set()
    for _ in range(runs + 1):
        done = subprocess.run(
            [sys.executable, "-c", PROBE.format(module=module)], stdout=subprocess.PIPE, text=True, check=True
        )
        took, names = json.loads(done.stdout.splitlines()[-1])
        seconds.append(took)
        loaded |= set(names) & set(HEAVY)
    return statistics.median(seconds[1:]), sorted(loaded)


def main() -> None:
    options = common.parser(__doc__ or "").parse_args()
    runs = 3 if options.quick else 15

    agentgym, loaded = measure("agentgym", runs)
    credit, _ = measure("agentgym.rewards.credit", runs)
    gymnasium, _ = measure("gymnasium", runs)
    print(f"CPU-seconds, median of {runs} interpreters")
    print(f"  import gymnasium                {gymnasium:.3f}")
    print(f"  import agentgym                 {agentgym:.3f}  ({agentgym / gymnasium:.2f} x gymnasium)")
    print(f"  import agentgym.rewards.credit  {credit:.3f}  ({credit / gymnasium:.2f} x gymnasium)")
    print(f"  heavy libraries loaded by agentgym: {', '.join(loaded) or 'none'}")
    figures = {
        "import_agentgym_cpu_s": agentgym,
        "import_credit_cpu_s": credit,
        "import_gymnasium_cpu_s": gymnasium,
        "loaded_heavy": loaded,
    }
    common.finish("imports", figures, options)


if __name__ == "__main__":
    main()
