"""The arms of the learning bench: an assigner by name, together with what it reads beside the process record.

A name is one of `JUDGED` or whatever `agentgym bench credit` knows: a baseline, a credit method with options, a recipe,
``module:function``. Methods that read the columns of a judge are given here the best judge there can be: one that
knows the exact progress. What is learnt from data (SPA's estimator, the implicit reward of PRIME and iStar) is learnt
from the arm's own rollouts, without a single one more than the other arms have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from agentgym.rewards import RECIPES, Recipe, Term, recipe
from agentgym.rewards.audit import named
from agentgym.rewards.audit.sample import View
from agentgym.rewards.credit import method
from agentgym.rewards.models.companions import Surroundings
from agentgym.rewards.models.contribution import LinearContribution
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

if TYPE_CHECKING:
    from agentgym.agents.evaluate.learning.small import Assign, Batch
    from agentgym.agents.evaluate.learning.tables import Tables

__all__ = ["EIGHT", "JUDGED", "REFERENCE", "arm"]

Float = npt.NDArray[np.float64]

REFERENCE = "grpo"
"""What every arm is compared with."""

EIGHT = (
    "grpo",
    "gigpo",
    "hgpo",
    "rloo+milestones",
    "gigpo+difference(z_scored=True)",
    "progress-gae",
    "gtd",
    "gtdp",
)
"""The assigners of the small-net study."""


def arm(name: str, tables: Tables, start: nn.Module) -> Assign:
    """The assigner of that name for one run; those that learn begin afresh.

    Args:
        name: see the module's docstring.
        tables: what the run plays on. start: the policy it begins with.

    Raises:
        UnknownName, UsageError: as `agentgym.rewards.audit.named`.
    """
    if name in JUDGED:
        return JUDGED[name](tables, start)
    if name in RECIPES and recipe(name).companion == "danger-limit":
        return _Limited(recipe(name))
    return _plain(named(name))


def _plain(assign: Callable[[View], Float]) -> Assign:
    """An assigner of the audit, which here is shown no truth and no critic."""
    return lambda batch: assign(View(batch.steps, np.full(len(batch.steps), np.nan)))


class _Limited:
    """A recipe whose price of danger changes with every batch."""

    def __init__(self, chain: Recipe) -> None:
        self._chain = chain
        limit = chain.build_companion(Surroundings())
        assert limit is not None
        self._limit = limit
        self.price = 0.0
        """Of an unsafe step, in the last batch."""

    def __call__(self, batch: Batch) -> Float:
        columns, figures = self._limit.update(batch.steps, TokenTable.empty())
        self.price = figures["multiplier"]
        return self._chain.advantages(batch.steps.with_extra(**columns))


def _judged(name: str, **judge: Callable[[StepTable], Any]) -> Callable[[Tables, nn.Module], Assign]:
    """A recipe that reads extra columns, with a judge for each."""

    def make(tables: Tables, start: nn.Module) -> Assign:
        chain = recipe(name)
        return lambda b: chain.advantages(b.steps.with_extra(**{k: f(b.steps) for k, f in judge.items()}))

    return make


def _gain(steps: StepTable) -> Float:
    """Progress after minus progress before, in [-1, 1]."""
    return steps.progress - steps.progress_before


def _checklist(steps: StepTable) -> Float:
    """The share of three items that hold of a turn: it was applicable, lost nothing, and gained something."""
    return (steps.grounded + (_gain(steps) >= 0) + 1.0 * (_gain(steps) > 0)) / 3.0


def _milestones(masks: npt.NDArray[np.int64], count: int) -> npt.NDArray[np.int64]:
    """int64[n, count]: milestones as unit tests that pass once they are reached."""
    return masks[:, None] >> np.arange(count) & 1


def _verpo(tables: Tables, start: nn.Module) -> Assign:
    count = len(tables.milestones)
    return _judged(
        "verpo",
        tests=lambda s: _milestones(s.milestones, count),
        tests_before=lambda s: _milestones(s.milestones_before, count),
    )(tables, start)


def _arenarl(tables: Tables, start: nn.Module) -> Assign:
    def assign(batch: Batch) -> Float:
        steps = batch.steps
        final = dict(zip(steps.trajectory[steps.ends].tolist(), steps.progress[steps.ends].tolist(), strict=True))
        return method("arenarl").assign(steps, judge=lambda i, j: (final[i], final[j]))

    return assign


def _mira(tables: Tables, start: nn.Module) -> Assign:
    weights = [1.0] * len(tables.milestones)
    shaping = Term("subgoals", options={"weights": weights, "terminal": "keep"})
    chain = Recipe("mira", (Term("outcome"), shaping), "grpo", source="after arXiv 2603.19685")
    return lambda batch: chain.advantages(batch.steps)


class _Contribution:
    """SPA: the estimator is fitted on the outcomes of the last eight batches, this one included."""

    def __init__(self, tables: Tables, start: nn.Module) -> None:
        self._tables = tables
        self._seen: deque[StepTable] = deque(maxlen=8)

    def __call__(self, batch: Batch) -> Float:
        t = self._tables
        action = np.eye(t.actions)[batch.action]
        step = batch.steps.with_extra(features=np.column_stack([t.features[batch.state], action]).astype(np.float64))
        self._seen.append(step)
        estimator = LinearContribution.fit(StepTable.concat(list(self._seen)))
        return method("spa").assign(batch.steps, estimator.contributions(step))


class _Implicit:
    """PRIME and iStar: a second network, begun as the start, whose log-ratio to a reference is the step reward.

    As PRIME's algorithm has it, a batch is scored before the network learns from it.

    Args:
        method: "prime" (cross-entropy of the outcome; the reference is the start) or "istar" (all successes against
            all failures of a group; the reference is the policy that acted).
    """

    def __init__(self, method: str, tables: Tables, start: nn.Module, *, beta: float = 0.05, lr: float = 1e-3) -> None:
        import copy

        self._method, self._tables, self._beta = method, tables, beta
        self._judge, self._start = copy.deepcopy(start), start
        self._optimizer = torch.optim.AdamW(self._judge.parameters(), lr=lr, weight_decay=0.0)

    def __call__(self, batch: Batch) -> Float:
        x = torch.from_numpy(self._tables.features[batch.state])
        action = torch.from_numpy(batch.action)[:, None]
        model = torch.log_softmax(self._judge(x).double(), dim=-1).gather(1, action)[:, 0]
        if self._method == "prime":
            with torch.no_grad():
                reference = torch.log_softmax(self._start(x).double(), dim=-1).gather(1, action)[:, 0]
        else:
            reference = torch.from_numpy(batch.logprob)
        columns = {"logprob_model": model.detach().numpy(), "logprob_reference": reference.numpy()}
        advantages = method(self._method).assign(batch.steps.with_extra(**columns))
        self._learn(batch.steps, model - reference)
        return advantages

    def _learn(self, steps: StepTable, ratio: torch.Tensor) -> None:
        """One step on `agentgym.rewards.models.implicit`'s loss, with gradients (a test compares the two)."""
        loss = self.loss(steps, ratio)
        if loss is None:
            return
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        self._optimizer.step()

    def loss(self, steps: StepTable, ratio: torch.Tensor) -> torch.Tensor | None:
        """The loss of log-ratios float64[n]; None where no pair can be compared."""
        q = torch.zeros(len(steps.starts), dtype=ratio.dtype).index_add(0, torch.from_numpy(steps.segment), ratio)
        won = torch.from_numpy(steps.outcome > 0)
        if self._method == "prime":
            return nn.functional.binary_cross_entropy_with_logits(self._beta * q, won.to(q))
        group = torch.from_numpy(steps.trajectory_group)
        first, second = torch.nonzero((group[:, None] == group) & won[:, None] & ~won, as_tuple=True)
        return nn.functional.softplus(-self._beta * (q[first] - q[second])).mean() if len(first) else None


JUDGED: dict[str, Callable[[Tables, nn.Module], Assign]] = {
    "pure": _judged("pure", process_score=_gain),
    "adca": _judged("adca", good=lambda s: _gain(s) > 0),
    "cm2": _judged("cm2", process_score=_checklist),
    "clip-delta": _judged("clip-delta", process_score=lambda s: s.progress),
    "ppr": _judged("ppr", process_score=_gain),
    "verpo": _verpo,
    "arenarl": _arenarl,
    "mira": _mira,
    "spa": _Contribution,
    "prime": lambda tables, start: _Implicit("prime", tables, start),
    "istar": lambda tables, start: _Implicit("istar", tables, start),
}
"""Arms whose columns are made here; each is made anew for every run."""
