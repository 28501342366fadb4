"""``agentgym bench``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import tyro

from agentgym.cli._output import from_here, known, print_json, progress, require, table
from agentgym.cli._parse import Flag, parse
from agentgym.errors import UsageError

if TYPE_CHECKING:
    from agentgym.agents.evaluate.learning import Summary
    from agentgym.rewards.audit import CreditStudy, Setting, SignalReport


ESTIMABLE = (
    "htd",
    "gtdp",
    "progress-gae",
    "calibrated-progress",
    "progress-difference",
    "gtd",
    "propagation",
    "gigpo+difference(z_scored=True)",
    "hgpo",
    "gigpo",
    "rloo",
)
"""What --monte-carlo shows unless told otherwise: what needs neither a critic nor the truth."""


@dataclass(frozen=True)
class Command:
    """Measure whether credit and signals tell the truth, and whether what does learns faster.

    credit: gradients of credit assigners against the exact policy gradient, on tasks enumerated from the environments
    (their own two grids and a corridor, or the ids given). An assigner is named by: a credit method with options, as in
    "gtdp(kappa=1)", a recipe, or module:function of your own. --monte-carlo is for worlds too large to enumerate.

    signals: progress, danger, anchors and shaped rewards of the ids given against what is true of the task.

    learning: eight assigners with a small network, four recipes with a transformer, and the claims of papers: area
    under the success curve over ten paired seeds, and differences to GRPO. Every run is kept in --out, so that a study
    which was killed goes on; in full it takes about half an hour of CPU time.

    Example:
      agentgym bench credit --quick
      agentgym bench learning --quick
      agentgym bench credit agentgym/Grid-DoorKey-6x6-v0 --assigner gtdp --assigner gigpo
      agentgym bench signals agentgym/Grid-DoorKey-5x5-v0
    """

    what: tyro.conf.Positional[Literal["credit", "signals", "learning"]]
    """What to measure."""
    ids: tyro.conf.Positional[tuple[str, ...]] = ()
    """Environment ids (credit: none for the built-in settings)."""
    assigner: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Credit: measure these (again for more) instead of the standard list."""
    quick: Flag = False
    """Fewer rollouts."""
    full: Flag = False
    """Credit: four success rates, diluted anchors, and progress that is noisy, misleading or missing."""
    held_out: Flag = False
    """Credit: on the grids that nothing was tuned on."""
    monte_carlo: Flag = False
    """Credit: measure the ids against advantages estimated by continuing from snapshots (large or random worlds)."""
    epsilon: float | None = None
    """How often the oracle that plays is replaced by a random action; unless given, so that half the rollouts fail."""
    recipe: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """Signals: try this recipe's step reward for farming, too (again for more)."""
    seed: int = 0
    """Of the task in the ids given; signals: the first of five."""
    env_kwargs: dict[str, Any] = field(default_factory=dict)
    """Arguments of gymnasium.make for the ids given, e.g. max_steps=40."""
    part: tyro.conf.UseAppendAction[tuple[Literal["small", "claims", "transformer"], ...]] = ()
    """Learning: only this part (again for more)."""
    out: Path = Path("runs/learning")
    """Learning: where runs are kept."""
    json: Flag = False
    """Print JSON."""

    def run(self) -> int:
        if self.what == "learning":
            return self._learning()
        if self.what == "signals":
            return self._signals()
        return self._credit()

    def _credit(self) -> int:
        from agentgym.rewards import audit

        if self.recipe:
            raise UsageError("--recipe belongs to `agentgym bench signals`; here a recipe is an --assigner")
        if self.ids and self.held_out:
            raise UsageError("--held-out names its own environments; leave out the ids")
        from_here()
        if self.monte_carlo:
            return self._estimated()
        names = self.assigner or audit.STANDARD
        measured = [audit.named(name) for name in dict.fromkeys(("rloo", *names))]
        settings = self._settings()
        with progress("settings") as tick:
            found = audit.study(
                settings, measured, batches=4 if self.quick else 8, alone=1 if self.quick else 2, tick=tick
            )
        print_json(_figures(found)) if self.json else _show(found)
        return 0

    def _estimated(self) -> int:
        from agentgym.rewards import audit

        if not self.ids or self.full or self.held_out:
            raise UsageError("--monte-carlo measures the ids given, without --full and --held-out; give an id")
        measured = [audit.named(name) for name in self.assigner or ESTIMABLE]
        found: list[dict[str, Any]] = []
        for id in self.ids:
            epsilon = self.epsilon
            if epsilon is None:
                epsilon = audit.tuned_epsilon(known(id), task_seed=self.seed, kwargs=self.env_kwargs)
            with progress(id) as tick:
                truth = audit.monte_carlo_advantages(
                    known(id),
                    audit.explorer(epsilon),
                    task_seed=self.seed,
                    kwargs=self.env_kwargs,
                    points=24 if self.quick else 64,
                    continuations=64 if self.quick else 256,
                    tick=tick,
                )
            rows = []
            for each in measured:
                row = audit.monte_carlo_fidelity(truth, each)
                agreed = row.pop("spearman")
                rows.append(
                    {"assigner": each.name, "spearman": agreed.value, "low": agreed.low, "high": agreed.high, **row}
                )
            success = float(truth.steps.outcome.mean())
            found.append(
                {
                    "env": id,
                    "epsilon": epsilon,
                    "success": success,
                    "reliability": truth.reliability,
                    "assigners": rows,
                }
            )
        if self.json:
            print_json(found)
            return 0
        for one in found:
            table(
                ("assigner", "Spearman", "from", "to", "sign", "certain steps"),
                [list(row.values()) for row in one["assigners"]],
                title=f"{one['env']}: agreement with Monte-Carlo advantages (epsilon {one['epsilon']:.2f}, "
                f"success {one['success']:.2f}, reliability {one['reliability']:.2f})",
            )
        return 0

    def _settings(self) -> list[Setting]:
        from agentgym.rewards import audit

        worlds: Sequence[audit.World]
        if self.ids:
            worlds = [audit.world_of(known(id), self.seed, kwargs=self.env_kwargs) for id in self.ids]
        elif self.held_out:
            worlds = audit.HELD_OUT
        else:
            worlds = audit.DEVELOPMENT if self.full else audit.DEVELOPMENT[:3]
        return audit.dilution_and_progress(worlds) if self.full else audit.quick(worlds)

    def _signals(self) -> int:
        from agentgym.rewards import audit, recipe

        if not self.ids:
            raise UsageError("say whose signals to measure: agentgym bench signals ID...; `agentgym envs` lists ids")
        if self.assigner or self.full or self.held_out or self.monte_carlo:
            raise UsageError("--assigner, --full, --held-out and --monte-carlo belong to `agentgym bench credit`")
        recipes = [recipe(name) for name in self.recipe]
        seeds = range(self.seed, self.seed + (2 if self.quick else 5))
        found = []
        with progress("environments") as tick:
            for k, id in enumerate(self.ids):
                found.append(audit.signal_report(known(id), seeds=seeds, kwargs=self.env_kwargs, recipes=recipes))
                tick(k + 1, len(self.ids))
        if self.json:
            print_json([report.as_dict() for report in found])
        else:
            for report in found:
                _show_signals(report)
        return 0

    def _learning(self) -> int:
        if self.ids or self.assigner or self.recipe or self.full or self.held_out or self.monte_carlo:
            raise UsageError(
                "agentgym bench learning has its own tasks and arms: it takes --quick, --part, --out and --json alone"
            )
        for package in ("torch", "minigrid"):
            require(package, "train" if package == "torch" else "grid")
        from agentgym.agents.evaluate.learning import run
        from agentgym.agents.evaluate.learning.parts import parts, tables, verdicts

        found: dict[str, Any] = {}
        for name, plan, runner in parts(self.part, quick=self.quick):
            with progress(f"runs of {name}") as tick:
                study = run(plan, runner, self.out / plan.name, tick=tick)
            shown = tables(study)
            found[name] = {"tables": [one.as_dict() for one in shown]}
            if name == "claims":
                found[name]["claims"] = verdicts(shown[0])
            if not self.json:
                _show_learning(name, shown, found[name].get("claims", []))
        if self.json:
            print_json(found)
        return 0


def _show_learning(name: str, shown: Sequence[Summary], claims: Sequence[Mapping[str, Any]]) -> None:
    keys = {"arm": "arm", "lr": "rate", "iqm": "area, IQM", "low": "from", "high": "to", "final": "at the end"}
    keys |= {"difference": "- reference", "difference_low": "from", "difference_high": "to", "p_holm": "p (Holm)"}
    for one in shown:
        title = f"{name}: area under the success curve, {', '.join(one.tasks)}, {one.pairs} runs an arm"
        table(list(keys.values()), [[row.as_dict()[key] for key in keys] for row in one.rows], title=title)
        print()
    if claims:
        rows = [[c[key] for key in ("recipe", "paper", "claim", "verdict")] for c in claims]
        table(("recipe", "paper", "claim", "here"), rows, title="Claimed gains")
        print()


def _figures(found: CreditStudy) -> dict[str, Any]:
    return {
        "settings": len(found.settings),
        "assigners": found.rows(),
        "contrasts": found.contrasts(),
        "kinds": found.by_kind(),
    }


def _show(found: CreditStudy) -> None:
    heads = {"assigner": "assigner", "reads_progress": "progress", "cos@1": "cos@1", "low": "from", "high": "to"}
    heads |= {name: name for name in ("cos@16", "alone", "mixed")} | {"rollouts": "x rollouts", "spearman": "Spearman"}
    heads |= {name: name for name in ("sign", "noise", "us/row")}
    rows = [[row[key] for key in heads] for row in found.rows()]
    title = f"Cosine with the exact policy gradient, mean over {len(found.settings)} settings, 95 % intervals"
    table(list(heads.values()), rows, title=title)
    contrasts = found.contrasts()
    kinds = found.by_kind()
    if kinds:
        print()
        compared = list(dict.fromkeys(name for c in contrasts for name in (c["a"], c["b"]))) or found.ranking()[:8]
        cells = [[row["kind"], *(row[name] for name in compared)] for row in kinds]
        table(("anchors, progress", *compared), cells, title="cos@1 by dilution of the anchors and quality of progress")
    if contrasts:
        print()
        keys = ("kind", "a", "b", "figure", "difference", "low", "high")
        shown = [[c[key] for key in keys] for c in contrasts]
        table(("settings", "a", "b", "figure", "a - b", "from", "to"), shown, title="Paired differences")


def _show_signals(report: SignalReport) -> None:
    from agentgym.rewards.audit import WRONG

    rows: list[tuple[Any, ...]] = []
    for name, interval in (
        ("progress with success-to-go, Spearman", report.progress_success),
        ("progress with steps left, Spearman", report.progress_distance),
    ):
        rows.append((name, interval.value, interval.low, interval.high))
    rows += [("anchors: met again, and led elsewhere", report.collisions), ("anchors: needless splits", report.splits)]
    for policy, (danger, success) in report.danger.items():
        rows += [(f"{policy}: episodes with danger", danger), (f"{policy}: episodes solved", success)]
    how = report.method + (f": {report.why}" if report.why else "")
    table(("measure", "value", "from", "to"), [(*row, *[None] * (4 - len(row))) for row in rows], report.env)
    print(f"({how})\n")
    if report.farming:
        farmed = [(name, *figures.values()) for name, figures in report.farming.items()]
        columns = (
            "step reward",
            "best loop, a step",
            "best failing",
            "straight to the goal",
            "STARC distance",
        )
        table(columns, farmed, title="Can it be farmed?")
        print()
    for label, curves in report.robustness.items():
        shares = [f"{100 * share:g} %" for share in WRONG]
        what = {"flipped": "outcomes flipped", "spurious": "safe steps called dangerous"}[label]
        table(("assigner", *shares), [(name, *values) for name, values in curves.items()], title=f"cos@1 with {what}")
        print()


def main(words: Sequence[str]) -> int:
    """Run the command."""
    return parse(Command, "bench", words).run()
