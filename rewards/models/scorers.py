"""How likely a model finds every step's action: a causal language model on tokens, a small network on columns.

A scorer is the part of an implicit reward model that has weights. It finds the distinct (context, action) pairs of some
steps, so that what many rollouts have in common is computed once, and gives their log-probabilities part by part, with
gradients. An action that was *scored* has the probability of a softmax over its candidates, one that was *generated*
that of its tokens: always that of the distribution the policy drew from.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from agentgym.errors import ModelFolderError
from agentgym.rewards.credit.checks import Int, extra, number
from agentgym.rewards.models.inputs import Inputs, column_names
from agentgym.rewards.models.network import Network, torch_package
from agentgym.rewards.models.store import read_model, write_model
from agentgym.steps import StepTable
from agentgym.tokens import CandidateSet, TokenTable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["ColumnScorer", "Plan", "Scorer", "TokenScorer"]


@dataclass(frozen=True, eq=False)
class Plan:
    """The distinct (context, action) pairs of some steps.

    Attributes:
        entry: int64[n], the pair of every step.
        count: distinct pairs.
        parts: what `Scorer.score` takes, one after the other.
    """

    entry: Int
    count: int
    parts: Sequence[Any]


class Scorer(Protocol):
    """Weights that say how likely actions are."""

    def plan(self, steps: StepTable, tokens: TokenTable | None) -> Plan:
        """The distinct pairs of some steps."""

    def score(self, part: Any) -> tuple[Int, Tensor]:
        """Which pairs a part holds, and their log-probabilities (float, with gradients)."""

    def parameters(self) -> list[Any]:
        """What an optimiser may change."""

    def frozen(self) -> Scorer:
        """A copy that does not learn."""

    def state_dict(self) -> dict[str, Any]:
        """The weights."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""

    def save(self, path: Path) -> None:
        """Write it under ``path``."""


@dataclass(eq=False)
class _Context:
    """One prefix with what was scored or generated behind it."""

    prefix: Int
    candidates: CandidateSet | None
    actions: dict[tuple[int, ...], int]  # action tokens -> entry

    @property
    def single(self) -> bool:
        """Every candidate is one token: the logits behind the prefix say it all."""
        return self.candidates is not None and all(len(c) == 1 for c in self.candidates)

    @property
    def sequences(self) -> list[tuple[int, ...]]:
        return list(self.actions) if self.candidates is None else list(self.candidates)

    @property
    def size(self) -> tuple[int, int]:
        """Rows of a forward pass, and tokens of the longest."""
        if self.single:
            return 1, len(self.prefix)
        return len(self.sequences), len(self.prefix) + max(map(len, self.sequences)) - 1


class TokenScorer:
    """A Hugging Face causal language model over the steps' tokens; trained in place.

    Args:
        model: the model; give a copy of the policy's, never the policy's own.
        temperature: of the distribution the actions were drawn from.
        micro_tokens: tokens in one forward pass.
    """

    def __init__(self, model: Any, *, temperature: float = 1.0, micro_tokens: int = 16384) -> None:
        number("temperature", temperature, 0.0, open_low=True)
        number("micro_tokens", micro_tokens, 1)
        self.model, self.temperature, self.micro_tokens = model, temperature, micro_tokens

    def plan(self, steps: StepTable, tokens: TokenTable | None) -> Plan:
        """The distinct (prefix, candidates, action) of some steps.

        Raises:
            ValueError: no tokens, or a step has none, or tokens belong to no step.
        """
        if tokens is None:
            raise ValueError("a language model reads tokens: give the TokenTable that was collected with the steps")
        rows = {key: k for k, key in enumerate(zip(steps.trajectory.tolist(), steps.t.tolist(), strict=True))}
        entry = np.full(len(steps), -1, dtype=np.int64)
        contexts: dict[tuple[bytes, CandidateSet | None], _Context] = {}
        count = 0
        for s in tokens.steps():
            row = rows.get((s.trajectory, s.t))
            if row is None:
                raise ValueError(
                    f"step (trajectory={s.trajectory}, t={s.t}) has tokens but no row in the step table; "
                    "take tokens.only(steps.trajectory)"
                )
            context = contexts.setdefault((s.prefix.tobytes(), s.candidates), _Context(s.prefix, s.candidates, {}))
            action = tuple(s.action.tolist())
            if action not in context.actions:
                context.actions[action] = count
                count += 1
            entry[row] = context.actions[action]
        bare = np.flatnonzero(entry < 0)
        if bare.size:
            raise ValueError(
                f"step (trajectory={steps.trajectory[bare[0]]}, t={steps.t[bare[0]]}, row {bare[0]}) has no tokens; "
                "score only steps that a policy with tokens took"
            )
        return Plan(entry, count, self._parts(list(contexts.values())))

    def score(self, part: Any) -> tuple[Int, Tensor]:
        """Log-probabilities of one part's actions."""
        torch = torch_package()
        contexts: list[_Context] = part
        device = next(self.model.parameters()).device
        sequences: list[Int] = []
        for c in contexts:
            if c.single:
                sequences.append(c.prefix)
            else:
                sequences += [np.concatenate((c.prefix, np.array(s[:-1], dtype=np.int64))) for s in c.sequences]
        width = max(map(len, sequences))
        # causal attention never looks ahead, so right padding needs no mask
        ids = np.zeros((len(sequences), width), dtype=np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
        first = min(len(c.prefix) for c in contexts) - 1
        keep = {"logits_to_keep": width - first}
        if "logits_to_keep" not in inspect.signature(self.model.forward).parameters:
            keep, first = {}, 0
        logits = self.model(
            input_ids=torch.from_numpy(ids).to(device), use_cache=False, return_dict=True, **keep
        ).logits.float()
        rows = np.cumsum([0] + [c.size[0] for c in contexts])
        ends = [len(c.prefix) - 1 - first for c in contexts]
        entries: list[int] = []
        found: list[Any] = []
        single = [k for k, c in enumerate(contexts) if c.single]
        if single:
            sets = [[s[0] for s in contexts[k].sequences] for k in single]
            behind = logits[[int(rows[k]) for k in single], [ends[k] for k in single]]
            table, at = self._choices(behind, sets), []
            for row, k in enumerate(single):
                entries += contexts[k].actions.values()
                at += [(row, sets[row].index(action[0])) for action in contexts[k].actions]
            index = torch.tensor(at, device=device).T
            found.append(table[index[0], index[1]])
        for k, c in enumerate(contexts):
            if not c.single:
                spoken = self._spoken(logits[int(rows[k]) : int(rows[k + 1])], ends[k], c)
                place = {s: i for i, s in enumerate(c.sequences)}
                entries += c.actions.values()
                found.append(spoken[[place[action] for action in c.actions]])
        return np.array(entries, dtype=np.int64), torch.cat(found)

    def _choices(self, logits: Tensor, sets: list[list[int]]) -> Tensor:
        """float[len(sets), widest]: log-probabilities over each row's one-token candidates, -inf beyond them."""
        torch = torch_package()
        widest = max(map(len, sets))
        ids = torch.tensor([s + s[:1] * (widest - len(s)) for s in sets], device=logits.device)
        beyond = torch.tensor([[k >= len(s) for k in range(widest)] for s in sets], device=logits.device)
        masked = logits.gather(1, ids).masked_fill(beyond, -torch.inf)
        table: Tensor = torch.log_softmax(masked / self.temperature, dim=-1)
        return table

    def _spoken(self, logits: Tensor, end: int, context: _Context) -> Tensor:
        """float[sequences]: log-probabilities of what is several tokens long."""
        torch = torch_package()
        scale = 1.0 if context.candidates is not None else self.temperature
        totals = []
        for row, s in enumerate(context.sequences):
            each = torch.log_softmax(logits[row, end : end + len(s)] / scale, dim=-1)
            totals.append(each.gather(1, torch.tensor(s, device=logits.device)[:, None]).sum())
        said: Tensor = torch.stack(totals)
        return said if context.candidates is None else torch.log_softmax(said / self.temperature, dim=-1)

    def parameters(self) -> list[Any]:
        """The model's that require gradients."""
        return [p for p in self.model.parameters() if p.requires_grad]

    def frozen(self) -> TokenScorer:
        """The same with a copy of the weights as they are now."""
        model = copy.deepcopy(self.model)
        for parameter in model.parameters():
            parameter.requires_grad_(False)
        return TokenScorer(model.eval(), temperature=self.temperature, micro_tokens=self.micro_tokens)

    def state_dict(self) -> dict[str, Any]:
        """The weights."""
        return dict(self.model.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.model.load_state_dict(state)

    def save(self, path: Path) -> None:
        """A Hugging Face folder."""
        self.model.save_pretrained(path)

    @classmethod
    def load(cls, path: Path, *, temperature: float = 1.0, micro_tokens: int = 16384) -> TokenScorer:
        """From a Hugging Face folder; on the CPU.

        Raises:
            ModelFolderError: the folder holds no causal language model.
        """
        from transformers import AutoModelForCausalLM

        try:
            model: Any = AutoModelForCausalLM.from_pretrained(path)
        except (OSError, ValueError) as error:
            raise ModelFolderError(f"expected a saved causal language model in {path}: {error}") from error
        return cls(model.eval(), temperature=temperature, micro_tokens=micro_tokens)

    def _parts(self, contexts: list[_Context]) -> list[list[_Context]]:
        """Similar lengths together, at most `micro_tokens` padded tokens each (or one context)."""
        parts: list[list[_Context]] = []
        rows = 0
        for c in sorted(contexts, key=lambda c: c.size[1]):
            more, longest = c.size
            if not parts or (rows + more) * longest > self.micro_tokens:
                parts.append([])
                rows = 0
            parts[-1].append(c)
            rows += more
        return parts


class ColumnScorer:
    """A small network from columns of the step to a softmax over numbered actions; made by `fit_inputs`.

    Args:
        columns: columns of numbers or texts that describe the state the action was taken in.
        actions: how many actions there are.
        choice: extra column int[n] in [0, actions): the action taken.
        widths: of the hidden layers.
        buckets: features of a text column.
        seed: of the weights.
    """

    def __init__(
        self,
        columns: str | Sequence[str],
        actions: int,
        *,
        choice: str = "choice",
        widths: Sequence[int] = (64,),
        buckets: int = 256,
        seed: int = 0,
    ) -> None:
        number("actions", actions, 2)
        self.columns, self.actions, self.choice = column_names(columns), actions, choice
        self.widths, self.buckets, self.seed = tuple(widths), buckets, seed
        self._inputs: Inputs | None = None
        self._network: Network | None = None

    def fit_inputs(self, steps: StepTable) -> ColumnScorer:
        """Settle how columns are scaled, and make the weights; returns itself.

        Raises:
            ValueError: no steps; a column is missing, not finite, or neither numbers nor text.
        """
        self._inputs = Inputs.fit(steps, self.columns, _WHO, buckets=self.buckets)
        self._network = self._new()
        return self

    def plan(self, steps: StepTable, tokens: TokenTable | None) -> Plan:
        """Every step is a pair of its own; tokens are not read.

        Raises:
            ValueError: `fit_inputs` was not called; a column is missing or of another kind; an action out of range.
        """
        inputs, _ = self._made()
        chosen = extra(steps, self.choice, _WHO)
        if chosen.shape != (len(steps),) or chosen.dtype.kind not in "iu":
            raise ValueError(f"extra {self.choice!r} must be int[{len(steps)}], got {chosen.dtype}{chosen.shape}")
        bad = np.flatnonzero((chosen < 0) | (chosen >= self.actions))
        if bad.size:
            raise ValueError(
                f"extra {self.choice!r} must lie in [0, {self.actions}), row {bad[0]} is {chosen[bad[0]]}; "
                "number the actions from 0"
            )
        every = np.arange(len(steps))
        part = (every, inputs.matrix(steps, _WHO), chosen.astype(np.int64))
        return Plan(every, len(steps), [part] if len(steps) else [])

    def score(self, part: Any) -> tuple[Int, Tensor]:
        """Log-probabilities of the actions taken."""
        torch = torch_package()
        entries, x, chosen = part
        table = torch.log_softmax(self._made()[1](x), dim=-1)
        return entries, table.gather(1, torch.from_numpy(chosen)[:, None]).squeeze(1)

    def parameters(self) -> list[Any]:
        """The network's that require gradients."""
        return [p for p in self._made()[1].module.parameters() if p.requires_grad]

    def frozen(self) -> ColumnScorer:
        """The same with a copy of the weights as they are now."""
        made = copy.copy(self)
        made._network = self._new()
        made._network.load_arrays(self._made()[1].arrays())
        for parameter in made._network.module.parameters():
            parameter.requires_grad_(False)
        return made

    def state_dict(self) -> dict[str, Any]:
        """The weights."""
        return dict(self._made()[1].module.state_dict())

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._made()[1].module.load_state_dict(state)

    def save(self, path: Path) -> None:
        """One file, ``path``/network.npz."""
        inputs, network = self._made()
        path.mkdir(parents=True, exist_ok=True)
        values = {
            "inputs": inputs.to_json(),
            "actions": self.actions,
            "choice": self.choice,
            "widths": list(self.widths),
            "seed": self.seed,
        }
        write_model(path / "network.npz", "ColumnScorer", values, network.arrays())

    @classmethod
    def load(cls, path: Path) -> ColumnScorer:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path / "network.npz", "ColumnScorer")
        inputs = Inputs.from_json(values["inputs"])
        options = {k: values[k] for k in ("choice", "widths", "seed")}
        made = cls(inputs.columns, values["actions"], buckets=inputs.buckets, **options)
        made._inputs = inputs
        made._network = made._new()
        made._network.load_arrays(arrays)
        return made

    def _new(self) -> Network:
        assert self._inputs is not None
        return Network(self._inputs.width, self.widths, outputs=self.actions, seed=self.seed)

    def _made(self) -> tuple[Inputs, Network]:
        if self._inputs is None or self._network is None:
            raise ValueError("this ColumnScorer is not fitted; call fit_inputs(steps) or load(path) first")
        return self._inputs, self._network


_WHO = "an implicit reward model on columns"
