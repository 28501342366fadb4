"""Recipes: a whole chain by name, from process record to advantage.

>>> from agentgym.rewards import recipe
>>> advantages = recipe("gigpo").advantages(steps)  # doctest: +SKIP
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards.combine import columns_of as rule_columns
from agentgym.rewards.combine import rule
from agentgym.rewards.credit import method
from agentgym.rewards.models.companions import Companion, Surroundings, companion
from agentgym.rewards.terms import columns_of as term_columns
from agentgym.rewards.terms import term
from agentgym.steps import STEP_COLUMNS, StepTable

__all__ = ["Recipe", "Term"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """A term in a recipe: its name in `agentgym.rewards.terms.TERMS`, weight and options.

    ``label`` tells terms of one name apart, and is what rules that name terms call it; '' is the name.
    """

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)
    label: str = ""

    @property
    def key(self) -> str:
        """What a rule calls its column."""
        return self.label or self.name

    def __str__(self) -> str:
        label = f"{self.label}=" if self.label else ""
        return f"{self.weight:g} * {label}{_call(self.name, self.options)}"


@dataclass(frozen=True)
class Recipe:
    """A chain terms -> combine -> credit, checked when it is made.

    Attributes:
        name: of the recipe.
        terms: what a step earns; each label once. Empty: the credit method reads its own columns.
        credit: the credit method, a name in `agentgym.rewards.credit.METHODS`.
        credit_options: for its ``assign``.
        score: what a trajectory earns, for methods that score trajectories: the sum of these terms over its steps.
            Empty: the sum of the step rewards.
        combine: the rule that joins the terms, a name in `agentgym.rewards.combine.RULES`.
        combine_options: for that rule.
        companion: the model that learns beside the policy and writes columns that the chain reads, a name in
            `agentgym.rewards.models.companions.COMPANIONS`; '' where there is none.
        companion_options: for it.
        source: papers or "ours".
        note: a sentence on what to expect.

    Raises:
        UnknownName: a term, rule, method, companion or option that does not exist.
        UsageError: the parts do not fit together.
    """

    name: str
    terms: tuple[Term, ...]
    credit: str
    credit_options: Mapping[str, Any] = field(default_factory=dict)
    score: tuple[Term, ...] = ()
    combine: str = "weighted"
    combine_options: Mapping[str, Any] = field(default_factory=dict)
    companion: str = ""
    companion_options: Mapping[str, Any] = field(default_factory=dict)
    source: str = "ours"
    note: str = ""

    def __post_init__(self) -> None:
        keys = [t.key for t in self.terms]
        if len(set(keys)) != len(keys):
            raise UsageError(f"recipe {self.name!r} needs each term once, got {keys}; tell them apart by labels")
        for t in (*self.terms, *self.score):
            _check_options(f"term {t.name!r}", term(t.name), t.options)
        _check_options(f"combination rule {self.combine!r}", rule(self.combine).combine, self.combine_options)
        _check_options(f"credit method {self.credit!r}", method(self.credit).assign, self.credit_options)
        if self.score and not method(self.credit).scores_trajectories:
            raise UsageError(f"recipe {self.name!r} has score terms, but {self.credit!r} does not score trajectories")
        if self.companion:
            what = f"companion {self.companion!r}"
            _check_options(what, companion(self.companion).build, self.companion_options)
        elif self.companion_options:
            raise UsageError(f"recipe {self.name!r} has companion options, but no companion")
        if self.companion == "blend" and (self.combine != "blended" or self.needs_critic):
            raise UsageError(f"recipe {self.name!r}: the companion 'blend' goes with 'blended' and without a critic")

    @property
    def needs_groups(self) -> bool:
        """It compares rollouts of one task: collect several per task."""
        return method(self.credit).needs_groups or rule(self.combine).needs_groups

    @property
    def needs_critic(self) -> bool:
        """`advantages` takes ``critic_values``."""
        return method(self.credit).needs_critic

    @property
    def stepwise(self) -> bool:
        """Its step reward can be told as each step comes, without the rest of the trajectory or the group."""
        return bool(self.terms) and rule(self.combine).stepwise

    @property
    def reads(self) -> tuple[str, ...]:
        """Extra columns of the table that the chain reads, those of its companion included."""
        found = [c for t in (*self.terms, *self.score) for c in term_columns(t.name, t.options)]
        found += rule_columns(self.combine, self.combine_options, [t.key for t in self.terms])
        chosen = method(self.credit)
        found += () if self.terms else chosen.columns
        given = {**(chosen.assign.__kwdefaults__ or {}), **self.credit_options}
        found += [given[name] for name in chosen.names if isinstance(given.get(name), str)]
        return tuple(c for c in dict.fromkeys(found) if c not in STEP_COLUMNS)

    @property
    def needs(self) -> tuple[str, ...]:
        """Extra columns that must be there before: what the chain and its companion read and the companion does not
        write."""
        if not self.companion:
            return self.reads
        kind = companion(self.companion)
        writes = set(kind.writes)
        if self.companion == "blend":
            writes |= set(rule_columns(self.combine, self.combine_options, [t.key for t in self.terms]))
        given = {**_defaults(kind.build), **self.companion_options}
        asked = [c for name in kind.names for c in given[name] if c not in STEP_COLUMNS]
        return tuple(c for c in dict.fromkeys((*asked, *self.reads)) if c not in writes)

    def rule_option(self, name: str) -> Any:
        """The value of an option of the combination rule, given or by default."""
        return {**(rule(self.combine).combine.__kwdefaults__ or {}), **self.combine_options}[name]

    def step_rewards(self, steps: StepTable) -> Float:
        """float64[n] (float64[n, terms] for the rule "stack"): terms, combined.

        Raises:
            UsageError: the recipe has no terms.
        """
        if not self.terms:
            raise UsageError(f"recipe {self.name!r} has no terms: {self.credit!r} reads its own columns")
        return rule(self.combine).combine(steps, self._columns(steps), **self.combine_options)

    def _columns(self, steps: StepTable) -> dict[str, Float]:
        """Weights belong to the terms; each rule is given columns that already have them."""
        return {t.key: t.weight * term(t.name)(steps, **t.options) for t in self.terms}

    def trajectory_scores(self, steps: StepTable) -> Float | None:
        """float64[k] in the order of ``steps.starts``; None where the recipe leaves it to the sum of step rewards."""
        if not self.score:
            return None
        total = np.zeros(len(steps))
        for t in self.score:
            total += t.weight * term(t.name)(steps, **t.options)
        return np.add.reduceat(total, steps.starts) if len(steps) else np.zeros(0)

    def advantages(
        self,
        steps: StepTable,
        critic_values: npt.ArrayLike | None = None,
        *,
        last_values: npt.ArrayLike | None = None,
    ) -> Float:
        """The whole chain.

        Args:
            steps: n rows, k trajectories that have steps.
            critic_values: float[n], a critic's value of the state before every step; only where `needs_critic`.
            last_values: float[k], its value of the state after every trajectory's last step.

        Returns:
            float64[n].

        Raises:
            UsageError: critic values are missing, or given to a recipe without a critic.
            ValueError: what the credit method refuses.
        """
        options = dict(self.credit_options)
        if self.needs_critic:
            if critic_values is None:
                raise UsageError(
                    f"recipe {self.name!r} needs `critic_values`, one per step; give them or choose 'gigpo'"
                )
            options |= {"values": critic_values, "last_values": last_values}
        elif critic_values is not None or last_values is not None:
            raise UsageError(f"recipe {self.name!r} has no critic; leave out `critic_values`, or choose 'ppo'")
        score = self.trajectory_scores(steps)
        if score is not None:
            options["score"] = score
        return method(self.credit).assign(steps, self.step_rewards(steps) if self.terms else None, **options)

    def advantages_apart(self, steps: StepTable) -> dict[str, Float]:
        """By term, float64[n]: the advantages if that term were the whole reward.

        Raises:
            UsageError: the recipe needs a critic, whose values are of all terms together.
            ValueError: what the credit method refuses.
        """
        if self.needs_critic:
            raise UsageError(f"recipe {self.name!r} needs a critic, whose values are of all its terms together")
        assign = method(self.credit).assign
        return {key: assign(steps, column, **self.credit_options) for key, column in self._columns(steps).items()}

    def build_companion(self, around: Surroundings, **options: Any) -> Companion | None:
        """The model that learns beside the policy, before it has learnt anything; None where the recipe has none.

        Args:
            around: what the training loop has to say.
            options: override the recipe's.

        Raises:
            UnknownName: an option it does not take.
            UsageError: something it needs is missing.
        """
        if not self.companion:
            if options:
                raise UsageError(f"recipe {self.name!r} has no companion that could take {sorted(options)}")
            return None
        build = companion(self.companion).build
        _check_options(f"companion {self.companion!r}", build, options)
        return build(self, around, **{**self.companion_options, **options})

    def to_json(self) -> dict[str, Any]:
        """A dict of JSON values; the inverse of `from_json`."""
        return {
            "name": self.name,
            "terms": [_term_to_json(t) for t in self.terms],
            "score": [_term_to_json(t) for t in self.score],
            "combine": self.combine,
            "combine_options": dict(self.combine_options),
            "credit": self.credit,
            "credit_options": dict(self.credit_options),
            "companion": self.companion,
            "companion_options": dict(self.companion_options),
            "source": self.source,
            "note": self.note,
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recipe:
        """A recipe from what `to_json` gave.

        Raises:
            UsageError: a key is missing or unknown.
        """
        unknown = set(data) - set(cls.__dataclass_fields__)
        missing = {"name", "terms", "credit"} - set(data)
        if unknown or missing:
            raise UsageError(
                f"a recipe has the keys {list(cls.__dataclass_fields__)}; "
                f"unknown: {sorted(unknown)}, missing: {sorted(missing)}"
            )
        fields = dict(data)
        for key in ("terms", "score"):
            fields[key] = tuple(Term(**t) for t in data.get(key, ()))
        return cls(**fields)

    def __str__(self) -> str:
        lines = [f"recipe {self.name}"]
        if self.terms:
            lines.append("  step reward   " + " + ".join(map(str, self.terms)))
        if self.combine != "weighted" or self.combine_options:
            lines.append(f"  combined by   {_call(self.combine, self.combine_options)}")
        if self.score:
            lines.append("  score         " + " + ".join(map(str, self.score)))
        lines.append(f"  credit        {_call(self.credit, self.credit_options)}")
        if self.companion:
            lines.append(f"  companion     {_call(self.companion, self.companion_options)}")
        if self.needs:
            lines.append(f"  needs         {', '.join(self.needs)}")
        lines.append(f"  source        {self.source}")
        if self.note:
            lines.append(f"  note          {self.note}")
        return "\n".join(lines)


def _call(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else name


def _term_to_json(t: Term) -> dict[str, Any]:
    return {"name": t.name, "weight": t.weight, "options": dict(t.options)} | ({"label": t.label} if t.label else {})


def _defaults(function: Any) -> dict[str, Any]:
    """Defaults of the keyword-only options of a function or class."""
    known = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in known if p.kind is p.KEYWORD_ONLY}


def _check_options(what: str, function: Any, options: Mapping[str, Any]) -> None:
    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {what}", option, known, f"it takes {known}")
