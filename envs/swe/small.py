"""Instances of the sources that come with the package: the small families and the hand-written bugs."""

from __future__ import annotations

import difflib
from functools import cache, lru_cache

from agentgym.envs.swe.bugs import BUGS
from agentgym.envs.swe.bugs.fails import FAILS
from agentgym.envs.swe.families import make
from agentgym.envs.swe.faults import function_at
from agentgym.envs.swe.instance import Instance, Region
from agentgym.envs.swe.tree import Files
from agentgym.envs.swe.values import values_of

__all__ = ["bug", "regions", "smoke"]


@lru_cache(4096)
def smoke(family: str, seed: int) -> Instance:
    """The instance of a family by number.

    Raises:
        KeyError: no such family.
    """
    small = make(family, seed)
    path, test = f"{small.module}.py", f"test_{small.module}.py"
    hidden = f"test_hidden_{small.module}.py"
    return Instance(
        instance_id=f"smoke-{family}-{seed}",
        source="smoke",
        statement=small.statement,
        tree=Files({path: small.wrong.encode(), test: small.visible.encode()}),
        tests={hidden: small.hidden.encode()},
        fail_to_pass=tuple(f"{hidden}::{name}" for name in small.fail_to_pass),
        pass_to_pass=tuple(f"{hidden}::{name}" for name in small.pass_to_pass),
        gold={path: small.right.encode()},
        faulty=(Region(path, small.fault.line, small.fault.line, small.fault.function),),
        visible=(test,),
        seconds=20.0,
        values=tuple(v for values in values_of(hidden, small.hidden).values() for v in values),
        runner="plain",
        split="held_out" if small.part == "held-out" else "train",
        about={"family": family, "fault": small.fault.kind},
    )


@cache
def bug(name: str) -> Instance:
    """A hand-written bug as an instance.

    Raises:
        KeyError: no such bug.
    """
    found = BUGS[name]
    path, test, hidden = f"{name}.py", f"test_{name}.py", f"test_hidden_{name}.py"
    values = values_of(hidden, found.hidden)
    fails = tuple(f"{hidden}::{each}" for each in FAILS[name])
    return Instance(
        instance_id=f"bug-{name}",
        source="bugs",
        statement=found.statement,
        tree=Files({path: found.source.encode(), test: found.visible.encode()}),
        tests={hidden: found.hidden.encode()},
        fail_to_pass=fails,
        pass_to_pass=tuple(test for test in values if test not in fails),
        gold={path: found.repaired.encode()},
        faulty=regions(path, found.source, found.repaired),
        visible=(test,),
        seconds=30.0,
        values=tuple(v for each in values.values() for v in each),
        split="held_out",
    )


def regions(path: str, wrong: str, right: str) -> tuple[Region, ...]:
    """What a repair changes, in lines of the faulty text."""
    before = wrong.splitlines()
    found = []
    for tag, first, last, _, _ in difflib.SequenceMatcher(a=before, b=right.splitlines(), autojunk=False).get_opcodes():
        if tag != "equal":
            line = min(first + 1, max(1, len(before)))
            found.append(Region(path, line, max(line, last), function_at(wrong, line)))
    return tuple(found)
