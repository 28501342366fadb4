"""Recipes of images, and how they are built or fetched.

A recipe is a folder here with an ordinary Dockerfile; recipe NAME becomes the image ``agentgym/NAME``. Where no
registry is reachable, the base ``debian:bookworm-slim`` is made by debootstrap and imported under that name: the
same Dockerfiles build there.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import agentgym
from agentgym.containers.docker import client, engine_errors
from agentgym.errors import UnknownName, UsageError

__all__ = ["BASE", "RECIPES", "SEED", "build", "ensure_base", "here", "pull"]

_PYTHON = (3, 11)
BASE = "debian:bookworm-slim"
SEED = "/agentgym-seed"
"""Where a pulled image keeps what its working folder held: `new_sandbox(seed=SEED)` copies it back at the start."""
_FOLDER = Path(__file__).parent
RECIPES: tuple[str, ...] = ("sandbox", "swe", "serve", "train")
"""What can be built."""
_STANDS_ON = {"swe": ("sandbox",)}
_EXTRAS = {"serve": "grid,serve", "train": "train,serve"}
"""Recipes that hold this project itself, with these extras, from wheels that are fetched here: no package index is
reachable from inside a build."""
_SKIPPED = ("./proc/*", "./sys/*", "./dev/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./var/log/*")

Say = Callable[[str], object]


def here(image: str) -> bool:
    """Whether the engine has an image."""
    import docker.errors

    with engine_errors():
        try:
            client().inspect_image(image)
        except docker.errors.ImageNotFound:
            return False
    return True


def build(names: Iterable[str] = (), *, mirror: str = "", torch_index: str = "", say: Say = print) -> list[str]:
    """Build recipes and what they stand on; returns the images.

    Args:
        names: recipes; all when empty.
        mirror: Debian mirror, for a base made by debootstrap; its own default when empty.
        torch_index: index with PyTorch's CPU wheels, for ``train``; pip's own settings decide when empty.
        say: told in a sentence what is going on.

    Raises:
        UnknownName: no such recipe.
        UsageError: a step of the recipe failed; says the end of its output.
        WorldError: no engine answers.
    """
    chosen = list(names) or list(RECIPES)
    for name in chosen:
        if name not in RECIPES:
            raise UnknownName("image recipe", name, RECIPES, ", ".join(RECIPES))
    api = client()
    ensure_base(mirror=mirror, say=say)
    made = []
    needed = {below for name in chosen for below in _STANDS_ON.get(name, ())}
    for name in RECIPES:
        image = f"agentgym/{name}"
        if name in chosen or (name in needed and not here(image)):
            say(f"building {image}")
            if name in _EXTRAS:
                with tempfile.TemporaryDirectory(prefix="agentgym-build-") as folder:
                    shutil.copy(_FOLDER / name / "Dockerfile", folder)
                    _wheels(_EXTRAS[name], Path(folder), torch_index, say)
                    _build(api, path=folder, tag=image)
            else:
                _build(api, path=str(_FOLDER / name), tag=image)
            made.append(image)
    return made


def _wheels(extras: str, folder: Path, index: str, say: Say) -> None:
    """This project's wheel into ``own``, those of all it needs into ``wheels``, for the images' Python (Debian 12)."""
    checkout = Path(agentgym.__file__).parents[1]
    if not (checkout / "constraints.txt").exists():
        raise UsageError(
            "images that hold agentgym itself are built from a checkout of it, not from an installed wheel"
        )
    if sys.version_info[:2] != _PYTHON:
        raise UsageError("this image has Python {}.{}: build it with the same".format(*_PYTHON))
    say("fetching wheels")
    wheels, own = folder / "wheels", folder / "own"
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet", "--wheel-dir", str(wheels)]
    pip += ["--extra-index-url", index] if index else []
    _run([*pip, "--constraint", str(checkout / "constraints.txt"), f"{checkout}[{extras}]"])
    own.mkdir()
    for wheel in wheels.glob("agentgym-*.whl"):
        wheel.rename(own / wheel.name)


def ensure_base(*, mirror: str = "", say: Say = print) -> None:
    """Have `BASE`: as it is, pulled, or made by debootstrap.

    Raises:
        UsageError: none of the three works; says why.
    """
    import docker.errors
    import requests

    if here(BASE):
        return
    api = client()
    repository, _, tag = BASE.partition(":")
    try:
        api.pull(repository, tag=tag)
        say(f"pulled {BASE}")
        return
    except (docker.errors.APIError, requests.RequestException) as error:
        why = " ".join(str(getattr(error, "explanation", error)).split())[:200]
    say(f"{BASE} cannot be pulled ({why}); making it with debootstrap, which takes about two minutes")
    if not shutil.which("debootstrap") or os.getuid() != 0:
        raise UsageError(
            f"{BASE} cannot be pulled ({why}), and to make it debootstrap must be installed and run by root "
            "(apt-get install debootstrap)"
        )
    with tempfile.TemporaryDirectory(prefix="agentgym-base-") as folder:
        root = Path(folder, "root")
        _run(["debootstrap", "--variant=minbase", "bookworm", str(root), *filter(None, [mirror])])
        left_out = [f"--exclude={pattern}" for pattern in _SKIPPED]
        words = ["tar", "-C", str(root), *left_out, "-c", "."]
        with subprocess.Popen(words, stdout=subprocess.PIPE) as tar, engine_errors():
            api.import_image_from_stream(tar.stdout, repository=repository, tag=tag)
        if tar.returncode:
            raise UsageError(f"tar failed with exit code {tar.returncode} on what debootstrap made")
    if not here(BASE):
        raise UsageError(f"the engine imported {BASE} and does not have it; see its log")


def pull(reference: str, *, workdir: str = "", say: Say = print) -> str:
    """Fetch an image from a registry and make it one for sandboxes.

    Args:
        reference: as for ``docker pull``, for example ``registry.example.org/team/instance:tag``.
        workdir: a folder of the image that a sandbox works in (``/testbed``). What it holds is moved to `SEED`, because
            a sandbox has an empty, sized file system there.
        say: told in a sentence what is going on.

    Returns:
        the image's name.

    Raises:
        UsageError: there is no such image, or no python3 in it.
        WorldError: no engine answers.
    """
    import docker.errors

    api = client()
    repository, _, tag = reference.rpartition(":")
    if not repository or "/" in tag:
        repository, tag = reference, "latest"
    say(f"pulling {repository}:{tag}")
    with engine_errors():
        try:
            api.pull(repository, tag=tag)
        except docker.errors.NotFound as error:
            raise UsageError(f"no registry has {repository}:{tag}: {error.explanation}") from error
    slug = re.sub(r"[^a-z0-9._-]+", "-", f"{repository.rpartition('/')[2]}-{tag}".lower()).strip("-._")
    image = f"agentgym/instance-{slug}"
    lines = [f"FROM {repository}:{tag}", "USER root", "RUN python3 --version"]
    if workdir:
        # In JSON form: no shell reads the folder's name.
        lines += [f"RUN {json.dumps(['mv', workdir, SEED])}", f"RUN {json.dumps(['mkdir', '-p', workdir])}"]
        lines += [f"RUN {json.dumps(['chmod', '-R', 'a+rX', SEED])}"]
    with tempfile.TemporaryDirectory(prefix="agentgym-pull-") as folder:
        Path(folder, "Dockerfile").write_text("\n".join(lines) + "\n")
        _build(api, path=folder, tag=image)
    say(f"made {image}")
    return image


def _build(api: Any, **options: Any) -> None:
    said: list[str] = []
    with engine_errors():
        # The host's network: an engine may have none of its own, and the recipe needs a mirror.
        for line in api.build(decode=True, rm=True, forcerm=True, network_mode="host", **options):
            said.append(line.get("stream", ""))
            if "error" in line:
                tail = " ".join("".join(said).split())[-600:]
                raise UsageError(f"image {options['tag']} does not build: {line['error']}; it ended with: {tail}")


def _run(words: list[str]) -> None:
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode:
        tail = " ".join((done.stdout + done.stderr).split())[-400:]
        raise UsageError(f"{words[0]} failed with exit code {done.returncode}: {tail}")
