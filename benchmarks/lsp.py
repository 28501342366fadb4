"""Language servers: milliseconds from an edit to its diagnostics, the server kept alive.

The tree is the standard library's package ``email`` (``lines`` says how long). Every other edit adds a function with a
fault to one of its long modules, the next one takes it away.

Figures: ``<server>_edit_ms`` (median) and ``<server>_p90_ms`` of an edit, judging included; ``<server>_start_ms`` from
nothing to the first answer on the whole tree; ``<server>_fresh_ms`` what an edit costs without keeping the server.
``replay_ms`` is the same edit from a record.
"""

from __future__ import annotations

import email
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import common

from agentgym.envs.swe.lsp import SERVERS, Judge, LanguageServer, Transcript, reward


def tree() -> dict[str, bytes]:
    """The modules of the package."""
    folder = Path(email.__file__).parent
    return {f"email/{p.relative_to(folder)}": p.read_bytes() for p in sorted(folder.rglob("*.py"))}


def states(start: dict[str, bytes], count: int) -> list[dict[str, bytes]]:
    """The tree after each edit."""
    long = [path for path, data in start.items() if data.count(b"\n") > 150]
    files, made = dict(start), []
    for k in range(count):
        path = long[k // 2 % len(long)]
        files[path] = start[path] + (b"\n\ndef added(x: int) -> str:\n    return nothing + x\n" if k % 2 == 0 else b"")
        made.append(dict(files))
    return made


def measure(name: str, start: dict[str, bytes], edits: list[dict[str, bytes]]) -> tuple[dict[str, float], Transcript]:
    transcript = Transcript()
    times = []
    with Judge([transcript.recording(LanguageServer(name))]) as judge:
        began = time.perf_counter()
        reference = judge.start(start)
        figures = {f"{name}_start_ms": 1e3 * (time.perf_counter() - began)}
        for files in edits:
            began = time.perf_counter()
            step = reward(reference, judge.measure(files))
            times.append(1e3 * (time.perf_counter() - began))
            reference = step.reference
            if not step.safe or not step.value:
                raise SystemExit(f"{name}: an edit that adds or takes a fault was rewarded with {step}")
    began = time.perf_counter()
    with Judge([LanguageServer(name)]) as fresh:
        fresh.start(edits[-1])
        figures[f"{name}_fresh_ms"] = 1e3 * (time.perf_counter() - began)
    figures[f"{name}_edit_ms"] = statistics.median(times)
    figures[f"{name}_p90_ms"] = statistics.quantiles(times, n=10)[-1]
    return figures, transcript


def main() -> None:
    options = common.parser(__doc__).parse_args()
    start = tree()
    figures: dict[str, Any] = {"lines": sum(data.count(b"\n") for data in start.values())}
    for name in SERVERS:
        edits = states(start, (10 if options.quick else 40) * (4 if name == "ruff" else 1))
        found, transcript = measure(name, start, edits)
        figures |= found
        if name == "ruff":
            judge = Judge(transcript.replays())
            judge.start(start)
            began = time.perf_counter()
            for files in edits:
                judge.measure(files)
            figures["replay_ms"] = 1e3 * (time.perf_counter() - began) / len(edits)
    figures = {key: round(value, 2) for key, value in figures.items()}
    for key, value in figures.items():
        print(f"{key:<24}{value:>10}")
    common.finish("lsp", figures, options)


if __name__ == "__main__":
    main()
