"""Implicit process rewards, trained: a model whose log-ratio to a reference is the reward of a step.

    q_t = log pi_phi(a_t | o_t) - log pi_reference(a_t | o_t)          Q = sum_t q_t over a rollout (or their mean)

    "preference"      mean over success-failure pairs of a group of -log sigmoid(beta (Q+ - Q-))      OPRL / iStar
    "cross-entropy"   mean binary cross-entropy of sigmoid(beta Q) against the outcome                 PRIME

The reference is the policy that collected the steps (``"old"``: iStar; its log-probabilities are columns) or the model
as it was at the start (``"start"``: PRIME). The model alternates with the policy: after every batch of rollouts `fit`,
then `columns` for the credit methods ``istar`` and ``prime``.

The loss is of whole rollouts, the memory that of one part: Q is computed without gradients first, and every part's
gradient is then weighted by dLoss/dQ. Q is a sum of log-probabilities, so this is the exact gradient.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from agentgym.errors import ModelFolderError
from agentgym.files import disk, write_json
from agentgym.rewards.credit.checks import Float, Int, extra, finite, number, one_of
from agentgym.rewards.credit.token_rows import produced, step_rows
from agentgym.rewards.models.implicit import pair_accuracy
from agentgym.rewards.models.network import torch_package
from agentgym.rewards.models.scorers import ColumnScorer, Plan, Scorer, TokenScorer
from agentgym.steps import StepTable
from agentgym.tokens import TokenTable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ImplicitReward", "ImplicitStats", "rollout_loss"]

Loss = Literal["preference", "cross-entropy"]


@dataclass(frozen=True)
class ImplicitStats:
    """One `fit`: mean loss of its steps, share of pairs that Q ordered rightly before it, pairs or rollouts it had.

    ``skipped``: nothing could be learnt (no group with a success and a failure).
    """

    loss: float
    accuracy: float
    count: int
    skipped: bool


class ImplicitReward:
    """An implicit process reward model; needs torch.

    Args:
        scorer: the weights: a `TokenScorer` (a language model) or a `ColumnScorer` (a small network). Trained in place.
        loss: see the module.
        reference: "old" or "start".
        total: Q is the "sum" of the steps' q (the papers) or their "mean" (iStar's released code).
        beta: temperature.
        lr, weight_decay: of AdamW. The papers' 1e-6 is for models of billions of parameters.
        max_grad_norm: gradients are scaled down to this norm.
        minibatches: steps of the optimiser in one pass, each on some of the groups.
        seed: orders the groups.
    """

    def __init__(
        self,
        scorer: Scorer,
        *,
        loss: Loss = "preference",
        reference: Literal["old", "start"] = "old",
        total: Literal["sum", "mean"] = "sum",
        beta: float = 0.05,
        lr: float = 1e-6,
        weight_decay: float = 0.0,
        max_grad_norm: float = 1.0,
        minibatches: int = 1,
        seed: int = 0,
    ) -> None:
        one_of("loss", loss, ("preference", "cross-entropy"))
        one_of("reference", reference, ("old", "start"))
        one_of("total", total, ("sum", "mean"))
        for name, value in (("beta", beta), ("lr", lr), ("max_grad_norm", max_grad_norm)):
            number(name, value, 0.0, open_low=True)
        number("weight_decay", weight_decay, 0.0)
        number("minibatches", minibatches, 1)
        self.scorer, self.loss, self.reference, self.total = scorer, loss, reference, total
        self.beta, self.lr, self.weight_decay = beta, lr, weight_decay
        self.max_grad_norm, self.minibatches, self.seed = max_grad_norm, minibatches, seed
        self._start = scorer.frozen() if reference == "start" else None
        self._passes = 0
        self._optimizer: Any = torch_package().optim.AdamW(scorer.parameters(), lr=lr, weight_decay=weight_decay)

    # ------------------------------------------------------------------ learning

    def fit(self, steps: StepTable, tokens: TokenTable | None = None, *, epochs: int = 1) -> ImplicitStats:
        """Learn from the outcomes of some rollouts; called after every batch it goes on.

        Args:
            steps: n rows; reads ``group`` and the trajectories' ``outcome`` (above 0 is a success for "preference", in
                [0, 1] for "cross-entropy").
            tokens: their tokens, for a `TokenScorer`.
            epochs: passes.

        Raises:
            ValueError: no steps; an outcome is not finite or out of range; tokens or columns are missing.
        """
        number("epochs", epochs, 1)
        if not len(steps):
            raise ValueError(
                "an implicit reward model cannot be fitted on a table without steps; collect rollouts first"
            )
        outcome = self._outcome(steps)
        plan, reference = self.scorer.plan(steps, tokens), self.reference_log_probs(steps, tokens)
        q_before = self._totals(steps, self._log_probs(plan)[plan.entry] - reference)
        accuracy = pair_accuracy(steps.trajectory_group, q_before, outcome)
        count = self._count(steps.trajectory_group, outcome)
        if not count:
            return ImplicitStats(0.0, accuracy, 0, True)
        losses = []
        groups = np.unique(steps.trajectory_group)
        for _ in range(epochs):
            order = np.random.default_rng([self.seed, self._passes]).permutation(len(groups))
            self._passes += 1
            for chosen in np.array_split(order, min(self.minibatches, len(groups))):
                inside = np.isin(steps.trajectory_group, groups[chosen])
                if self._count(steps.trajectory_group[inside], outcome[inside]):
                    losses.append(self._descend(steps, plan, reference, outcome, inside))
        return ImplicitStats(float(np.mean(losses)), accuracy, count, False)

    def _descend(self, steps: StepTable, plan: Plan, reference: Float, outcome: Float, inside: Any) -> float:
        """One step of the optimiser on the rollouts that are inside."""
        torch = torch_package()
        q = torch.from_numpy(self._totals(steps, self._log_probs(plan)[plan.entry] - reference)).requires_grad_(True)
        mine = torch.from_numpy(np.flatnonzero(inside))
        loss = rollout_loss(
            q[mine],
            torch.from_numpy(outcome[inside]),
            torch.from_numpy(steps.trajectory_group[inside]),
            kind=self.loss,
            beta=self.beta,
        )
        torch.autograd.backward(loss)
        per_row = np.asarray(q.grad.numpy())[steps.segment]
        if self.total == "mean":
            per_row = per_row / steps.lengths[steps.segment]
        weight = np.bincount(plan.entry, weights=per_row, minlength=plan.count)
        self._optimizer.zero_grad(set_to_none=True)
        for part in plan.parts:
            entries, logprob = self.scorer.score(part)
            torch.autograd.backward((logprob * torch.from_numpy(weight[entries]).to(logprob)).sum())
        torch.nn.utils.clip_grad_norm_(self.scorer.parameters(), self.max_grad_norm)
        self._optimizer.step()
        return float(loss.detach())

    # ------------------------------------------------------------------ reading

    def log_probs(self, steps: StepTable, tokens: TokenTable | None = None) -> Float:
        """float64[n]: log pi_phi of every step's action.

        Raises:
            ValueError: tokens or columns are missing; a step has no tokens.
        """
        plan = self.scorer.plan(steps, tokens)
        return self._log_probs(plan)[plan.entry]

    def reference_log_probs(self, steps: StepTable, tokens: TokenTable | None = None) -> Float:
        """float64[n]: the reference's log-probability of every step's action.

        "old" takes those of the behaviour distribution from the tokens, or else from the extra column ``logprob`` that
        the loop keeps.

        Raises:
            ValueError: they are missing or not finite.
        """
        if self._start is not None:
            plan = self._start.plan(steps, tokens)
            return _log_probs(self._start, plan)[plan.entry]
        if tokens is None:
            column = extra(steps, "logprob", "an implicit reward against the policy that collected")
            return finite("logprob", column, (len(steps),))
        spoken = produced(tokens, tokens.logprob_behaviour, "logprob_behaviour")
        return np.bincount(step_rows(steps, tokens), weights=spoken, minlength=len(steps)).astype(np.float64)

    def columns(self, steps: StepTable, tokens: TokenTable | None = None) -> dict[str, Float]:
        """``logprob_model`` and ``logprob_reference``, float64[n] each: what `istar` and `prime` read."""
        return {
            "logprob_model": self.log_probs(steps, tokens),
            "logprob_reference": self.reference_log_probs(steps, tokens),
        }

    def totals(self, steps: StepTable, tokens: TokenTable | None = None) -> Float:
        """float64[k]: Q of every trajectory that has steps."""
        return self._totals(steps, self.log_probs(steps, tokens) - self.reference_log_probs(steps, tokens))

    # ------------------------------------------------------------------ keeping

    def state_dict(self) -> dict[str, Any]:
        """Weights, those of the start too, the optimiser's moments and counters: training goes on bit for bit."""
        state = {
            "scorer": self.scorer.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "passes": self._passes,
        }
        return state if self._start is None else state | {"start": self._start.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.scorer.load_state_dict(state["scorer"])
        # torch keeps the moments it is given: without a copy two models would share them
        self._optimizer.load_state_dict(copy.deepcopy(state["optimizer"]))
        self._passes = state["passes"]
        if self._start is not None:
            self._start.load_state_dict(state["start"])

    def save(self, path: str | Path) -> None:
        """Write a folder: settings, weights, and those of the start where they are the reference.

        Raises:
            RunError: the operating system refuses.
        """
        path = Path(path)
        with disk("write", path):
            path.mkdir(parents=True, exist_ok=True)
        self.scorer.save(path / "model")
        if self._start is not None:
            self._start.save(path / "start")
        kind = "columns" if isinstance(self.scorer, ColumnScorer) else "tokens"
        settings = {name: getattr(self, name) for name in _SETTINGS} | {"scorer": kind}
        if isinstance(self.scorer, TokenScorer):
            settings |= {"temperature": self.scorer.temperature, "micro_tokens": self.scorer.micro_tokens}
        write_json(path / "implicit.json", settings)

    @classmethod
    def load(cls, path: str | Path) -> ImplicitReward:
        """What `save` wrote (the optimiser starts afresh).

        Raises:
            ModelFolderError: the folder is missing, damaged, or holds another model.
        """
        path = Path(path)
        try:
            settings = json.loads((path / "implicit.json").read_text())
            options = {name: settings[name] for name in _SETTINGS}
            kind = settings["scorer"]
            token_options = {} if kind == "columns" else {k: settings[k] for k in ("temperature", "micro_tokens")}
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelFolderError(
                f"expected a saved ImplicitReward in {path}, but implicit.json is missing or damaged ({error})"
            ) from error

        def read(name: str) -> Scorer:
            return (
                ColumnScorer.load(path / name) if kind == "columns" else TokenScorer.load(path / name, **token_options)
            )

        made = cls(read("model"), **options)
        if made._start is not None:
            made._start = read("start").frozen()
        return made

    # ------------------------------------------------------------------ inside

    def _log_probs(self, plan: Plan) -> Float:
        return _log_probs(self.scorer, plan)

    def _totals(self, steps: StepTable, q: Float) -> Float:
        total = np.add.reduceat(q, steps.starts) if len(q) else np.zeros(0)
        return total / steps.lengths if self.total == "mean" else total

    def _outcome(self, steps: StepTable) -> Float:
        outcome = finite("outcome", steps.outcome, (len(steps.starts),))
        bad = np.flatnonzero((outcome < 0.0) | (outcome > 1.0)) if self.loss == "cross-entropy" else np.empty(0, int)
        if bad.size:
            raise ValueError(
                f"column 'outcome' must lie in [0, 1] for the cross-entropy, trajectory "
                f"{steps.trajectory[steps.starts[bad[0]]]} has {outcome[bad[0]]}; scale it, or use loss='preference'"
            )
        return outcome

    def _count(self, group: Int, outcome: Float) -> int:
        """Pairs or rollouts to learn from."""
        if self.loss == "cross-entropy":
            return len(outcome)
        _, code = np.unique(group, return_inverse=True)
        won = np.bincount(code, weights=outcome > 0)
        return int((won * (np.bincount(code) - won)).sum())


def rollout_loss(total: Tensor, outcome: Tensor, group: Tensor, *, kind: Loss, beta: float) -> Tensor:
    """The loss of some rollouts as a tensor; equals `implicit.preference` or `implicit.cross_entropy`.

    Args:
        total: float[k], Q. outcome: float[k]. group: int64[k].
        kind: "preference" or "cross-entropy".
        beta: temperature.
    """
    softplus = torch_package().nn.functional.softplus
    if kind == "cross-entropy":
        losses: Tensor = outcome * softplus(-beta * total) + (1.0 - outcome) * softplus(beta * total)
        return losses.mean()
    won = outcome > 0
    pairs = (group[:, None] == group[None, :]) & won[:, None] & ~won[None, :]
    gaps = (total[:, None] - total[None, :])[pairs]
    loss: Tensor = softplus(-beta * gaps).mean()
    return loss


def _log_probs(scorer: Scorer, plan: Plan) -> Float:
    """float64[count]: of every distinct pair, without gradients."""
    found = np.zeros(plan.count)
    with torch_package().no_grad():
        for part in plan.parts:
            entries, logprob = scorer.score(part)
            found[entries] = logprob.double().cpu().numpy()
    return found


_SETTINGS = ("loss", "reference", "total", "beta", "lr", "weight_decay", "max_grad_norm", "minibatches", "seed")
