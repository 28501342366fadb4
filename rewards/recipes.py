"""Recipes: a whole chain by name, from process record to advantage.

>>> from agentgym.rewards import recipe
>>> advantages = recipe("gigpo").advantages(steps)  # doctest: +SKIP
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards.combine import rule
from agentgym.rewards.credit import method
from agentgym.rewards.terms import term
from agentgym.steps import StepTable

__all__ = ["Recipe", "Term"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Term:
    """A term in a recipe: its name in `agentgym.rewards.terms.TERMS`, weight and options."""

    name: str
    weight: float = 1.0
    options: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        options = ", ".join(f"{k}={v!r}" for k, v in self.options.items())
        return f"{self.weight:g} * {self.name}" + (f"({options})" if options else "")


@dataclass(frozen=True)
class Recipe:
    """A chain terms -> combine -> credit, checked when it is made.

    Attributes:
        name: of the recipe.
        terms: what a step earns; each name once. Empty: the credit method reads its own columns.
        credit: the credit method, a name in `agentgym.rewards.credit.METHODS`.
        credit_options: for its ``assign``.
        score: what a trajectory earns, for methods that score trajectories: the sum of these terms over its steps.
            Empty: the sum of the step rewards.
        combine: the rule that joins the terms, a name in `agentgym.rewards.combine.RULES`.
        combine_options: for that rule.
        source: papers or "ours".
        note: a sentence on what to expect.

    Raises:
        UnknownName: a term, rule, method or option that does not exist.
        UsageError: the parts do not fit together.
    """

    name: str
    terms: tuple[Term, ...]
    credit: str
    credit_options: Mapping[str, Any] = field(default_factory=dict)
    score: tuple[Term, ...] = ()
    combine: str = "weighted"
    combine_options: Mapping[str, Any] = field(default_factory=dict)
    source: str = "ours"
    note: str = ""

    def __post_init__(self) -> None:
        names = [t.name for t in self.terms]
        if len(set(names)) != len(names):
            raise UsageError(f"recipe {self.name!r} needs each term once, got {names}")
        for t in (*self.terms, *self.score):
            _check_options(f"term {t.name!r}", term(t.name), t.options)
        _check_options(f"combination rule {self.combine!r}", rule(self.combine).combine, self.combine_options)
        _check_options(f"credit method {self.credit!r}", method(self.credit).assign, self.credit_options)
        if self.score and not method(self.credit).scores_trajectories:
            raise UsageError(f"recipe {self.name!r} has score terms, but {self.credit!r} does not score trajectories")

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
    def state(self) -> dict[str, Any]:
        """What changes from batch to batch, by option of the combination rule; empty for most recipes."""
        return {name: self.combine_options[name] for name in rule(self.combine).state}

    def updated(self, steps: StepTable) -> Recipe:
        """The recipe for the next batch, once this one has been credited; itself where nothing changes."""
        after = rule(self.combine).updated
        return self if after is None else replace(self, combine_options=after(steps, self.combine_options))

    def with_state(self, state: Mapping[str, Any]) -> Recipe:
        """The recipe in a `state` that was kept, for a run that goes on.

        Raises:
            UsageError: it is no state of this recipe.
        """
        if set(state) != set(self.state):
            raise UsageError(f"the state of recipe {self.name!r} has {sorted(self.state)}, got {sorted(state)}")
        return replace(self, combine_options={**self.combine_options, **state}) if state else self

    def step_rewards(self, steps: StepTable) -> Float:
        """float64[n] (float64[n, terms] for the rule "stack"): terms, combined.

        Raises:
            UsageError: the recipe has no terms.
        """
        if not self.terms:
            raise UsageError(f"recipe {self.name!r} has no terms: {self.credit!r} reads its own columns")
        columns = {t.name: term(t.name)(steps, **t.options) for t in self.terms}
        # Weights belong to the terms; each rule is given columns that already have them.
        weighed = {t.name: t.weight * columns[t.name] for t in self.terms}
        return rule(self.combine).combine(steps, weighed, **self.combine_options)

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
        lines += [f"  credit        {_call(self.credit, self.credit_options)}", f"  source        {self.source}"]
        if self.note:
            lines.append(f"  note          {self.note}")
        return "\n".join(lines)


def _call(name: str, options: Mapping[str, Any]) -> str:
    return f"{name}({', '.join(f'{k}={v!r}' for k, v in options.items())})" if options else name


def _term_to_json(t: Term) -> dict[str, Any]:
    return {"name": t.name, "weight": t.weight, "options": dict(t.options)}


def _check_options(what: str, function: Any, options: Mapping[str, Any]) -> None:
    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {what}", option, known, f"it takes {known}")
