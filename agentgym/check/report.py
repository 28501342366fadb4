"""What a rule is, what it can answer, and how the answers are shown."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from agentgym.check.subject import Subject

__all__ = ["Broken", "NotApplicable", "Report", "Result", "Rule"]

Outcome = Literal["pass", "fail", "not applicable"]


class Broken(Exception):
    """Raised by a rule that does not hold: where, what was expected, what came, what to do."""

    def __init__(self, expected: str, got: str, do: str, *, seed: int | None = None, step: int | None = None) -> None:
        super().__init__(f"expected {expected}, got {got}")
        self.expected, self.got, self.do, self.seed, self.step = expected, got, do, seed, step


class NotApplicable(Exception):
    """Raised by a rule that cannot be judged here; says why."""


@dataclass(frozen=True)
class Rule:
    """One sentence that must hold of every environment, and the function that judges it.

    Attributes:
        id: "topic/what".
        statement: the sentence.
        judge: returns what was looked at, or raises `Broken` or `NotApplicable`.
        after: ids of rules without which this one means nothing; when one fails this one is not applicable.
    """

    id: str
    statement: str
    judge: Callable[[Subject], str]
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Result:
    """A rule's answer. ``evidence`` says what was looked at, why not, or what broke; the rest is filled on failure."""

    rule: str
    statement: str
    outcome: Outcome
    evidence: str
    seed: int | None = None
    step: int | None = None
    expected: str = ""
    got: str = ""
    do: str = ""


@dataclass(frozen=True)
class Report:
    """All answers for one environment."""

    subject: str
    results: tuple[Result, ...]

    @property
    def ok(self) -> bool:
        """No rule failed."""
        return not self.failures

    @property
    def failures(self) -> tuple[Result, ...]:
        """The rules that do not hold."""
        return tuple(result for result in self.results if result.outcome == "fail")

    @property
    def failed(self) -> set[str]:
        """Their ids."""
        return {result.rule for result in self.failures}

    def __getitem__(self, rule: str) -> Result:
        for result in self.results:
            if result.rule == rule:
                return result
        raise KeyError(f"no rule {rule!r}; there are {[result.rule for result in self.results]}")

    def to_json(self) -> dict[str, Any]:
        """Plain data for ``--json``."""
        return {"environment": self.subject, "ok": self.ok, "rules": [asdict(result) for result in self.results]}

    def print(self, console: Console) -> None:
        """One line per rule; below a failed one what was expected, what came and what to do."""
        counts = {kind: sum(r.outcome == kind for r in self.results) for kind in ("pass", "fail", "not applicable")}
        summary = ", ".join(f"{n} {kind}" for kind, n in counts.items() if n)
        console.print(Text(self.subject, style="bold"), Text(summary), highlight=False)
        style = {"pass": "green", "fail": "bold red", "not applicable": "yellow"}
        width = max(len(result.rule) for result in self.results)
        for result in self.results:
            line = Text("  ").append(f"{result.outcome:<14}", style=style[result.outcome])
            line.append(f"  {result.rule:<{width}}  {result.statement}").append(f"  ({result.evidence})", style="dim")
            console.print(line, highlight=False, soft_wrap=True)
            if result.outcome == "fail":
                where = ", ".join(
                    f"{k} {v}" for k, v in (("seed", result.seed), ("step", result.step)) if v is not None
                )
                for label, text in (
                    ("where", where),
                    ("expected", result.expected),
                    ("got", result.got),
                    ("do", result.do),
                ):
                    if text:
                        console.print(Text(f"{'':16}  {label:<8}  {text}"), highlight=False, soft_wrap=True)

    def __str__(self) -> str:
        console = Console(width=120, color_system=None)
        with console.capture() as capture:
            self.print(console)
        return capture.get()
