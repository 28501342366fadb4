"""ONI's three intrinsic reward models, fed by labels that a language model gave (arXiv 2410.23022).

    retrieval        the label stored for the message, 0 for one never seen
    classification   1 where P(label = 1) > 0.5, else 0
    ranking          Bradley-Terry score of the message, standardised over all it has scored so far; 0 below a threshold

All three read *messages*: what the environment said, a text, or an array of features. The reward of a step is
c_ext r_ext + c_llm r_llm / N(message)^beta; the division is the term ``intrinsic`` (`agentgym.rewards.terms`), the sum
the recipe's. Labels come from an `Annotator` while the run goes on: `fit` may be called again and again with more.

Departures: the released models read messages with a recurrent network over characters; here words are hashed
(`agentgym.rewards.models.inputs`) and a small network follows. The threshold of the ranking is in standard deviations
above the mean.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from agentgym.rewards.credit.checks import LARGEST, Float, Int, finite, number
from agentgym.rewards.models.inputs import check_texts, hashed_words
from agentgym.rewards.models.network import Network, torch_package
from agentgym.rewards.models.store import read_model, write_model

__all__ = ["MODELS", "IntrinsicModel", "MessageClassifier", "MessageRanking", "MessageRetrieval", "pairs_of_labels"]

Messages = Sequence[str] | npt.NDArray[Any]
"""n texts, or float[n, d]: features of n messages."""


class IntrinsicModel(Protocol):
    """What the three have in common."""

    def rewards(self, messages: Messages) -> Float:
        """float64[n]: the intrinsic reward of every message, before it is divided by how often it came."""

    def save(self, path: str | Path) -> None:
        """Write it to a file."""

    def state_dict(self) -> dict[str, Any]:
        """Everything, so that training goes on as if it had never stopped."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""


class MessageRetrieval:
    """The stored label of a message; 0 for messages that were never labelled. Needs NumPy alone."""

    def __init__(self) -> None:
        self._labels: dict[str, float] = {}

    def fit(self, messages: Messages, labels: npt.ArrayLike) -> MessageRetrieval:
        """Store labels; a message given again takes the newer one.

        Args:
            messages: n texts, or float[n, d].
            labels: float[n] in [0, 1].

        Raises:
            ValueError: lengths differ; a label is no number in [0, 1]; a message is neither text nor numbers.
        """
        keys = _keys(messages)
        self._labels.update(zip(keys, _labels(labels, len(keys)).tolist(), strict=True))
        return self

    def rewards(self, messages: Messages) -> Float:
        """float64[n]: the labels.

        Raises:
            ValueError: nothing has been stored yet.
        """
        if not self._labels:
            raise ValueError(_UNFITTED.format("MessageRetrieval"))
        return np.array([self._labels.get(k, 0.0) for k in _keys(messages)], dtype=np.float64)

    def __len__(self) -> int:
        return len(self._labels)

    def save(self, path: str | Path) -> None:
        """Write it to a file."""
        write_model(path, "MessageRetrieval", {"labels": self._labels}, {})

    @classmethod
    def load(cls, path: str | Path) -> MessageRetrieval:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        made = cls()
        made._labels = dict(read_model(path, "MessageRetrieval")[0]["labels"])
        return made

    def state_dict(self) -> dict[str, Any]:
        """The labels."""
        return {"labels": dict(self._labels)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self._labels = dict(state["labels"])


@dataclass
class _Settings:
    widths: tuple[int, ...]
    lr: float
    weight_decay: float
    buckets: int
    seed: int


class _Learned:
    """A network over messages: what classification and ranking share."""

    def __init__(self, settings: _Settings) -> None:
        self._settings = settings
        self._network: Network | None = None
        self._width = 0
        self._epochs = 0

    def _features(self, messages: Messages) -> Float:
        if isinstance(messages, np.ndarray) and messages.dtype.kind not in "UO":
            if messages.ndim != 2:
                raise ValueError(f"'messages' must be texts or float[n, features], got shape {messages.shape}")
            return finite("messages", messages, messages.shape)
        texts = _texts(messages)
        return hashed_words(texts, self._settings.buckets)

    def _start(self, features: Float) -> Network:
        if self._network is None:
            self._width = features.shape[1]
            self._network = self._new()
        self._check(features)
        return self._network

    def _check(self, features: Float) -> None:
        if features.shape[1] != self._width:
            raise ValueError(
                f"'messages' must have {self._width} features, as when {type(self).__name__} was first fitted, "
                f"got {features.shape[1]}"
            )

    def _new(self) -> Network:
        s = self._settings
        return Network(self._width, s.widths, lr=s.lr, weight_decay=s.weight_decay, seed=s.seed)

    def _scores(self, messages: Messages) -> Float:
        if self._network is None:
            raise ValueError(_UNFITTED.format(type(self).__name__))
        features = self._features(messages)
        self._check(features)
        return self._network.values(features) if len(features) else np.zeros(0)

    def _orders(self, n: int, epochs: int, batch: int) -> list[Int]:
        number("epochs", epochs, 1)
        number("batch", batch, 1)
        if not n:
            raise ValueError(
                f"{type(self).__name__}.fit needs at least one label; wait for the annotator's first batch"
            )
        parts = []
        for _ in range(epochs):
            order = np.random.default_rng([self._settings.seed, self._epochs]).permutation(n)
            parts += [order[k : k + batch] for k in range(0, n, batch)]
            self._epochs += 1
        return parts

    def _values(self) -> dict[str, Any]:
        s = self._settings
        return {
            "widths": list(s.widths),
            "lr": s.lr,
            "weight_decay": s.weight_decay,
            "buckets": s.buckets,
            "seed": s.seed,
            "width": self._width,
            "epochs": self._epochs,
        }

    def _write(self, path: str | Path, **values: Any) -> None:
        if self._network is None:
            raise ValueError(_UNFITTED.format(type(self).__name__))
        write_model(path, type(self).__name__, self._values() | values, self._network.arrays())

    def _restore(self, values: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        self._width, self._epochs = values["width"], values["epochs"]
        self._network = self._new()
        self._network.load_arrays(arrays)

    def state_dict(self) -> dict[str, Any]:
        """Weights, the optimiser's moments and counters."""
        if self._network is None:
            return {}
        return {"width": self._width, "epochs": self._epochs, "network": self._network.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        if state:
            self._width, self._epochs = state["width"], state["epochs"]
            self._network = self._new()
            self._network.load_state_dict(state["network"])


class MessageClassifier(_Learned):
    """1 where the probability of label 1 is above the threshold; needs torch.

    Args:
        threshold: in [0, 1).
        widths: of the hidden layers.
        lr, weight_decay: of AdamW.
        buckets: features of a text.
        seed: of weights and batches.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        widths: Sequence[int] = (64,),
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        buckets: int = 512,
        seed: int = 0,
    ) -> None:
        number("threshold", threshold, 0.0, 1.0, open_high=True)
        super().__init__(_Settings(tuple(widths), lr, weight_decay, buckets, seed))
        self.threshold = threshold

    def fit(self, messages: Messages, labels: npt.ArrayLike, *, epochs: int = 30, batch: int = 64) -> MessageClassifier:
        """Binary cross-entropy against the labels; called again it goes on.

        Args:
            messages: n texts, or float[n, d].
            labels: float[n] in [0, 1].
            epochs: passes over the messages. batch: messages in one step of the optimiser.

        Raises:
            ValueError: no labels; lengths differ; a label is no number in [0, 1]; messages of another kind.
        """
        x = self._features(messages)
        y = _labels(labels, len(x))
        torch = torch_package()
        parts = self._orders(len(x), epochs, batch)
        network = self._start(x)
        for part in parts:
            target = torch.from_numpy(y[part]).float()
            network.descend(torch.nn.functional.binary_cross_entropy_with_logits(network(x[part]), target))
        return self

    def probabilities(self, messages: Messages) -> Float:
        """float64[n]: P(label = 1).

        Raises:
            ValueError: not fitted; messages of another kind than it was fitted on.
        """
        return np.exp(-np.logaddexp(0.0, -self._scores(messages)))

    def rewards(self, messages: Messages) -> Float:
        """float64[n]: 1 where the probability is above the threshold, else 0; errors as `probabilities`."""
        return (self.probabilities(messages) > self.threshold).astype(np.float64)

    def save(self, path: str | Path) -> None:
        """Write it to a file (without the optimiser's moments)."""
        self._write(path, threshold=self.threshold)

    @classmethod
    def load(cls, path: str | Path) -> MessageClassifier:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path, cls.__name__)
        made = cls(threshold=values["threshold"], **{k: values[k] for k in _OPTIONS})
        made._restore(values, arrays)
        return made


class MessageRanking(_Learned):
    """The Bradley-Terry score of a message, standardised as it goes, 0 below a threshold; needs torch.

    Args:
        threshold: in standard deviations above the mean of all scores so far.
        widths: of the hidden layers.
        lr, weight_decay: of AdamW.
        buckets: features of a text.
        seed: of weights and batches.

    Attributes:
        count, mean, variance: of all scores that `rewards` has given so far.
    """

    def __init__(
        self,
        *,
        threshold: float = 0.0,
        widths: Sequence[int] = (64,),
        lr: float = 1e-2,
        weight_decay: float = 1e-2,
        buckets: int = 512,
        seed: int = 0,
    ) -> None:
        number("threshold", threshold, -LARGEST)
        super().__init__(_Settings(tuple(widths), lr, weight_decay, buckets, seed))
        self.threshold = threshold
        self.count, self.mean, self.variance = 0, 0.0, 0.0

    def fit(
        self,
        first: Messages,
        second: Messages,
        preference: npt.ArrayLike,
        *,
        epochs: int = 30,
        batch: int = 64,
    ) -> MessageRanking:
        """Bradley-Terry: cross-entropy of sigmoid(score of first - score of second); called again it goes on.

        Args:
            first, second: n messages each.
            preference: float[n] in [0, 1]: 1 prefers the first, 0 the second, 0.5 neither.
            epochs: passes over the pairs. batch: pairs in one step of the optimiser.

        Raises:
            ValueError: no pairs; lengths differ; a preference is no number in [0, 1]; messages of another kind.
        """
        a, b = self._features(first), self._features(second)
        if a.shape != b.shape:
            raise ValueError(f"'first' and 'second' must be as many messages of one kind, got {a.shape}, {b.shape}")
        y = _labels(preference, len(a), "preference")
        torch = torch_package()
        parts = self._orders(len(a), epochs, batch)
        network = self._start(a)
        for part in parts:
            gap = network(a[part]) - network(b[part])
            target = torch.from_numpy(y[part]).float()
            network.descend(torch.nn.functional.binary_cross_entropy_with_logits(gap, target))
        return self

    def scores(self, messages: Messages) -> Float:
        """float64[n]: the raw scores; they leave the running statistics alone.

        Raises:
            ValueError: not fitted; messages of another kind than it was fitted on.
        """
        return self._scores(messages)

    def rewards(self, messages: Messages, *, update: bool = True) -> Float:
        """float64[n]: standardised scores, 0 where they are below the threshold.

        Args:
            messages: n texts, or float[n, d].
            update: take these scores into the running mean and variance first.

        Raises:
            ValueError: as `scores`; ``update=False`` before any scores were taken in.
        """
        s = self._scores(messages)
        if update and len(s):
            total = self.count + len(s)
            gap = float(s.mean()) - self.mean
            # two samples' moments joined exactly (Chan et al. 1979)
            spread = self.count * self.variance + len(s) * float(s.var()) + gap**2 * self.count * len(s) / total
            self.mean, self.variance, self.count = self.mean + gap * len(s) / total, spread / total, total
        if not self.count and len(s):
            raise ValueError(
                "no scores have been taken into the running statistics yet; call rewards(..., update=True)"
            )
        z = (s - self.mean) / np.sqrt(self.variance) if self.variance > 0.0 else np.zeros(len(s))
        return np.where(z >= self.threshold, z, 0.0)

    def save(self, path: str | Path) -> None:
        """Write it to a file (without the optimiser's moments)."""
        self._write(path, threshold=self.threshold, statistics=[self.count, self.mean, self.variance])

    @classmethod
    def load(cls, path: str | Path) -> MessageRanking:
        """What `save` wrote.

        Raises:
            ModelFolderError: the file is missing, damaged, or holds another model.
        """
        values, arrays = read_model(path, cls.__name__)
        made = cls(threshold=values["threshold"], **{k: values[k] for k in _OPTIONS})
        made._restore(values, arrays)
        made.count, made.mean, made.variance = values["statistics"]
        return made

    def state_dict(self) -> dict[str, Any]:
        """Weights, the optimiser's moments, counters and statistics."""
        return super().state_dict() | {"statistics": [self.count, self.mean, self.variance]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of `state_dict`."""
        self.count, self.mean, self.variance = state["statistics"]
        super().load_state_dict({k: v for k, v in state.items() if k != "statistics"})


MODELS: dict[Literal["retrieval", "classification", "ranking"], type[Any]] = {
    "retrieval": MessageRetrieval,
    "classification": MessageClassifier,
    "ranking": MessageRanking,
}
"""The three by ONI's names."""


def pairs_of_labels(labels: npt.ArrayLike, count: int, rng: np.random.Generator) -> tuple[Int, Int, Float]:
    """Pairs for the ranking from labels: indices int64[count] twice and preferences float64[count].

    Of two messages the one with the larger label is preferred; equal labels prefer neither.

    Args:
        labels: float[n] in [0, 1], n at least 2.
        count: pairs, drawn with replacement.
        rng: draws them.

    Raises:
        ValueError: fewer than two labels, or one is no number in [0, 1].
    """
    y = _labels(labels, len(np.asarray(labels)))
    if len(y) < 2:
        raise ValueError(f"a pair needs two labelled messages, got {len(y)}; wait for the annotator's first batch")
    first = rng.integers(len(y), size=count)
    second = (first + rng.integers(1, len(y), size=count)) % len(y)
    return first, second, 0.5 * (1.0 + np.sign(y[first] - y[second]))


_OPTIONS = ("widths", "lr", "weight_decay", "buckets", "seed")
_UNFITTED = "this {} is not fitted; give it labels by fit(...) or load(path) first"


def _texts(messages: Messages) -> list[str]:
    values = np.array(list(messages), dtype=object)
    if len(values):
        check_texts("messages", values)
    return [str(v) for v in values.tolist()]


def _keys(messages: Messages) -> list[str]:
    """What a message is known by: the text itself, or the bytes of its features."""
    if isinstance(messages, np.ndarray) and messages.dtype.kind not in "UO":
        return [row.tobytes().hex() for row in finite("messages", messages, messages.shape)]
    return _texts(messages)


def _labels(labels: npt.ArrayLike, n: int, name: str = "labels") -> Float:
    values = finite(name, labels, (n,))
    bad = np.flatnonzero((values < 0.0) | (values > 1.0))
    if bad.size:
        raise ValueError(f"{name!r} must lie in [0, 1], row {bad[0]} is {values[bad[0]]}; scale or drop it")
    return values
