"""What the README and the pages of docs/ show is run as it stands there.

The Python blocks of a page share one namespace and one empty folder; a console block runs its ``$ agentgym`` lines in
that folder. One line above a block decides:

=============================  ====================================================================================
(nothing)                      Python runs; a console block is for reading
``<!-- run -->``               its ``$ agentgym`` lines run and must exit with 0; ``<!-- run: 1 -->`` with 1
``<!-- file: NAME -->``        the block is saved as NAME, for later blocks to import
``<!-- not run: REASON -->``   it does not run, and the reason is shown
=============================  ====================================================================================

``<!-- needs: a sandbox -->`` anywhere in a page skips it (in CI: fails it) where no sandbox can be made;
``<!-- needs: a sandbox with pytest -->`` asks for the image ``agentgym/swe``.
"""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import pytest

from agentgym import registration
from agentgym.cli import main
from agentgym.containers import backends, images
from tests.house.checkout import ROOT

PAGES = sorted(p for p in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")] if p.is_file())
_BLOCK = re.compile(r"(?:^<!-- *(?P<mark>[^\n]*?) *-->\n\n?)?^```(?P<kind>\w+)\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the mark above it, its first line in the page, and its text."""

    kind: str
    mark: str
    line: int
    text: str

    @property
    def commands(self) -> list[str]:
        """The words after ``$ agentgym`` of each such line; a line that ends in a backslash goes on."""
        return re.findall(r"^\$ agentgym +(.*)$", self.text.replace("\\\n", " "), re.MULTILINE)


def blocks(page: str) -> list[Block]:
    """All fenced blocks that name a language."""
    return [
        Block(m["kind"], m["mark"] or "", page.count("\n", 0, m.start("text")) + 1, m["text"])
        for m in _BLOCK.finditer(page)
    ]


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An empty folder to work in; what is imported from it and registered by it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    ids, entries = set(gymnasium.registry), set(registration._entries)
    yield
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]
    for id in set(gymnasium.registry) - ids:
        del gymnasium.registry[id]
    for id in set(registration._entries) - entries:
        del registration._entries[id]


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_every_block_of_the_page_runs(
    page: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], need: Callable[[object, str, str], None]
) -> None:
    namespace: dict[str, Any] = {"__name__": "page"}
    left_out = []
    text = page.read_text(encoding="utf-8")
    if wanted := re.search("<!-- needs: a sandbox( with pytest)? -->", text):
        name = "swe" if wanted[1] else "sandbox"
        first, *others = backends()
        usable = any(not b.refusal for b in others) if first.refusal else images.here(f"agentgym/{name}")
        need(usable, "a sandbox", first.refusal or f"run `agentgym images build {name}`")
    for block in blocks(text):
        verb, _, rest = block.mark.partition(":")
        where = f"{page.relative_to(ROOT)}:{block.line}"
        if verb == "not run":
            assert rest.strip(), f"{where}: say why it does not run"
            left_out.append(f"{where} ({rest.strip()})")
        elif verb == "file":
            (tmp_path / rest.strip()).write_text(block.text, encoding="utf-8")
        elif block.kind == "python":
            # The padding makes a traceback name the page's own line.
            exec(compile("\n" * (block.line - 1) + block.text, str(page), "exec"), namespace)  # noqa: S102  (our pages)
        elif block.kind == "console" and verb == "run":
            assert block.commands, f"{where}: marked to run, but it has no `$ agentgym` line"
            for command in block.commands:
                capsys.readouterr()
                code = main(shlex.split(command, comments=True))
                assert code == int(rest or 0), f"{where}: agentgym {command}: exit code {code}\n{capsys.readouterr()}"
    for one in left_out:
        print("not run:", one)


def test_links_lead_somewhere() -> None:
    lost = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[\w-]*)?\)", page.read_text(encoding="utf-8")):
            if "://" not in target and not (page.parent / target).exists():
                lost.append(f"{page.relative_to(ROOT)}: {target}")
    assert not lost


def test_the_marks_are_read() -> None:
    page = (
        "text\n```python\na = 1\n```\n\n<!-- not run: slow -->\n```python\nb\n```\n"
        "<!-- run: 1 -->\n\n```console\n$ agentgym envs \\\n    nothing\nelse\n$ ls\n```\n"
    )
    first, second, third = blocks(page)
    assert (first.kind, first.mark, first.line, first.text) == ("python", "", 3, "a = 1\n")
    assert (second.mark, second.text) == ("not run: slow", "b\n")
    assert third.mark == "run: 1"
    assert shlex.split(third.commands[0]) == ["envs", "nothing"]
    assert len(third.commands) == 1


def test_the_task_of_the_page_is_the_one_in_examples() -> None:
    page = (ROOT / "docs" / "your-first-task.md").read_text(encoding="utf-8")
    (shown,) = [b.text for b in blocks(page) if b.mark == "file: lamps.py"]
    assert shown == (ROOT / "examples" / "lamps.py").read_text(encoding="utf-8")
