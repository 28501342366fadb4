"""SIGKILL at any moment: every shard that can be seen is whole, and the next process goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from agentgym.runs import Run

WRITER = """
import sys
import numpy as np
from agentgym.runs import Run
from agentgym.steps import StepTable

run = Run.create(sys.argv[1], "rollout", {}, exist_ok=True)
k = max(run.finished, default=-1) + 1
print("ready", flush=True)
while True:
    text = np.array([f"step {t} of {k}" * 50 for t in range(200)], dtype=object)
    run.put_blob(str(k).encode())
    run.append(StepTable.from_columns(trajectory=np.full(200, k), outcome=[k], extras={"text": text}), update=k)
    run.log(update=k, padding="x" * 5000)
    print(k, flush=True)
    k += 1
"""


@pytest.mark.slow
def test_a_killed_run_is_readable_and_goes_on(run_folder: Path) -> None:
    rng = np.random.default_rng(0)
    done = -1
    for _ in range(12):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(run_folder)], stdout=subprocess.PIPE, text=True, bufsize=1
        )
        assert process.stdout is not None
        assert process.stdout.readline().strip() == "ready", "the folder that the last kill left can be gone on with"
        wanted = int(rng.integers(1, 4))
        for _ in range(wanted):
            done = int(process.stdout.readline())
        # Somewhere inside the next append: after a random amount of work, not a guessed duration.
        for _ in range(int(rng.integers(0, 3000))):
            os.listdir(run_folder)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()

        run = Run.open(run_folder)
        finished = run.finished
        assert finished >= set(range(done + 1)), "what append has returned for is on the disk"
        assert finished == set(range(len(finished))), "no gap, nothing twice"
        for shard in run.shards:
            steps = shard.steps()
            assert len(steps) == shard.n_steps == 200
            k = int(steps.trajectories.id[0])
            assert steps.extras["text"][7] == f"step 7 of {k}" * 50
            assert shard.tags == {"update": k}
        assert [m["update"] for m in run.metrics()] == sorted({m["update"] for m in run.metrics()})

    run.log(update="last")  # becomes the writer
    assert not [p for p in run_folder.rglob(".*") if p.name != ".lock"], "leftovers are swept away"
