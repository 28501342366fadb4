"""The parts of `agentgym bench learning`, and what each is printed as."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from agentgym.agents.evaluate.learning import plans
from agentgym.agents.evaluate.learning.claims import CLAIMS
from agentgym.agents.evaluate.learning.study import Plan, Runner, Study
from agentgym.agents.evaluate.learning.summary import Summary, summary, verdict

__all__ = ["PARTS", "parts", "tables", "verdicts"]

PARTS = ("small", "claims", "transformer")
"""Eight assigners with a small network; what papers claim; four recipes with a transformer."""


def parts(only: Collection[str] = (), *, quick: bool = False) -> list[tuple[str, Plan, Runner]]:
    """(name, plan, runner) of some parts; () for all. ``quick`` has one, of its own."""
    if quick:
        return [("small", plans.QUICK, plans.quick_runner())]
    small = plans.SmallRunner()
    found: list[tuple[str, Plan, Runner]] = [("small", plans.SMALL, small), ("claims", plans.CLAIMED, small)]
    if not only or "transformer" in only:
        from agentgym.agents.evaluate.learning import transformer

        found.append(("transformer", transformer.TRANSFORMER, transformer.TransformerRunner()))
    return [part for part in found if not only or part[0] in only]


def tables(study: Study) -> list[Summary]:
    """All tasks together, then, where there are several, each that has a complete seed."""
    together = summary(study)
    if len(together.tasks) == 1:
        return [together]
    return [together, *(summary(study, tasks=[task]) for task in together.tasks)]


def verdicts(table: Summary) -> list[dict[str, Any]]:
    """Every claim with what was found of it."""
    rows = {row.arm: row for row in table.rows}
    said = []
    for claim in CLAIMS:
        row = rows.get(claim.arm)
        what = f"cannot be asked here: {claim.why}" if row is None else verdict(row)
        said.append({**vars(claim), "verdict": what, **({} if row is None else row.as_dict())})
    return said
