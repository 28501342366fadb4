"""Source distributions from the package index: fetched once, checked, never built.

An archive is data from strangers. It is read, not unpacked to disk: `agentgym.envs.swe.tree.TarFile` takes regular
files whose paths stay inside, leaves out links and devices, and refuses what is too large. No code of a package runs
outside a sandbox, not even its build back-end.
"""

from __future__ import annotations

import email.parser
import hashlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from agentgym.envs.swe.tree import TarFile
from agentgym.errors import UsageError
from agentgym.files import disk, replace

__all__ = ["Sdist", "cache", "fetch"]

MAX_ARCHIVE = 64 << 20
"""Bytes of a compressed archive."""
MAX_UNPACKED = 512 << 20
"""Bytes it may grow to."""
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,98}[A-Za-z0-9])?")
_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]{0,60}")
_TESTS = ("tests", "test")


def cache() -> Path:
    """Where fetched archives and built instances lie: ``swe`` in ``~/.cache/agentgym``, or in ``$AGENTGYM_CACHE``."""
    return Path(os.environ.get("AGENTGYM_CACHE") or Path.home() / ".cache" / "agentgym") / "swe"


@dataclass(frozen=True)
class Sdist:
    """One source distribution.

    Attributes:
        name, version: as on the index.
        path: the archive.
        sha256: of the archive.
    """

    name: str
    version: str
    path: Path
    sha256: str

    @cached_property
    def tree(self) -> TarFile:
        """Its files, without the archive's top folder."""
        return TarFile.of(self.path, strip=1)

    @property
    def files(self) -> Mapping[str, bytes]:
        """Path -> content."""
        return self.tree.files()

    @cached_property
    def root(self) -> str:
        """The folder imports start from: ``src``, ``lib`` or ``.``.

        Raises:
            UsageError: it holds no package or module of its name.
        """
        for folder in (".", "src", "lib"):
            if self._modules(folder):
                return folder
        raise UsageError(
            f"{self.name} {self.version}: its archive holds no package or module that could be {self.name!r} "
            "(looked at the top, in src and in lib)"
        )

    @cached_property
    def code(self) -> dict[str, bytes]:
        """The files of what is imported, tests inside the package left out."""
        tops = self._modules(self.root)
        return {
            path: data
            for path, data in self.files.items()
            if any(path == top or path.startswith(f"{top}/") for top in tops)
            and not set(path.split("/")[:-1]) & set(_TESTS)
        }

    @cached_property
    def tests(self) -> dict[str, bytes]:
        """The files of the test folder, under its name.

        Raises:
            UsageError: there is none.
        """
        for folder in _TESTS:
            found = {path: data for path, data in self.files.items() if path.startswith(f"{folder}/")}
            if any(re.search(r"(^|/)(test_[^/]*|[^/]*_test)\.py$", path) for path in found):
                return found
        raise UsageError(f"{self.name} {self.version}: its archive holds no folder of tests ({' or '.join(_TESTS)})")

    @cached_property
    def licence(self) -> str:
        """What it says of its licence, in a few words; '' where it says nothing."""
        head = email.parser.BytesParser().parsebytes(self.files.get("PKG-INFO", b""), headersonly=True)
        trove = [c.rpartition(" :: ")[2] for c in head.get_all("Classifier", []) if c.startswith("License ::")]
        return str(head.get("License-Expression") or ", ".join(trove) or head.get("License") or "").split("\n")[0][:100]

    def _modules(self, folder: str) -> list[str]:
        prefix = "" if folder == "." else f"{folder}/"
        plain = re.sub(r"[-.]", "_", self.name).lower()
        names = {plain, plain.removeprefix("python_"), plain.removesuffix("_python")}
        found = []
        for path in self.files:
            top, slash, rest = path.removeprefix(prefix).partition("/")
            module = rest == "__init__.py" if slash else top.endswith(".py")
            if module and path.startswith(prefix) and top.removesuffix(".py").lower() in names:
                found.append(prefix + top)
        return found


def fetch(name: str, version: str = "", *, sha256: str = "", folder: Path | None = None) -> Sdist:
    """A source distribution, from the cache or by pip's means from the package index.

    Args:
        name: of the package.
        version: the newest when ''.
        sha256: what the archive must be; '' takes what the index says.
        folder: where archives lie; ``sdists`` in `cache` when None.

    Raises:
        UsageError: there is none, the index cannot be reached, or the archive is not what it should be.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"expected the name of a package such as 'sqlparse', got {name[:100]!r}")
    if version and not _VERSION.fullmatch(version):
        raise UsageError(f"{name}: expected a version such as '0.5.1', got {version[:100]!r}")
    folder = cache() / "sdists" if folder is None else folder
    known = folder / f"{name.lower()}-{version}.tar.gz"
    if version and known.is_file():
        return _checked(Sdist(name, version, known, hashlib.sha256(known.read_bytes()).hexdigest()), sha256)
    filename, data = _download(name, version)
    version = version or _version(name, filename)
    made = Sdist(name, version, folder / f"{name.lower()}-{version}.tar.gz", hashlib.sha256(data).hexdigest())
    _bounded(made, data)
    _checked(made, sha256)
    with disk("write", made.path):
        folder.mkdir(parents=True, exist_ok=True)
        replace(made.path, data)
    return made


def _checked(made: Sdist, sha256: str) -> Sdist:
    if sha256 and made.sha256 != sha256:
        raise UsageError(
            f"the archive of {made.name} {made.version} has SHA-256 {made.sha256}, expected {sha256}; "
            f"delete {made.path} if it is there, and look at what the package index offers"
        )
    return made


def _bounded(made: Sdist, data: bytes) -> None:
    """Refuse an archive that is no gzip file or grows beyond all bounds, before anything reads it whole."""
    unpack, size, rest = zlib.decompressobj(31), 0, data
    try:
        while rest:
            size += len(unpack.decompress(rest, 1 << 20))
            rest = unpack.unconsumed_tail
            if size > MAX_UNPACKED:
                raise UsageError(f"the archive of {made.name} {made.version} grows beyond {MAX_UNPACKED} bytes")
    except zlib.error as error:
        raise UsageError(f"the archive of {made.name} {made.version} is no gzip file: {error}") from None


def _download(name: str, version: str) -> tuple[str, bytes]:
    what = f"{name} {version}".strip()
    if importlib.util.find_spec("pip") is not None:
        python = sys.executable
    elif (found := _other_python()) is not None:
        python = found
    else:
        raise UsageError(f"{what} is fetched by pip, which is not here; `python -m ensurepip` installs it")
    script = Path(__file__).with_name("fetch_sdist.py")
    words = [python, "-I", str(script), name, version, str(MAX_ARCHIVE)]
    try:
        done = subprocess.run(words, capture_output=True, timeout=300)
    except subprocess.TimeoutExpired:
        raise UsageError(f"{what}: the package index did not answer within 300 seconds") from None
    head, _, data = done.stdout.partition(b"\n")
    if done.returncode or not head:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise UsageError(f"{what} cannot be fetched from the package index: {said[-1][:300] if said else 'no answer'}")
    answer = json.loads(head)
    if "missing" in answer:
        raise UsageError(
            f"{what} cannot be fetched: {answer['missing']}; `pip index versions {name}` lists what there is"
        )
    if not str(answer["file"]).endswith((".tar.gz", ".tgz")):
        raise UsageError(f"{what}: expected an archive .tar.gz, the package index has {answer['file']}")
    if answer["hash"]:
        kind, digest = answer["hash"]
        if kind not in hashlib.algorithms_guaranteed or hashlib.new(kind, data).hexdigest() != digest:
            raise UsageError(f"{what}: the archive arrived damaged: its {kind} is not what the package index says")
    return str(answer["file"]), data


def _other_python() -> str | None:
    """Another interpreter with pip, where this environment was made without."""
    base = Path(sys.base_prefix) / "bin" / "python3"
    words = [str(base), "-I", "-c", "import pip"]
    if base.exists() and not subprocess.run(words, capture_output=True, timeout=60).returncode:
        return str(base)
    return None


def _version(name: str, filename: str) -> str:
    stem = re.sub(r"\.(tar\.gz|tgz)$", "", filename)
    return stem[len(name) + 1 :]
