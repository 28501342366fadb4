"""The state of a repository under repair, as tasks see it, and what of a patch can be told by looking at it."""

from __future__ import annotations

import ast
import difflib
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentgym.envs.swe.faults import spans
from agentgym.envs.swe.grading import Patch
from agentgym.envs.swe.instance import Instance, Region

__all__ = ["Looked", "RepoState", "Shown", "digests", "look_at", "ranges"]

Shown = Mapping[str, tuple[tuple[int, int], ...]]
"""Path -> ranges of lines (1-based, both included) that the agent has been shown, as the files were then."""


@dataclass(frozen=True)
class Looked:
    """What a patch is, without running anything.

    Attributes:
        coverage: share of the faulty regions that it touches.
        function: it touches every function (or file, outside of functions) that has a faulty region.
        parses: it changes something, and every Python file it changes parses.
    """

    coverage: float = 0.0
    function: bool = False
    parses: bool = False


@dataclass(frozen=True)
class RepoState:
    """A repository and what is known of it.

    Attributes:
        instance_id: what is being repaired.
        changed: path -> digest of the content now, for files that differ from the start; '' where the file is gone.
        shown: what the agent has been shown of the files.
        results: id -> outcome, as the agent was last shown them.
        outside: path -> mark, of files outside the repository that were not there at the start.
        reproduced: the agent has seen the failure.
        looked: what the patch is.
        fail_to_pass: share of the FAIL_TO_PASS that passes; groups: whether each group passes.
        pass_to_pass: share of the PASS_TO_PASS that passes.
        reach: how far the failing tests get beyond where they got at the start, in [0, 1].
        submitted: it was handed in. solved: and all is well.
    """

    instance_id: str = ""
    changed: Mapping[str, str] = field(default_factory=dict)
    shown: Shown = field(default_factory=dict)
    results: Mapping[str, str] = field(default_factory=dict)
    outside: Mapping[str, str] = field(default_factory=dict)
    reproduced: bool = False
    looked: Looked = field(default_factory=Looked)
    fail_to_pass: float = 0.0
    groups: tuple[bool, ...] = ()
    pass_to_pass: float = 1.0
    reach: float = 0.0
    submitted: bool = False
    solved: bool = False


def digests(patch: Patch) -> dict[str, str]:
    """Path -> digest of the content; '' for a file that is gone."""
    return {path: "" if data is None else hashlib.sha256(data).hexdigest()[:32] for path, data in sorted(patch.items())}


def look_at(instance: Instance, base: Mapping[str, bytes], patch: Patch) -> Looked:
    """What a patch of `base` is, without running anything."""
    touched = {region: _touches(region, base.get(region.path, b""), patch) for region in instance.faulty}
    functions: dict[tuple[str, str], bool] = {}
    for region, (_, function) in touched.items():
        key = (region.path, region.function)
        functions[key] = functions.get(key, False) or function
    return Looked(
        coverage=sum(lines for lines, _ in touched.values()) / len(touched),
        function=all(functions.values()),
        parses=bool(patch) and all(_parses(data) for path, data in patch.items() if path.endswith(".py") and data),
    )


def ranges(lines: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Numbers as ranges, in order."""
    found: list[tuple[int, int]] = []
    for line in sorted(set(lines)):
        if found and line == found[-1][1] + 1:
            found[-1] = (found[-1][0], line)
        else:
            found.append((line, line))
    return tuple(found)


def _touches(region: Region, before: bytes, patch: Patch) -> tuple[bool, bool]:
    """Whether a patch changes the region's lines, and anything in its function."""
    after = patch.get(region.path, before)
    if after is None or after == before:
        return False, False
    old, new = (data.decode("utf-8", "replace") for data in (before, after))
    # Long files: equal beginnings and ends say enough, and a full comparison of hostile ones takes minutes.
    a, b = old.splitlines(), new.splitlines()
    head = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
    tail = next(
        (k for k, (x, y) in enumerate(zip(a[head:][::-1], b[head:][::-1], strict=False)) if x != y),
        min(len(a), len(b)) - head,
    )
    a, b = a[head : len(a) - tail], b[head : len(b) - tail]
    if len(a) * len(b) > 250_000:
        changed = [(head + 1, head + max(1, len(a)))]
    else:
        codes = difflib.SequenceMatcher(a=a, b=b, autojunk=False).get_opcodes()
        changed = [(head + i + 1, head + max(i + 1, j)) for tag, i, j, _, _ in codes if tag != "equal"]
    first, last = spans(old).get(region.function, (1, len(old) + 1))
    return (
        any(i <= region.last and region.first <= j for i, j in changed),
        any(i <= last and first <= j for i, j in changed),
    )


def _parses(data: bytes) -> bool:
    try:
        ast.parse(data)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True
