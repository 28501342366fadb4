"""Sandboxes: what a step costs, a fresh sandbox, and bringing files back; peers measured in the same run.

All take turns, a few steps each, so that whatever else the machine does falls on all alike. The peers (the docker SDK's
``exec_run``, mini-swe-agent's Docker environment, SWE-ReX's ``execute``) are installed into an environment of their own
(``--peers DIR`` keeps it for the next time).

Figures, in milliseconds: ``true_ms_*`` a step that runs ``true`` (median; ``*_quiet`` is the tenth percentile, near
what an idle machine shows); ``vs_*`` the peer's median divided by ours in Docker (above 1: ours is faster);
``fresh_ms_*`` a new sandbox up to the end of its first step; ``restore_ms`` bringing back 300 files of which 10 have
changed and 20 are new (the slower back-end). ``cpu_ms_*`` is the processor time that a step costs this process.
``step_ms`` is a whole step of ``SWE-Smoke-v0``, signals included, that edits nothing (``bash``, ``read`` and ``find``
in turn; the slower back-end); ``edit_step_ms`` what a step that edits takes beyond the time that the affected tests run
in the grading sandbox, and ``edit_tests_ms`` that time.

Bars: true <= 6 on both; vs_exec_run and vs_mini >= 10, vs_swerex_execute >= 1; fresh <= 250 (Docker) and <= 60
(bubblewrap); restore <= 30; step <= 25; edit_step <= 50.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import common

from agentgym.containers import BACKENDS, new_sandbox
from agentgym.containers.docker import IMAGE
from agentgym.envs.swe.actions import call
from agentgym.envs.swe.make import smoke_env
from agentgym.envs.swe.world import RepoWorld

PEERS = ("exec_run", "mini", "swerex_execute")
PACKAGES = ("mini-swe-agent==2.4.6", "swe-rex==1.4.0")
# What the parts used here import; the rest (model clients, terminals) is left out.
NEEDED = ("aiohttp", "bashlex", "docker", "fastapi", "jinja2", "pexpect", "platformdirs", "pydantic", "python-dotenv")
NEEDED += ("python-multipart", "pyyaml", "requests", "rich", "uvicorn")
STEPS = 8  # in one turn


class Peer:
    """A peer in a process of its own, asked for some steps at a time."""

    def __init__(self, python: Path, name: str) -> None:
        script = Path(__file__).parent / "peers" / "sandbox.py"
        self.process = subprocess.Popen(
            [str(python), str(script), name, IMAGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.name = name
        self._line("ready")

    def _line(self, beginning: str) -> str:
        """The next line that begins so: a peer may print others."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(beginning):
                return line
        raise SystemExit(f"the peer {self.name} ended with exit code {self.process.wait()} before it answered")

    def steps(self, n: int) -> list[float]:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{n}\n")
        self.process.stdin.flush()
        answer: list[float] = json.loads(self._line("["))
        return answer

    def close(self) -> None:
        self.process.communicate()


def install(folder: Path) -> Path:
    """An environment with the peers; its interpreter."""
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {', '.join(PACKAGES)}", file=sys.stderr)
        venv.create(folder, with_pip=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "--no-deps", *PACKAGES], check=True)
        subprocess.run([*pip, *NEEDED], check=True, stderr=subprocess.DEVNULL)  # it warns of what is left out
    return python


def timed(n: int, step: Callable[[], Any]) -> list[float]:
    taken = []
    for _ in range(n):
        started = time.perf_counter()
        step()
        taken.append(1e3 * (time.perf_counter() - started))
    return taken


def tenth(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=10)[0]


def measure_steps(rounds: int, python: Path) -> dict[str, float]:
    boxes = {name: new_sandbox(name).start() for name in BACKENDS}
    peers: dict[str, Peer] = {}
    try:
        for name in PEERS:
            peers[name] = Peer(python, name)
        taken: dict[str, list[float]] = {name: [] for name in (*BACKENDS, *PEERS)}
        spent = dict.fromkeys(BACKENDS, 0.0)
        for _ in range(rounds):
            for name, box in boxes.items():
                before = time.process_time()
                taken[name] += timed(STEPS, lambda box=box: box.exec("true"))  # type: ignore[misc]
                spent[name] += 1e3 * (time.process_time() - before)
            for name, peer in peers.items():
                taken[name] += peer.steps(STEPS)
    finally:
        for peer in peers.values():
            peer.close()
        for box in boxes.values():
            box.close()
    median = {name: statistics.median(values) for name, values in taken.items()}
    quiet = {name: tenth(values) for name, values in taken.items()}
    figures: dict[str, float] = {}
    for name, short in (("docker", "docker"), ("bubblewrap", "bwrap")):
        figures[f"true_ms_{short}"] = median[name]
        figures[f"true_ms_{short}_quiet"] = quiet[name]
        figures[f"cpu_ms_{short}"] = spent[name] / len(taken[name])
    for name in PEERS:
        figures[f"{name}_ms"] = median[name]
        figures[f"vs_{name}"] = median[name] / median["docker"]
        figures[f"vs_{name}_quiet"] = quiet[name] / quiet["docker"]
    return figures


def measure_fresh(rounds: int) -> dict[str, float]:
    taken: dict[str, list[float]] = {"docker": [], "bwrap": []}
    for _ in range(rounds):
        for name, short in (("docker", "docker"), ("bubblewrap", "bwrap")):
            box = new_sandbox(name)
            taken[short] += timed(1, lambda box=box: box.start().exec("true"))  # type: ignore[misc]
            box.close()
    figures = {f"fresh_ms_{short}": statistics.median(values) for short, values in taken.items()}
    return figures | {f"fresh_ms_{short}_quiet": tenth(values) for short, values in taken.items()}


def measure_restore(rounds: int) -> dict[str, float]:
    files = {f"package{k % 10}/module{k}.py": (f"def f{k}():\n    return {k}\n" * 40).encode() for k in range(300)}
    change = (
        "for i in $(seq 0 9); do echo '# x' >> package$i/module$i.py; done; for i in $(seq 20); do echo > new$i; done"
    )
    figures: dict[str, float] = {}
    boxes = {short: new_sandbox(name).start() for name, short in (("docker", "docker"), ("bubblewrap", "bwrap"))}
    taken: dict[str, list[float]] = {short: [] for short in boxes}
    try:
        kept = {}
        for short, box in boxes.items():
            box.put_many(files)
            kept[short] = box.snapshot()
        for _ in range(rounds):
            for short, box in boxes.items():
                assert box.exec(change).ok
                taken[short] += timed(1, lambda box=box, short=short: box.restore(kept[short]))  # type: ignore[misc]
    finally:
        for box in boxes.values():
            box.close()
    for short, values in taken.items():
        figures[f"restore_ms_{short}"] = statistics.median(values)
        figures[f"restore_ms_{short}_quiet"] = tenth(values)
    figures["restore_ms"] = max(figures["restore_ms_docker"], figures["restore_ms_bwrap"])
    return figures


def measure_world(rounds: int) -> dict[str, float]:
    """Steps of the SWE world, the back-ends taking turns; the first episode of each warms up."""
    envs = {short: smoke_env(backend=name) for name, short in (("docker", "docker"), ("bubblewrap", "bwrap"))}
    plain: dict[str, list[float]] = {short: [] for short in envs}
    beyond: dict[str, list[float]] = {short: [] for short in envs}
    tests: dict[str, list[float]] = {short: [] for short in envs}
    try:
        for seed in range(rounds + 1):
            for short, env in envs.items():
                env.reset(seed=seed)
                assert isinstance(env.world, RepoWorld)
                instance, grader = env.world.instance, env.world.grader
                path = instance.faulty[0].path
                looks = (("bash", {"command": f"cat {path}"}), ("read", {"path": path}), ("find", {"text": "def "}))
                taken = [timed(1, partial(env.step, call(tool, **args)))[0] for tool, args in looks]
                grader.check(instance, {})  # what the start makes of the tests is known, as in every later step
                right = instance.gold[path]
                edits = [("def ", "# a comment\ndef "), ("# a comment\ndef ", "def ")]
                assert right is not None
                edits.append((instance.tree.files()[path].decode(), right.decode()))
                for search, replace in edits:
                    before = grader.seconds
                    action = call("edit", path=path, search=search, replace=replace)
                    (whole,) = timed(1, partial(env.step, action))
                    ran = 1e3 * (grader.seconds - before)
                    if seed and ran:
                        beyond[short].append(whole - ran)
                        tests[short].append(ran)
                plain[short] += taken if seed else []
    finally:
        for env in envs.values():
            env.close()
    figures: dict[str, float] = {}
    for key, values in (("step_ms", plain), ("edit_step_ms", beyond), ("edit_tests_ms", tests)):
        for short, each in values.items():
            figures[f"{key}_{short}"], figures[f"{key}_{short}_quiet"] = statistics.median(each), tenth(each)
        figures[key] = max(figures[f"{key}_{short}"] for short in values)
    return figures


def main() -> None:
    made = common.parser(__doc__ or "")
    made.add_argument("--peers", type=Path, help="folder of the peers' environment; made where it is not there")
    options = made.parse_args()
    rounds = 6 if options.quick else 40
    with tempfile.TemporaryDirectory(prefix="agentgym-peers-") as folder:
        figures = measure_steps(rounds, install(options.peers or Path(folder)))
    figures |= measure_fresh(rounds)
    figures |= measure_restore(rounds)
    figures |= measure_world(max(3, rounds // 2))
    figures = {key: round(value, 3) for key, value in figures.items()}
    for key, value in figures.items():
        print(f"{key:28} {value}")
    common.finish("sandbox", figures, options)


if __name__ == "__main__":
    main()
