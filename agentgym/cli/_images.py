"""``agentgym images``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import tyro

from agentgym.cli._output import print_json, require, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError


@dataclass(frozen=True)
class Command:
    """List, build or fetch the images that sandboxes run in.

    build: makes agentgym/NAME from the recipes in containers/images. Where no registry is reachable, the base
    debian:bookworm-slim is made by debootstrap (about two minutes, once) and imported under that name.

    pull: fetches prebuilt instance images from a registry and makes agentgym/instance-... of them; --workdir names the
    folder that sandboxes shall work in.

    Example:
      agentgym images
      agentgym images build sandbox
      agentgym images pull registry.example.org/swe/instance:1 --workdir /testbed
    """

    what: tyro.conf.Positional[Literal["list", "build", "pull"]] = "list"
    """What to do."""
    names: tyro.conf.Positional[tuple[str, ...]] = ()
    """build: recipes (none for all); pull: images."""
    workdir: str = ""
    """pull: the folder of the image that sandboxes work in."""
    mirror: str = ""
    """build: Debian mirror for a base made by debootstrap."""
    torch_index: str = ""
    """build: index with PyTorch's CPU wheels for the image train, where pip finds none by itself."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        require("docker", "swe")
        from agentgym.containers import images

        if self.workdir and self.what != "pull":
            raise UsageError("--workdir belongs to `agentgym images pull`")
        for option in ("mirror", "torch_index"):
            if getattr(self, option) and self.what != "build":
                raise UsageError(f"--{option.replace('_', '-')} belongs to `agentgym images build`")
        if self.what == "build":
            made = images.build(self.names, mirror=self.mirror, torch_index=self.torch_index, say=_say)
        elif self.what == "pull":
            if not self.names:
                raise UsageError("say which image to pull: agentgym images pull REGISTRY/NAME:TAG")
            made = [images.pull(name, workdir=self.workdir, say=_say) for name in self.names]
        else:
            return self._list()
        print_json({"made": made}) if self.json else print("made " + ", ".join(made))
        return 0

    def _list(self) -> int:
        from agentgym.containers import images

        rows = [(f"agentgym/{name}", images.here(f"agentgym/{name}")) for name in images.RECIPES]
        if self.json:
            print_json([{"image": image, "here": present} for image, present in rows])
        else:
            table(("image", "here"), rows)
        return 0


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "images", words).run()
