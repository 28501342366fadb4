"""What a user installs: one top-level package, with every file of the rooms in it, the same from checkout and sdist."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from tests.house.checkout import ROOMS, ROOT, project_files

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def build(kind: str, source: Path, out: Path) -> Path:
    """Run the build front end in `source`, offline, with the build tools of this environment."""
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", f"--{kind}", "--outdir", str(out), str(source)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (artefact,) = out.iterdir()
    return artefact


def contents(wheel: Path) -> dict[str, str]:
    """Path in the wheel -> digest; without RECORD, which only repeats the others."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if not name.endswith(("/", "/RECORD"))]
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in names}


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], dict[str, str]]:
    """Contents of the wheel built from the checkout, and of the one built from its sdist."""
    tmp = tmp_path_factory.mktemp("build")
    source = tmp / "source"
    for file in project_files():
        if file.parts[0] in ("tests", "benchmarks", "docs", "examples"):
            continue
        target = source / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, target, follow_symlinks=False)
    direct = build("wheel", source, tmp / "direct")
    archive = build("sdist", source, tmp / "sdist")
    with tarfile.open(archive) as packed:
        packed.extractall(tmp / "unpacked", filter="data")
    (unpacked,) = (tmp / "unpacked").iterdir()
    return contents(direct), contents(build("wheel", unpacked, tmp / "indirect"))


def test_the_wheel_has_one_top_level_package(wheels: tuple[dict[str, str], dict[str, str]]) -> None:
    tops = {name.split("/")[0] for name in wheels[0]}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"agentgym"}
    assert {name.split("/")[1] for name in wheels[0] if name.startswith("agentgym/")} >= {*ROOMS, "py.typed"}


def test_no_file_of_the_package_is_left_behind(wheels: tuple[dict[str, str], dict[str, str]]) -> None:
    """A page, a style sheet or an image recipe that setuptools does not know by its ending would be missing."""
    wanted = set()
    for file in project_files():
        if file.parts[0] in ("agentgym", *ROOMS) and (ROOT / file).is_file() and not (ROOT / file).is_symlink():
            wanted.add(str(file if file.parts[0] == "agentgym" else "agentgym" / file))
    missing = sorted(wanted - set(wheels[0]))
    assert not missing, f"add their ending to [tool.setuptools.package-data] in pyproject.toml: {missing}"


def test_the_sdist_builds_the_same_wheel(wheels: tuple[dict[str, str], dict[str, str]]) -> None:
    direct, indirect = wheels
    assert indirect == direct
