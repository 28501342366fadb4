"""``agentgym doctor``."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from agentgym.cli._output import print_json, progress, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UnknownName, UsageError

if TYPE_CHECKING:
    from agentgym.containers.probes import Finding

_PYTHON = ((3, 11), (3, 13))
_GIB = 1 << 30


@dataclass(frozen=True)
class Part:
    """One thing a machine may have: what was found, and how to get it where it lacks.

    ``missing`` parts are optional; ``broken`` ones are the core, without which nothing works.
    """

    part: str
    status: Literal["ok", "missing", "broken"]
    found: str
    fix: str = ""


@dataclass(frozen=True)
class Command:
    """Say what this machine has and lacks, with the fix. Exit code 0 unless the core is broken.

    --sandbox attacks the sandboxes instead: every probe runs against every back-end that is here, each with a control
    that shows in the same run that the attack would otherwise work. Exit code 0 when all that can be bounded is.

    Example:
      agentgym doctor
      agentgym doctor --sandbox --backend bubblewrap
    """

    sandbox: Flag = False
    """Run the escape and abuse probes against the sandboxes."""
    backend: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --sandbox: only this back-end, docker or bubblewrap (again for both)."""
    probe: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """With --sandbox: only this probe (again for more)."""
    image: str = "agentgym/sandbox"
    """With --sandbox: Docker's image."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        if self.sandbox:
            return self._sandbox()
        if self.backend or self.probe:
            raise UsageError("--backend and --probe belong to `agentgym doctor --sandbox`")
        return self._parts()

    def _sandbox(self) -> int:
        from agentgym.containers import BACKENDS, backends, new_sandbox
        from agentgym.containers.probes import LIMITS, PROBES, run_probes

        for kind, given, known in (("back-end", self.backend, BACKENDS), ("probe", self.probe, PROBES)):
            for name in given:
                if name not in known:
                    raise UnknownName(kind, name, known, ", ".join(known) if kind == "back-end" else "")
        found: list[Finding] = []
        here = [b for b in backends() if b.name in (self.backend or BACKENDS)]
        if all(b.refusal for b in here):
            raise UsageError("no sandbox can be made here: " + "; ".join(b.refusal for b in here))
        for backend in here:
            if backend.refusal:
                continue
            with progress(f"attacking {backend.name}") as tick:
                make = functools.partial(new_sandbox, backend.name, image=self.image, limits=LIMITS)
                found += run_probes(make, self.probe, backend.unbounded, tick)
        broken = sum(finding.status == "BROKEN" for finding in found)
        if self.json:
            print_json(
                {
                    "ok": not broken,
                    "backends": [asdict(b) for b in here],
                    "probes": [asdict(finding) for finding in found],
                }
            )
            return 1 if broken else 0
        rows = [(f.backend, f.id, f.status, f.what, f.words if f.status != "held" else "") for f in found]
        table(("back-end", "probe", "", "attack: to ...", "seen"), rows)
        print()
        for backend in here:
            mine = [f.status for f in found if f.backend == backend.name]
            counts = ", ".join(f"{mine.count(status)} {status}" for status in dict.fromkeys(mine))
            print(f"{backend.name}: {backend.refusal or counts}")
            for sentence in backend.cannot_limit:
                print(f"  cannot bound: {sentence}")
        return 1 if broken else 0

    def _parts(self) -> int:
        parts: list[Part] = []
        with progress("looking around") as tick:
            for k, look in enumerate(LOOKS, 1):
                parts += look()
                tick(k, len(LOOKS))
        ok = not any(p.status == "broken" for p in parts)
        if self.json:
            print_json({"ok": ok, "parts": [asdict(p) for p in parts]})
        else:
            table(("", "part", "found", "fix"), [(_MARKS[p.status], p.part, p.found, p.fix) for p in parts])
            missing = sum(p.status == "missing" for p in parts)
            print("\nThe core is broken." if not ok else f"\nThe core works; {missing} optional parts are missing.")
        return 0 if ok else 1


_MARKS = {"ok": "ok", "missing": "--", "broken": "!!"}


def python() -> Iterator[Part]:
    """The interpreter."""
    low, high = _PYTHON
    found = ".".join(map(str, sys.version_info[:3]))
    if low <= sys.version_info[:2] <= high:
        yield Part("Python", "ok", found)
    else:
        fix = f"use Python {low[0]}.{low[1]} to {high[0]}.{high[1]}: make PYTHON=python3.11 quickstart"
        yield Part("Python", "broken", found, fix)


def packages() -> Iterator[Part]:
    """The package itself, what it needs, and what each extra needs: imported for real, since files may be damaged."""
    try:
        wanted = importlib.metadata.requires("agentgym") or []
    except importlib.metadata.PackageNotFoundError:
        yield Part(
            "agentgym", "broken", "not installed, so no environment is registered", "pip install -e . (in the checkout)"
        )
        return
    yield Part("agentgym", "ok", importlib.metadata.version("agentgym"))
    needed: dict[str, list[str]] = {}
    for line in wanted:
        match = re.match(r"([\w.-]+)[^;]*(?:;\s*extra\s*==\s*[\"'](\w+)[\"'])?$", line.replace("[", " ["))
        if match and match[1] != "agentgym" and match[2] not in ("all", "dev"):
            needed.setdefault(match[1], []).append(match[2] or "")
    for package, extras in needed.items():
        core = "" in extras
        name = package if core else f"{package} ({', '.join(extras)})"
        try:
            importlib.import_module(package.replace("-", "_"))
        except (ImportError, OSError) as error:
            # A module that is not there says so in one word; a damaged one says why.
            absent = isinstance(error, ModuleNotFoundError) and error.name == package.replace("-", "_")
            fix = "pip install -e ." if core else f'pip install -e ".[{extras[0]}]"'
            found = "not installed" if absent else f"does not import: {str(error).splitlines()[0]}"
            yield Part(name, "broken" if core else "missing", found, f"{fix} (in the checkout)")
        else:
            yield Part(name, "ok", importlib.metadata.version(package))


def accelerator() -> Iterator[Part]:
    """A GPU that torch can use."""
    try:
        import torch
    except (ImportError, OSError):
        return
    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(k) for k in range(torch.cuda.device_count())]
        yield Part("CUDA", "ok", f"{torch.version.cuda}: {', '.join(names)}")
    else:
        built = (
            f"this torch is built for CUDA {torch.version.cuda}"
            if torch.version.cuda
            else "this torch is built without"
        )
        yield Part("CUDA", "missing", f"no GPU to use; {built}", "not needed for small models")


def programs() -> Iterator[Part]:
    """Programs that the web, GUI and SWE families drive."""
    from agentgym.envs.web.chromium import find_chromium

    try:
        browser: str | None = find_chromium()
    except UsageError:
        browser = None
    fix = "apt-get install chromium-headless-shell (or chromium)"
    yield _program("Chromium", browser and [browser, "--version"], fix, prefix=f"{browser}: ")
    docker = shutil.which("docker")
    if docker is None:
        yield Part("Docker", "missing", "no docker command", "install Docker Engine, for the SWE family")
    else:
        fix = "start the engine (as root: dockerd &), and let this user reach it"
        yield _program("Docker", [docker, "version", "--format", "engine {{.Server.Version}}"], fix)
    # Installed is not enough: a kernel may forbid unprivileged namespaces.
    bwrap = shutil.which("bwrap")
    test = bwrap and [bwrap, "--ro-bind", "/", "/", "--unshare-all", bwrap, "--version"]
    yield _program("bubblewrap", test, "apt-get install bubblewrap; allow unprivileged user namespaces")
    xvfb = shutil.which("Xvfb")
    status: Literal["ok", "missing"] = "ok" if xvfb else "missing"
    yield Part("Xvfb", status, xvfb or "not installed", "" if xvfb else "apt-get install xvfb, for the GUI family")


def _program(part: str, command: Sequence[str] | None, fix: str, prefix: str = "") -> Part:
    """Whether a program is there and runs: what it says is its version."""
    if not command:
        return Part(part, "missing", "not installed", fix)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Part(part, "missing", f"{command[0]} does not answer: {error}", fix)
    if done.returncode:
        return Part(part, "missing", f"{command[0]} fails: {_last_line(done.stderr or done.stdout)}", fix)
    return Part(part, "ok", prefix + _last_line(done.stdout))


def _last_line(text: str) -> str:
    return (text.strip() or "(no output)").splitlines()[-1]


def machine() -> Iterator[Part]:
    """Cores, memory, disk, and whether runs can be stored here."""
    yield Part("cores", "ok", str(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()))
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / _GIB
    yield Part("memory", "ok", f"{total:.1f} GiB")
    free = shutil.disk_usage(Path.cwd()).free / _GIB
    yield Part("disk", "ok" if free >= 1 else "missing", f"{free:.1f} GiB free", "" if free >= 1 else "free some space")
    runs = Path("runs")
    folder = runs if runs.is_dir() else Path.cwd()
    try:
        with tempfile.TemporaryFile(dir=folder):
            yield Part("runs/", "ok", "can be written")
    except OSError as error:
        yield Part(
            "runs/", "missing", f"cannot be written: {error.strerror}", "work in a folder of yours, or give --out"
        )


LOOKS: tuple[Callable[[], Iterator[Part]], ...] = (python, packages, accelerator, programs, machine)


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "doctor", words).run()
