"""Companions: models that learn beside the policy and write the columns a recipe reads.

A training loop that has a recipe with a companion builds it once, before the first update, and after every batch of
rollouts calls ``update``: the companion learns from the batch and gives its columns, which go into the table before
credit is assigned. No companion sees the policy: what it needs of it are log-probability columns, and for an implicit
reward model a language model of its own to start from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from agentgym.errors import UnknownName, UsageError
from agentgym.rewards.combine.blended import Blend
from agentgym.rewards.combine.lagrangian import DangerLimit
from agentgym.rewards.credit.checks import extra, number, one_of
from agentgym.rewards.models.annotator import Annotator
from agentgym.rewards.models.contribution import ContributionEstimator
from agentgym.rewards.models.implicit_reward import ImplicitReward
from agentgym.rewards.models.intrinsic import MODELS, pairs_of_labels
from agentgym.rewards.models.latent import LatentReward
from agentgym.rewards.models.scorers import TokenScorer
from agentgym.rewards.models.sources import EndpointSource, OracleSource, Source
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

if TYPE_CHECKING:
    from agentgym.rewards.recipes import Recipe

__all__ = ["COMPANIONS", "Companion", "Kind", "Surroundings", "companion"]

Columns = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Surroundings:
    """What a training loop tells a companion.

    Attributes:
        language_model: a Hugging Face causal language model for its own use (a copy of the policy's), or None.
        temperature: of the policy's behaviour distribution.
        micro_tokens: tokens in one forward pass.
        seed: of the run.
        repeatable: wait for what others are asked, so that a run and its repetition agree bit for bit.
    """

    language_model: Any = None
    temperature: float = 1.0
    micro_tokens: int = 16384
    seed: int = 0
    repeatable: bool = True


class Companion(Protocol):
    """A model that learns beside the policy."""

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        """Learn from a batch; returns its columns for the steps, and figures to log."""

    def state_dict(self) -> dict[str, Any]:
        """Everything, so that a resumed run equals one that never stopped."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    def close(self) -> None:
        """End what runs beside the loop; may be called again."""


# ---------------------------------------------------------------------- the companions


class _Implicit:
    """An implicit reward model that alternates with the policy (OPRL / iStar, PRIME)."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        loss: Literal["preference", "cross-entropy"] = "preference",
        reference: Literal["old", "start"] = "old",
        total: Literal["sum", "mean"] = "sum",
        beta: float = 0.05,
        lr: float = 1e-6,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        minibatches: int = 1,
        epochs: int = 1,
    ) -> None:
        if around.language_model is None:
            raise UsageError(
                f"recipe {recipe.name!r} trains an implicit reward model, which starts from a language model; "
                "give one as Surroundings(language_model=...)"
            )
        number("epochs", epochs, 1)
        self._epochs = epochs
        self.model = ImplicitReward(
            TokenScorer(around.language_model, temperature=around.temperature, micro_tokens=around.micro_tokens),
            loss=loss,
            reference=reference,
            total=total,
            beta=beta,
            lr=lr,
            weight_decay=weight_decay,
            max_grad_norm=max_grad_norm,
            minibatches=minibatches,
            seed=around.seed,
        )

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        told = self.model.fit(steps, tokens, epochs=self._epochs)
        figures = {"loss": told.loss, "accuracy": told.accuracy, "count": float(told.count)}
        return dict(self.model.columns(steps, tokens)), figures

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state)

    def close(self) -> None:
        pass


class _Contribution:
    """SPA's estimator, fitted batch after batch."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        columns: Sequence[str] = ("text", "action_text"),
        widths: Sequence[int] = (64,),
        lr: float = 1e-3,
        weight_decay: float = 1e-2,
        buckets: int = 256,
        epochs: int = 5,
        batch: int = 32,
    ) -> None:
        self._epochs, self._batch = epochs, batch
        self.model = ContributionEstimator(
            columns, widths=widths, lr=lr, weight_decay=weight_decay, buckets=buckets, seed=around.seed
        )

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        self.model.fit(steps, epochs=self._epochs, batch=self._batch)
        values = self.model.contributions(steps)
        error = np.add.reduceat(values, steps.starts) - steps.outcome
        return {"contribution": values}, {"loss": float(np.mean(error**2))}

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state)

    def close(self) -> None:
        pass


class _Latent:
    """LaRe's decoder, fitted batch after batch; by default on the record's own columns."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        factors: Sequence[str] = ("progress_before", "progress", "danger", "grounded"),
        widths: Sequence[int] = (256, 256, 256),
        lr: float = 3e-4,
        sample: int | None = 64,
        variance_correction: bool = False,
        updates: int = 50,
        batch: int = 32,
    ) -> None:
        self._updates, self._batch = updates, batch
        self.model = LatentReward(
            factors,
            widths=widths,
            lr=lr,
            sample=sample,
            variance_correction=variance_correction,
            seed=around.seed,
        )

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        self.model.fit(steps, updates=self._updates, batch=self._batch)
        values = self.model.rewards(steps)
        error = (np.add.reduceat(values, steps.starts) - steps.outcome) / steps.lengths
        return {"latent_reward": values}, {"loss": float(np.mean(error**2))}

    def state_dict(self) -> dict[str, Any]:
        return self.model.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.model.load_state_dict(state)

    def close(self) -> None:
        pass


class _Intrinsic:
    """One of ONI's models with its annotator. A message is what was seen and what was done there."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        model: Literal["retrieval", "classification", "ranking"] = "retrieval",
        source: str = "milestone",
        threshold: float | None = None,
        queue: int = 10_000,
        batch: int = 100,
        epochs: int = 3,
        newest: int = 4096,
        patience: float = 120.0,
        columns: Sequence[str] = ("text", "action_text"),
    ) -> None:
        one_of("model", model, tuple(MODELS))
        options: dict[str, Any] = {} if model == "retrieval" else {"seed": around.seed}
        if threshold is not None and model != "retrieval":
            options["threshold"] = threshold
        self.kind, self._epochs, self._newest, self._columns = model, epochs, newest, tuple(columns)
        self.model = MODELS[model](**options)
        self._patience = patience if around.repeatable else 0.0
        self._seed, self._updates, self._fitted = around.seed, 0, False
        self._asks_pairs = model == "ranking" and source.startswith("endpoint:")
        self.annotator = Annotator(_source(source), queue=queue, batch=batch)

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        parts = [extra(steps, name, "an intrinsic reward model").tolist() for name in self._columns]
        messages = [" > ".join(row) for row in zip(*parts, strict=True)]
        column = np.array(messages, dtype=object)
        rng = np.random.default_rng([self._seed, self._updates])
        self._updates += 1
        if self._asks_pairs:
            first, second = rng.integers(len(messages), size=(2, min(len(messages), 512)))
            pairs = [
                (messages[a], messages[b]) for a, b in zip(first, second, strict=True) if messages[a] != messages[b]
            ]
            self.annotator.compare([a for a, _ in pairs], [b for _, b in pairs])
        else:
            self.annotator.submit(steps.with_extra(message=column), message="message")
            self.annotator.take()  # labels are read by message below
        if self._patience:
            self.annotator.wait(self._patience)
        self._fit(rng)
        reward = self.model.rewards(messages) if self._fitted else np.zeros(len(steps))
        now = self.annotator.stats
        figures = {
            name: float(getattr(now, name)) for name in ("labelled", "pending", "dropped", "failed", "unanswered")
        }
        return {"intrinsic": reward, "message": column}, figures | {"rewarded": float(np.mean(reward != 0.0))}

    def _fit(self, rng: np.random.Generator) -> None:
        last = slice(-self._newest, None)
        if self._asks_pairs:
            a, b, preference = self.annotator.compared()
            if a:
                self.model.fit(a[last], b[last], preference[last], epochs=self._epochs)
                self._fitted = True
            return
        messages, labels = self.annotator.labelled()
        messages, labels = messages[last], labels[last]
        if self.kind == "retrieval" and messages:
            self.model.fit(messages, labels)
        elif self.kind == "classification" and messages:
            self.model.fit(messages, labels, epochs=self._epochs)
        elif self.kind == "ranking" and len(messages) > 1:
            one, other, preference = pairs_of_labels(labels, len(messages), rng)
            chosen = [[messages[k] for k in side] for side in (one, other)]
            self.model.fit(chosen[0], chosen[1], preference, epochs=self._epochs)
        else:
            return
        self._fitted = True

    def state_dict(self) -> dict[str, Any]:
        own = {"updates": self._updates, "fitted": self._fitted, "annotator": self.annotator.state_dict()}
        return own | {"model": self.model.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._updates, self._fitted = state["updates"], state["fitted"]
        self.annotator.load_state_dict(state["annotator"])
        self.model.load_state_dict(state["model"])

    def close(self) -> None:
        self.annotator.close()


class _Limit:
    """The price of a limit on danger, moved by dual ascent after every batch."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        limit: float = 0.01,
        rate: float = 0.1,
        lowest: float = 0.05,
        highest: float = 10.0,
        most: float = 3.0,
        smoothing: float = 0.5,
    ) -> None:
        self.state = DangerLimit(limit, rate, lowest, highest, most, smoothing, multiplier=lowest)

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        self.state = self.state.updated(steps)
        price = self.state.multiplier
        return {"danger_price": np.full(len(steps), price)}, {"multiplier": price}

    def state_dict(self) -> dict[str, Any]:
        return {"multiplier": self.state.multiplier, "seen": self.state.seen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = replace(self.state, multiplier=state["multiplier"], seen=state["seen"])

    def close(self) -> None:
        pass


class _Blending:
    """The weights of a designer's rewards, moved by the agreement of their gradients with the primary one's."""

    def __init__(
        self,
        recipe: Recipe,
        around: Surroundings,
        *,
        weight: float = 0.5,
        rate: float = 0.1,
        highest: float = 1.0,
    ) -> None:
        self._recipe = recipe
        self._primary, self._prefix = (recipe.rule_option(name) for name in ("primary", "prefix"))
        others = [t.key for t in recipe.terms if t.key != self._primary]
        self.state = Blend(dict.fromkeys(others, weight), rate, highest)

    def update(self, steps: StepTable, tokens: TokenTable) -> tuple[Columns, dict[str, float]]:
        apart = self._recipe.advantages_apart(steps)
        primary = apart.pop(self._primary)
        self.state = self.state.updated(steps, primary, apart)
        columns: Columns = {self._prefix + k: np.full(len(steps), w) for k, w in self.state.weights.items()}
        return columns, {f"weight_{k}": w for k, w in self.state.weights.items()}

    def state_dict(self) -> dict[str, Any]:
        return {"weights": dict(self.state.weights)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.state = Blend(dict(state["weights"]), self.state.rate, self.state.highest)

    def close(self) -> None:
        pass


# ---------------------------------------------------------------------- their index

_RATIO = ("logprob_model", "logprob_reference")


@dataclass(frozen=True)
class Kind:
    """One kind of companion.

    Attributes:
        build: ``build(recipe, surroundings, **options)``.
        writes: columns it gives; () where they follow from the recipe's terms.
        names: options that list extra columns it reads.
        needs_language_model: it starts from one.
    """

    build: Callable[..., Companion]
    writes: tuple[str, ...]
    names: tuple[str, ...] = ()
    needs_language_model: bool = False


COMPANIONS: dict[str, Kind] = {
    "implicit": Kind(_Implicit, _RATIO, needs_language_model=True),
    "contribution": Kind(_Contribution, ("contribution",), ("columns",)),
    "latent": Kind(_Latent, ("latent_reward",), ("factors",)),
    "intrinsic": Kind(_Intrinsic, ("intrinsic", "message"), ("columns",)),
    "danger-limit": Kind(_Limit, ("danger_price",)),
    "blend": Kind(_Blending, ()),
}
"""Every kind by name."""


def companion(name: str) -> Kind:
    """The named kind.

    Raises:
        UnknownName: there is none of that name.
    """
    if name not in COMPANIONS:
        raise UnknownName("companion", name, COMPANIONS, "agentgym.rewards.models.companions.COMPANIONS lists them")
    return COMPANIONS[name]


def _source(spec: str) -> Source:
    """A source of labels from its name: "milestone", "progress", or "endpoint:URL#MODEL"."""
    if spec in ("milestone", "progress"):
        return OracleSource("milestone" if spec == "milestone" else "progress")
    kind, _, address = spec.partition(":")
    url, _, model = address.rpartition("#")
    if kind != "endpoint" or not url or not model:
        raise UsageError(f"'source' must be 'milestone', 'progress' or 'endpoint:URL#MODEL', got {spec!r}")
    return EndpointSource(url, model)
