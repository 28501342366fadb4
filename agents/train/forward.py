"""One forward pass over examples: log-probabilities, entropies and hidden states, with gradients."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from agentgym.agents.policy.pointing import Pointer
from agentgym.agents.train.examples import Example
from agentgym.errors import UsageError
from agentgym.tokens import TokenStep

__all__ = ["Forward", "choice_probabilities", "forward", "packs"]


_WORTH_SHARING = 8
"""A pass for fewer tokens than this costs more than it saves."""


@dataclass
class Forward:
    """What the model says about every action of some examples.

    Attributes:
        entries: the (example, entry of `Example.actions`) pairs in the order of ``logprob``.
        logprob: float32[n], one number per scored action and one per generated token, entry after entry.
        lengths: int64[len(entries)], how many numbers each entry has.
        entropy: float32[len(examples)], in nats: of the choice, or the mean over the generated tokens.
        hidden: float[len(examples), width] of every prefix's last token, when asked for.
    """

    entries: list[tuple[Example, list[Any]]]
    logprob: torch.Tensor
    lengths: torch.Tensor
    entropy: torch.Tensor
    hidden: torch.Tensor | None

    def old(self) -> torch.Tensor:
        """float32[n]: the log-probabilities at collection, in the units of ``logprob``."""
        parts = [np.array([e[0].sum()]) if x.candidates is not None else e[0] for x, e in self.entries]
        return torch.from_numpy(np.concatenate(parts)).to(self.logprob)

    def numbers(self) -> torch.Tensor:
        """float32[3, n]: positive and negative weighted advantages and the weight, spread over the tokens."""
        values = torch.tensor([e[1:] for _, e in self.entries], dtype=torch.float32, device=self.logprob.device)
        return values.repeat_interleave(self.lengths, dim=0).T


def forward(
    model: Any,
    examples: Sequence[Example],
    *,
    temperature: float = 1.0,
    hidden: bool = False,
    packed: bool = False,
    pointer: Pointer | None = None,
) -> Forward:
    """Run everything the examples need as one right-padded batch; a prefix common to all is computed once.

    Causal attention never looks ahead, so right padding needs no mask; logits are computed only from the first
    position that predicts an action token. Scored choices are a softmax over candidates of (sum of raw
    log-probabilities / temperature); generated tokens a softmax over the vocabulary of (logits / temperature).

    Args:
        packed: all actions behind one prefix share one row, as a tree whose branches do not see each other. The result
            is the same; only for models that take prepared masks (`packs`).
        pointer: candidates are scored where the prefix marks them (`PointingPolicy`), instead of being run behind it.
            The examples must then all have candidates, or none.
    """
    device = next(model.parameters()).device
    if pointer is not None and examples[0].candidates is not None:
        return _forward_of([_pointed(model, examples, pointer, temperature)], len(examples), None)
    packed = packed and not all(e.single for e in examples)
    sequences: list[npt.NDArray[np.int64]] = []
    first_row: list[int] = []
    for e in examples:
        first_row.append(len(sequences))
        if e.single:
            sequences.append(e.prefix)
        elif packed:
            sequences.append(np.concatenate((e.prefix, np.array(e.tree.tokens, dtype=np.int64))))
        else:
            sequences += [np.concatenate((e.prefix, np.array(s[:-1], dtype=np.int64))) for s in e.sequences]
    cache = DynamicCache(config=model.config)
    shared = _shared_prefix(sequences, least=min(len(e.prefix) for e in examples) - 1) if _plain(cache) else 0
    width = max(map(len, sequences)) - shared
    ids = np.zeros((len(sequences), width), dtype=np.int64)
    for row, s in enumerate(sequences):
        ids[row, : len(s) - shared] = s[shared:]
    offset = min(len(e.prefix) for e in examples) - 1
    keep: dict[str, Any] = {"logits_to_keep": width + shared - offset}
    if "logits_to_keep" not in inspect.signature(model.forward).parameters:
        keep, offset = {}, shared
    if packed:
        keep |= _tree_masks(examples, width, shared, model.dtype, device)
    past = _share(cache, model, sequences[0][:shared], len(sequences)) if shared else None
    out = model(
        input_ids=torch.from_numpy(ids).to(device),
        past_key_values=past,
        use_cache=past is not None,
        output_hidden_states=hidden,
        return_dict=True,
        **keep,
    )
    parts = [
        part
        for part in (
            _single(out.logits, examples, first_row, offset, temperature),
            _sequences(out.logits, examples, first_row, offset, temperature, packed),
        )
        if part is not None
    ]
    hiddens = None
    if hidden:
        ends = torch.tensor([len(e.prefix) - 1 - shared for e in examples], device=device)
        hiddens = out.hidden_states[-1][torch.tensor(first_row, device=device), ends]
    return _forward_of(parts, len(examples), hiddens)


@torch.no_grad()
def packs(model: Any) -> bool:
    """Whether `forward` may pack with this model: tried on ragged examples, against a row for each action."""
    if not _plain(DynamicCache(config=model.config)):
        return False  # a window longer than the probe would not show in it
    vocabulary = int(model.config.get_text_config().vocab_size)
    actions = [tuple(t % vocabulary for t in a) for a in ((1, 2, 0), (1, 3, 0), (4, 0))]
    examples = [
        Example(np.arange(n) % vocabulary, None, 1.0, {a: [np.zeros(len(a)), 0.0, 0.0, 0.0] for a in actions})
        for n in (7, 3)
    ]
    try:
        got = forward(model, examples, packed=True).logprob
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # the model takes no prepared mask or positions: that is the answer, not a fault
    wanted = forward(model, examples).logprob
    # rounding, also in half precision, is far below what a wrong mask or position does to a model that uses them
    tolerance = 1e-3 if model.dtype == torch.float32 else 0.05
    return bool(((got - wanted).abs().max() <= tolerance * wanted.abs().max()).item())


def _plain(cache: DynamicCache) -> bool:
    """Keys and values that rows can share: not those of sliding windows and recurrent layers."""
    return all(type(layer) is DynamicLayer for layer in cache.layers)


def _shared_prefix(sequences: Sequence[npt.NDArray[np.int64]], least: int) -> int:
    """Tokens that all sequences begin with (a goal, a system prompt), if enough to be worth a pass of their own."""
    if len(sequences) < 2:
        return 0
    shortest = min(least, min(map(len, sequences)) - 1)
    heads = np.stack([s[:shortest] for s in sequences])
    differs = np.flatnonzero((heads != heads[0]).any(axis=0))
    shared = int(differs[0]) if differs.size else shortest
    return shared if shared >= _WORTH_SHARING else 0


def _share(cache: DynamicCache, model: Any, prefix: npt.NDArray[np.int64], rows: int) -> DynamicCache:
    """Fill ``cache`` with the keys and values of a prefix, computed once with their gradients, seen by every row."""
    device = next(model.parameters()).device
    model(input_ids=torch.from_numpy(prefix[None]).to(device), past_key_values=cache, use_cache=True)
    for layer in cache.layers:
        assert isinstance(layer, DynamicLayer)
        assert layer.keys is not None
        assert layer.values is not None
        layer.keys = layer.keys.expand(rows, -1, -1, -1)
        layer.values = layer.values.expand(rows, -1, -1, -1)
    return cache


def _tree_masks(
    examples: Sequence[Example], width: int, shared: int, dtype: torch.dtype, device: torch.device
) -> dict[str, torch.Tensor]:
    """What tells the model that a row's actions are alternatives: who sees whom, and where everyone stands."""
    visible = np.broadcast_to(
        np.tri(width, shared + width, shared, dtype=np.bool_), (len(examples), width, shared + width)
    )
    visible = visible.copy()
    positions = np.tile(np.arange(shared, shared + width), (len(examples), 1))
    for row, e in enumerate(examples):
        if not e.single and e.tree.tokens:
            first = len(e.prefix) - shared
            last = first + len(e.tree.tokens)
            visible[row, first:last, shared + first : shared + last] = e.tree.visible
            positions[row, first:last] = len(e.prefix) + e.tree.depth
    mask = torch.zeros(visible.shape, dtype=dtype, device=device)
    mask.masked_fill_(~torch.from_numpy(visible).to(device), torch.finfo(dtype).min)
    return {"attention_mask": mask[:, None], "position_ids": torch.from_numpy(positions).to(device)}


_Part = tuple[list[tuple[Example, list[Any]]], torch.Tensor, list[int], list[int], torch.Tensor]
"""Entries, their log-probabilities, lengths; example numbers, their entropies."""


def _forward_of(parts: Sequence[_Part], count: int, hidden: torch.Tensor | None) -> Forward:
    """The parts of ``count`` examples as one."""
    device = parts[0][1].device
    entropy = torch.zeros(count, device=device)
    for _, _, _, where, values in parts:
        entropy = entropy.index_copy(0, torch.tensor(where, device=device), values)
    return Forward(
        entries=[entry for part in parts for entry in part[0]],
        logprob=torch.cat([part[1] for part in parts]),
        lengths=torch.tensor([n for part in parts for n in part[2]], device=device),
        entropy=entropy,
        hidden=hidden,
    )


def _pointed(model: Any, examples: Sequence[Example], pointer: Pointer, temperature: float) -> _Part:
    """Choices among candidates that are marked in the prefix: one row a prefix, and no logits but those asked for."""
    device = next(model.parameters()).device
    ids = np.zeros((len(examples), max(len(e.prefix) for e in examples)), dtype=np.int64)
    for line, e in zip(ids, examples, strict=True):
        line[: len(e.prefix)] = e.prefix
    hidden = model.model(input_ids=torch.from_numpy(ids).to(device), use_cache=False).last_hidden_state
    rows, columns = np.nonzero(ids == pointer.mark)
    sizes = np.bincount(rows, minlength=len(examples))
    wanted = [len(e.candidates or ()) for e in examples]
    if sizes.tolist() != wanted:
        raise UsageError("expected as many marks in every prefix as there are candidates")
    at = hidden[torch.from_numpy(rows).to(device), torch.from_numpy(columns).to(device)]
    scores = (at @ model.get_output_embeddings().weight[pointer.pick]).float()
    place = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    table = torch.full((len(examples), int(sizes.max())), -torch.inf, device=device)
    table = table.index_put((torch.from_numpy(rows).to(device), torch.from_numpy(place).to(device)), scores)
    table = torch.log_softmax(table / temperature, dim=-1)
    entries, index = [], []
    for k, e in enumerate(examples):
        order = {c: i for i, c in enumerate(e.candidates or ())}
        for action, entry in e.actions.items():
            entries.append((e, entry))
            index.append((k, order[action]))
    line, column = torch.tensor(index, device=device).T
    return entries, table[line, column], [1] * len(entries), list(range(len(examples))), _entropy(table)


def _single(
    logits: torch.Tensor, examples: Sequence[Example], first_row: list[int], offset: int, temperature: float
) -> _Part | None:
    """Choices among one-token candidates: one row of logits each."""
    where = [k for k, e in enumerate(examples) if e.single]
    if not where:
        return None
    device = logits.device
    sets = [[c[0] for c in examples[k].candidates or ()] for k in where]
    rows = torch.tensor([first_row[k] for k in where], device=device)
    positions = torch.tensor([len(examples[k].prefix) - 1 - offset for k in where], device=device)
    table = _choose(logits[rows, positions].float(), sets, temperature)
    entries, at = [], []
    for row, k in enumerate(where):
        order = {c: i for i, c in enumerate(sets[row])}
        for action, entry in examples[k].actions.items():
            entries.append((examples[k], entry))
            at.append((row, order[action[0]]))
    index = torch.tensor(at, device=device).T
    return entries, table[index[0], index[1]], [1] * len(entries), where, _entropy(table)


def _choose(logits: torch.Tensor, sets: list[list[int]], temperature: float) -> torch.Tensor:
    """float[len(sets), widest]: log-probabilities over each row's candidates, -inf beyond them."""
    widest = max(map(len, sets))
    ids = torch.tensor([s + s[:1] * (widest - len(s)) for s in sets], device=logits.device)
    beyond = torch.tensor([[k >= len(s) for k in range(widest)] for s in sets], device=logits.device)
    return torch.log_softmax(logits.gather(1, ids).masked_fill(beyond, -torch.inf) / temperature, dim=-1)


def _entropy(table: torch.Tensor) -> torch.Tensor:
    return -(table.exp() * table.masked_fill(table == -torch.inf, 0.0)).sum(-1)


def _sequences(
    logits: torch.Tensor,
    examples: Sequence[Example],
    first_row: list[int],
    offset: int,
    temperature: float,
    packed: bool,
) -> _Part | None:
    """Generated actions, and choices among candidates of several tokens: one row of logits per token."""
    where = [k for k, e in enumerate(examples) if not e.single]
    if not where:
        return None
    device = logits.device
    rows: list[int] = []
    positions: list[int] = []
    tokens: list[int] = []
    owner: list[int] = []
    scale: list[float] = []
    count = 0
    for k in where:
        e = examples[k]
        for i, sequence in enumerate(e.sequences):
            n, last = len(sequence), len(e.prefix) - 1 - offset
            rows += [first_row[k] + (0 if packed else i)] * n
            # feature 0 of a tree is the prefix's last token, feature 1 + j its node j
            positions += [last + e.tree.edges[j][0] for j in e.tree.paths[i]] if packed else range(last, last + n)
            tokens += sequence
            owner += [count] * n
            scale += [temperature if e.candidates is None else 1.0] * n
            count += 1
    picked = logits[torch.tensor(rows, device=device), torch.tensor(positions, device=device)].float()
    full = torch.log_softmax(picked / torch.tensor(scale, device=device)[:, None], dim=-1)
    each = full.gather(1, torch.tensor(tokens, device=device)[:, None]).squeeze(1)
    owners = torch.tensor(owner, device=device)
    sums = torch.zeros(count, device=device).index_add(0, owners, each)
    spread = -(full.exp() * full).sum(-1)
    ends = np.cumsum([len(s) for k in where for s in examples[k].sequences]).tolist()
    entries, pieces, lengths, entropies = [], [], [], []
    sequence_number = 0
    for k in where:
        e = examples[k]
        n = len(e.sequences)
        order = {s: i for i, s in enumerate(e.sequences)}
        begin = ends[sequence_number] - len(e.sequences[0])
        if e.candidates is not None:
            table = torch.log_softmax(sums[sequence_number : sequence_number + n] / temperature, dim=-1)
            entropies.append(-(table.exp() * table).sum())
        else:
            entropies.append(spread[begin : ends[sequence_number + n - 1]].mean())
        for action, entry in e.actions.items():
            i = order[action]
            entries.append((e, entry))
            if e.candidates is not None:
                pieces.append(table[i : i + 1])
                lengths.append(1)
            else:
                end = ends[sequence_number + i]
                pieces.append(each[end - len(action) : end])
                lengths.append(len(action))
        sequence_number += n
    return entries, torch.cat(pieces), lengths, where, torch.stack(entropies)


def choice_probabilities(
    model: Any, steps: Sequence[TokenStep], *, temperature: float = 1.0
) -> list[npt.NDArray[np.float64]]:
    """The model's probabilities now of each scored step's candidates: float64[c] each (no gradient)."""
    found = []
    with torch.no_grad():
        for s in steps:
            if s.candidates is None:
                raise ValueError(f"trajectory {s.trajectory}, t={s.t} was generated: it has no candidates")
            actions: dict[tuple[int, ...], list[Any]] = {c: [np.zeros(1), 0.0, 0.0, 0.0] for c in s.candidates}
            out = forward(model, [Example(s.prefix, s.candidates, 1.0, actions)], temperature=temperature)
            found.append(np.exp(out.logprob.double().cpu().numpy()))
    return found
