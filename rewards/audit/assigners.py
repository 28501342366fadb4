"""Assigners by name: everything that `agentgym bench credit` can measure.

A name is, in this order, one of the audit's own baselines (`BASELINES`), a credit method, a recipe, or a user's
``module:function``; options follow in brackets: ``gigpo(gamma=1.0)``, ``gtdp(kappa=1, lam=0)``, ``my_module:assign``.
"""

from __future__ import annotations

import ast
import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards import RECIPES, Recipe, recipe
from agentgym.rewards.audit.sample import View
from agentgym.rewards.credit import METHODS, gae, gigpo, method, pure, rloo
from agentgym.rewards.credit.gtd import state_values
from agentgym.rewards.terms import term
from agentgym.steps import StepTable

__all__ = ["BASELINES", "STANDARD", "Baseline", "Measured", "named"]

Float = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Measured:
    """An assigner as the audit calls it.

    Attributes:
        name: as given.
        assign: from a view to float64[n]; all but the baselines look at ``view.steps`` alone.
        reads_progress: it uses the process signal.
    """

    name: str
    assign: Callable[[View], Float]
    reads_progress: bool

    def __call__(self, view: View) -> Float:
        """float64[n], checked.

        Raises:
            UsageError: the assigner cannot work on these rollouts (a column it reads is missing, say), or gives numbers
                that are not finite or of another length.
        """
        n = len(view.steps)
        try:
            found = np.asarray(self.assign(view), dtype=np.float64)
        except ValueError as error:
            raise UsageError(f"assigner {self.name!r} cannot be measured on these rollouts: {error}") from error
        if found.shape != (n,) or not np.all(np.isfinite(found)):
            raise UsageError(
                f"assigner {self.name!r} must give one finite number per step ({n}), got shape {found.shape}, "
                f"{int(np.sum(~np.isfinite(found)))} of them not finite"
            )
        return found


@dataclass(frozen=True)
class Baseline:
    """Something to compare with. ``assign(view, **options)``."""

    assign: Callable[..., Float]
    summary: str
    reads_progress: bool = True


def _exact(view: View) -> Float:
    return view.advantage


def _difference(steps: StepTable) -> Float:
    return steps.progress - steps.progress_before


def _progress_difference(view: View) -> Float:
    return _difference(view.steps)


def _progress_gae(view: View, *, lam: float = 0.5) -> Float:
    steps = view.steps
    return gae.assign(steps, values=steps.progress_before, last_values=steps.progress[steps.ends], gamma=1.0, lam=lam)


def _gigpo_progress(view: View, *, z_scored: bool = False, gamma: float = 0.95) -> Float:
    outcome, shaped = gigpo.assign(view.steps, gamma=gamma), _difference(view.steps)
    return _unit(outcome) + _unit(shaped) if z_scored else outcome + shaped


def _unit(values: Float) -> Float:
    """Centred and divided by the standard deviation over the batch; zeros where there is none."""
    spread = values.std()
    return (values - values.mean()) / spread if spread > 1e-12 else np.zeros_like(values)


def _rloo_milestones(view: View, *, weight: float = 0.25) -> Float:
    steps = view.steps
    return rloo.assign(steps, term("outcome")(steps) + weight * term("milestone")(steps))


def _rloo_danger(view: View, *, weight: float = 0.25) -> Float:
    steps = view.steps
    return rloo.assign(steps, term("outcome")(steps) + weight * term("danger")(steps))


def _pure_progress(view: View) -> Float:
    return pure.assign(view.steps, _difference(view.steps))


def _fitted_critic(view: View, *, lam: float = 0.5) -> Float:
    values, last_values = _critic_values(view)
    return gae.assign(view.steps, values=values, last_values=last_values, gamma=1.0, lam=lam)


def _critic_values(view: View) -> tuple[Float, Float]:
    """Before every step, and after every rollout's last."""
    if view.critic is None:
        raise UsageError("this assigner needs a critic, and none was fitted on these rollouts; use `study`")
    return view.critic[:, 0], view.critic[view.steps.ends, 1]


def _with_critic(chain: Recipe, view: View) -> Float:
    values, last_values = _critic_values(view)
    return chain.advantages(view.steps, values, last_values=last_values)


def _critic_options(view: View) -> dict[str, Float]:
    values, last_values = _critic_values(view)
    return {"values": values, "last_values": last_values}


def _calibrated(view: View, *, lam: float = 0.5) -> Float:
    """The calibrated prior of GTDP alone: so many visits from it that the group's graph counts nothing."""
    before, after = state_values(view.steps, prior="calibrated", kappa=1e9)
    steps = view.steps
    return gae.assign(steps, values=before, last_values=after[steps.ends], gamma=1.0, lam=lam)


BASELINES: dict[str, Baseline] = {
    "exact": Baseline(_exact, "the true advantage, seen through the same rollouts: the ceiling"),
    "progress-difference": Baseline(_progress_difference, "progress after minus progress before"),
    "progress-gae": Baseline(_progress_gae, "progress as a critic, GAE with lam (0.5)"),
    "calibrated-progress": Baseline(_calibrated, "progress calibrated on the batch's outcomes as a critic, GAE(0.5)"),
    "fitted-critic": Baseline(_fitted_critic, "values fitted on 2,000 other rollouts, GAE(0.5)", reads_progress=False),
    "gigpo+difference": Baseline(_gigpo_progress, "GiGPO plus progress difference; z_scored=True weighs them alike"),
    "rloo+milestones": Baseline(_rloo_milestones, "RLOO on outcome plus 0.25 a milestone"),
    "rloo+danger": Baseline(_rloo_danger, "RLOO on outcome minus 0.25 a dangerous step", reads_progress=False),
    "pure-progress": Baseline(_pure_progress, "PURE's min form on progress differences"),
}
"""The audit's own yardsticks, by name."""

STANDARD: tuple[str, ...] = (
    "exact",
    "htd",
    "gtdp",
    "progress-gae",
    "calibrated-progress",
    "fitted-critic",
    "progress-difference",
    "gtd",
    "propagation",
    "gigpo+difference",
    "gigpo+difference(z_scored=True)",
    "hgpo",
    "rloo+milestones",
    "gigpo",
    "gigpo(gamma=1.0)",
    "grpo",
    "rloo",
    "salt",
    "pure-progress",
)
"""What the table shows unless told otherwise."""


def named(name: str) -> Measured:
    """The assigner of that name (see the module's docstring).

    Raises:
        UnknownName: there is no such method, baseline or recipe.
        UsageError: the options are malformed or not taken, the method needs a critic, or the module cannot be used.
    """
    stem, options = _split(name)
    if stem in BASELINES:
        baseline = BASELINES[stem]
        _accepts(name, baseline.assign, options)
        return Measured(name, lambda view: baseline.assign(view, **options), baseline.reads_progress)
    if stem in METHODS:
        assign = method(stem).assign
        _accepts(name, assign, options)
        if method(stem).needs_critic:
            return Measured(name, lambda view: assign(view.steps, **_critic_options(view), **options), False)
        reads = stem in ("gtdp", "htd", "pooling") or options.get("prior", "mean") != "mean"
        return Measured(name, lambda view: assign(view.steps, **options), reads)
    if stem in RECIPES:
        chain = recipe(stem)
        if options:
            raise UsageError(f"recipe {stem!r} takes no options, got {options}; name its credit method instead")
        reads = any(t.name in ("progress", "milestone") for t in (*chain.terms, *chain.score))
        if chain.needs_critic:
            return Measured(name, lambda view: _with_critic(chain, view), reads)
        return Measured(name, lambda view: chain.advantages(view.steps), reads)
    if ":" in stem:
        function = _imported(stem)
        return Measured(name, lambda view: function(view.steps, **options), True)
    known = [*BASELINES, *METHODS, *RECIPES]
    raise UnknownName("assigner", stem, known, "name a credit method, a recipe, a baseline or module:function")


def _split(name: str) -> tuple[str, dict[str, Any]]:
    """``stem(key=value, ...)`` apart."""
    stem, bracket, rest = name.partition("(")
    if not bracket:
        return name, {}
    try:
        call = ast.parse(f"f({rest}", mode="eval").body
        if not isinstance(call, ast.Call) or call.args or any(k.arg is None for k in call.keywords):
            raise ValueError("only keyword arguments")
        return stem, {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"expected NAME or NAME(option=value, ...), got {name!r} ({error})") from error


def _accepts(name: str, function: Callable[..., Float], options: Mapping[str, Any]) -> None:
    known = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UnknownName(f"option of {name.partition('(')[0]!r}", option, known, f"it takes {known}")


def _imported(path: str) -> Callable[..., Any]:
    module, _, attribute = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise UsageError(f"cannot import the assigner {path!r}: {error}") from error
    if not callable(found):
        raise UsageError(f"{path!r} is a {type(found).__name__}, expected a function of a StepTable")
    function: Callable[..., Any] = found
    return function
