"""What the quickstart says on a terminal: what it is doing, how far it is, and the result as a table."""

from __future__ import annotations

from concurrent.futures import Future, TimeoutError
from pathlib import Path
from typing import Any

import rich.console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from agentgym.agents.train.config import TrainConfig
from agentgym.runs import Run

__all__ = ["Console"]


class Console:
    """Progress and results for people; with ``quiet`` nothing at all."""

    def __init__(self, quiet: bool = False) -> None:
        self.console = rich.console.Console(quiet=quiet, highlight=False)
        self._bars = Progress(
            TextColumn("{task.description:<28}"),
            BarColumn(bar_width=28),
            TextColumn("{task.completed:>3.0f}/{task.total:<3.0f}"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[words]}"),
            console=self.console,
            transient=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._plain = not self.console.is_terminal
        self._last: dict[str, int] = {}
        self._said = ("", 0, "")

    def intro(self, config: TrainConfig) -> None:
        """What is about to happen, in four lines."""
        self.console.print(
            f"[bold]{config.env}[/bold], seen as text, learned by a small language model.\n"
            f"{config.demos} demonstrations show how to reach [bold]{config.demo_until}[/bold] and stop there.\n"
            f"Then two copies train for {config.updates} updates of {config.groups} layouts x {config.group_size} "
            f"rollouts: one on process rewards, one on outcomes alone.\n"
            f"Tests use {config.test_episodes} layouts that were held out."
        )

    def progress(self, phase: str, done: int, total: int, words: str) -> None:
        """How far a phase is; a bar on a terminal, a line now and then elsewhere."""
        if self._plain:
            if (phase, done, words) == self._said:
                return
            self._said = (phase, done, words)
            if done == total or done - self._last.get(phase, -total) >= max(1, total // 5):
                self._last[phase] = done if done < total else -total
                self.console.print(f"{phase}: {done}/{total} {words}")
            return
        if phase not in self._tasks or self._bars.tasks[self._tasks[phase]].finished:
            self._tasks[phase] = self._bars.add_task(phase, total=total or None, words="")
            self._bars.start()
        self._bars.update(self._tasks[phase], completed=done, words=words)

    def wait(self, future: Future[Any], folder: Path, total: int) -> None:
        """Follow the other arm by its stored metrics until it is done."""
        while True:
            done = 0
            if (folder / "run.json").exists():
                done = sum(m.get("phase") == "train" for m in Run.open(folder).metrics())
            self.progress("training outcomes only", done, total, "in a second process")
            try:
                future.result(timeout=1.0)
            except TimeoutError:
                if future.done():
                    raise
                continue
            self.progress("training outcomes only", total, total, "done")
            return

    def results(self, summary: dict[str, Any], report: Path) -> None:
        """The table, and where to look next."""
        self._bars.stop()
        table = Table(title=f"Success on {summary['test_layouts']} held-out layouts", title_justify="left")
        table.add_column("policy")
        table.add_column("success", justify="right")
        table.add_column("95 % interval", justify="right")
        for key, name in (
            ("success_before", "after the demonstrations"),
            ("contrast_after", "then trained on outcomes alone"),
            ("success_after", "then trained on process rewards"),
            ("greedy_after", "the same, acting greedily"),
        ):
            low, high = summary["intervals"][key]
            table.add_row(name, f"{summary[key]:.3f}", f"{low:.3f} to {high:.3f}")
        table.add_section()
        low, high = summary["intervals"]["contrast_difference"]
        value = summary["contrast_difference"]
        table.add_row("process rewards minus outcomes", f"{value:+.3f}", f"{low:+.3f} to {high:+.3f}")
        self.console.print(table)
        self.console.print("The difference is taken layout by layout; its interval is a bootstrap over the layouts.")
        self.console.print(
            f"Training took {summary['train_cpu_seconds']:.0f} CPU-seconds; {summary['updates_skipped']} of "
            f"{summary['updates']} updates had no gradient ({summary['contrast_updates_skipped']} on outcomes alone)."
        )
        self.console.print(f"Open the report: [bold]{report}[/bold]", soft_wrap=True)
