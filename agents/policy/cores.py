"""Ways to run a causal language model over rows of tokens, and which of them a model can have (`core_for`).

All answer with *features*, one line for each asked position, which `logits` turns into float32 logits. `CachedCore`
keeps keys and values between calls; `FullCore` runs whole sequences and works with every causal model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from agentgym.agents.policy.cached import CachedCore
from agentgym.agents.policy.passes import ModelPasses, Passes, parts
from agentgym.agents.policy.stock import StockPasses
from agentgym.agents.policy.tree import Tree, tree

__all__ = ["Core", "FullCore", "core_for"]

_LEAST = 256  # tokens that keep a processor busy
_LIMIT = 2048  # tokens of whole sequences in one pass: their logits are all computed


class Core(Protocol):
    """What the engine needs of a model.

    Attributes:
        way: its name, see `Engine.way`.
        fed: tokens that went through the model so far.
    """

    way: str
    fed: int

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        """Start a batch; return the features [n, F] of the last prompt token of every row."""
        ...

    def advance(self, tokens: Sequence[int], alive: Sequence[int]) -> torch.Tensor:
        """Append one token to each of the rows ``alive`` (indices into the batch); return [alive, F]."""
        ...

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        """For every row the features [1 + nodes, F] of its last prompt token and of its tree's nodes."""
        ...

    def read(self, rows: Sequence[int], prompts: Sequence[list[int]], first: Sequence[int]) -> list[torch.Tensor]:
        """For every row the features [tokens, F] of its prompt from token number ``first`` on."""
        ...

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        """float32[n, vocabulary]."""
        ...

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        """The last hidden states [n, hidden size] (before the head) of the features."""
        ...

    def batches(self, lengths: Sequence[int], room: int) -> Iterator[list[int]]:
        """Split a batch, by index, into parts that fit the memory."""
        ...

    def drop(self, row: int) -> None:
        """Forget a row."""
        ...

    def clear(self) -> None:
        """Forget all rows."""
        ...


class FullCore:
    """Runs whole sequences, right-padded, and keeps nothing: slow, and right for every causal model."""

    way = "whole"

    def __init__(self, model: Any) -> None:
        self.model = model
        self.device: torch.device = next(model.parameters()).device
        self.hidden_size = int(model.config.get_text_config().hidden_size)
        self.fed = 0
        self._rows: list[list[int]] = []

    def open(self, rows: Sequence[int], prompts: Sequence[list[int]], room: int) -> torch.Tensor:
        self._rows = [list(prompt) for prompt in prompts]
        return torch.cat(self._run(self._rows))

    def advance(self, tokens: Sequence[int], alive: Sequence[int]) -> torch.Tensor:
        for i, token in zip(alive, tokens, strict=True):
            self._rows[i].append(token)
        return torch.cat(self._run([self._rows[i] for i in alive]))

    def trees(self, rows: Sequence[int], prompts: Sequence[list[int]], trees: Sequence[Tree]) -> list[torch.Tensor]:
        sequences = list(map(list, prompts))
        for prompt, nodes in zip(prompts, trees, strict=True):
            sequences += [prompt + [nodes.tokens[a] for a in np.flatnonzero(line)] for line in nodes.visible]
        features = self._run(sequences)
        result, at = [], len(prompts)
        for i, nodes in enumerate(trees):
            result.append(torch.cat([features[i], *features[at : at + len(nodes.tokens)]]))
            at += len(nodes.tokens)
        return result

    def read(self, rows: Sequence[int], prompts: Sequence[list[int]], first: Sequence[int]) -> list[torch.Tensor]:
        return self._run(list(map(list, prompts)), first)

    def logits(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, self.hidden_size :]

    def hidden(self, features: torch.Tensor) -> torch.Tensor:
        return features[:, : self.hidden_size]

    def batches(self, lengths: Sequence[int], room: int) -> Iterator[list[int]]:
        yield list(range(len(lengths)))

    def drop(self, row: int) -> None:
        """Nothing is kept."""

    def clear(self) -> None:
        """Nothing is kept."""

    def _run(self, sequences: Sequence[list[int]], first: Sequence[int] | None = None) -> list[torch.Tensor]:
        """Features of every sequence from position ``first`` on, by default of the last one alone: hidden state and
        logits, float32, side by side."""
        features: list[torch.Tensor] = [torch.empty(0)] * len(sequences)
        for part in parts([len(s) for s in sequences], _LEAST, _LIMIT):
            size = max(len(sequences[i]) for i in part)
            tokens = torch.zeros(len(part), size, dtype=torch.int64)
            real = torch.zeros(len(part), size, dtype=torch.int64)
            for line, i in enumerate(part):
                tokens[line, : len(sequences[i])] = torch.tensor(sequences[i])
                real[line, : len(sequences[i])] = 1
            out = self.model(
                input_ids=tokens.to(self.device), attention_mask=real.to(self.device), output_hidden_states=True
            )
            for line, i in enumerate(part):
                size = len(sequences[i])
                asked = slice(size - 1 if first is None else first[i], size)
                both = out.hidden_states[-1][line, asked].float(), out.logits[line, asked].float()
                features[i] = torch.cat(both, dim=-1)
            self.fed += sum(len(sequences[i]) for i in part)
        return features


def core_for(model: Any, max_tokens: int) -> Core:
    """The fastest core that gives this model's own logits: tried on a ragged batch with a tree, against whole runs."""
    full = FullCore(model)
    config = model.config.get_text_config()
    kinds: npt.NDArray[Any] = np.array(getattr(config, "layer_types", None) or ["full_attention"])
    windowed = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    if windowed or (kinds != "full_attention").any():
        return full  # a window longer than the probe would not show in it
    ways: tuple[type[Passes], ...] = StockPasses, ModelPasses
    for passes in ways:
        if _agrees(model, passes):
            return CachedCore(model, max_tokens, passes)
    return full


@torch.inference_mode()
def _agrees(model: Any, passes: type[Passes]) -> bool:
    vocabulary = int(model.config.get_text_config().vocab_size)
    prompts = [[i % vocabulary for i in range(1, 8)], [i % vocabulary for i in range(9, 12)]]
    nodes = [tree(((1, 2 % vocabulary, 0), (1, 3 % vocabulary, 0), (4 % vocabulary, 0)))] * 2
    try:
        cached = CachedCore(model, 1024, passes)
        got = [cached.logits(f) for f in cached.trees([0, 1], prompts, nodes)]
    except (AttributeError, IndexError, KeyError, NotImplementedError, RuntimeError, TypeError, ValueError):
        return False  # the model takes no prepared mask, positions or cache: that is the answer, not a fault
    full = FullCore(model)
    wanted = [full.logits(f) for f in full.trees([0, 1], prompts, nodes)]
    # Rounding, also in half precision, is far below what a wrong mask or position does to a model that uses them.
    tolerance = 1e-3 if next(model.parameters()).dtype == torch.float32 else 0.05
    return all(
        bool(((a - b).abs().max() <= tolerance * b.abs().max()).item()) for a, b in zip(got, wanted, strict=True)
    )
