"""Texts that `gymnasium.vector.AsyncVectorEnv` can share.

With ``shared_memory=True``, its default, Gymnasium 1.4 reads shared texts once, when the vector is made, and shows
those first ones (blanks) for ever after: arrays are views into the memory, strings are not. `shareable` puts a `Text`
in their place that is read anew whenever the vector copies its observations. Nothing else about the space changes.
"""

from __future__ import annotations

import copy
import string
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector.utils.shared_memory import read_from_shared_memory

__all__ = ["AnyText", "SharedText", "shareable"]


class SharedText(spaces.Text):
    """`gymnasium.spaces.Text`, equal to one of the same arguments, and shared as it should be."""


def shareable(space: spaces.Space[Any]) -> spaces.Space[Any]:
    """The space with every `Text` in it, at any depth of `Dict` and `Tuple`, a `SharedText`; itself if it has none."""
    if type(space) is spaces.Text:
        text = copy.deepcopy(space)
        text.__class__ = SharedText
        return text
    if type(space) is spaces.Dict:
        named = {key: shareable(inner) for key, inner in space.spaces.items()}
        return spaces.Dict(list(named.items())) if any(named[k] is not v for k, v in space.items()) else space
    if type(space) is spaces.Tuple:
        inner = [shareable(each) for each in space.spaces]
        return spaces.Tuple(inner) if any(a is not b for a, b in zip(inner, space.spaces, strict=True)) else space
    return space


SAMPLE = 40
"""Longest sample of an `AnyText`, in characters."""


class _Unicode(Sequence[str]):
    """All characters, by their code points."""

    def __len__(self) -> int:
        return sys.maxunicode + 1

    def __getitem__(self, index: Any) -> Any:
        return chr(index)

    def __contains__(self, char: object) -> bool:
        return isinstance(char, str) and len(char) == 1


class AnyText(spaces.Text):
    """Any string up to a length: pages and files hold all of Unicode, which a Text space cannot list.

    Args:
        max_length: in characters.
    """

    def __init__(self, max_length: int) -> None:
        super().__init__(max_length, min_length=0, charset=string.ascii_letters + string.digits + " '(),.\"")

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        """A short string: the space itself reaches to what no one would send."""
        size = int(self.np_random.integers(SAMPLE))
        return "".join(self.np_random.choice(list(self.characters), size))

    def contains(self, x: Any) -> bool:
        """Whether ``x`` is a string that is not too long."""
        return isinstance(x, str) and len(x) <= self.max_length

    @property
    def character_set(self) -> Any:
        """All characters: what Gymnasium's asynchronous vectors write into shared memory."""
        return _Unicode()

    @property
    def character_list(self) -> Any:
        """All characters, by their code points."""
        return _Unicode()

    def character_index(self, char: str) -> np.int32:
        """The code point."""
        return np.int32(ord(char))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, AnyText) and self.max_length == other.max_length

    __hash__ = None  # type: ignore[assignment]  # like every Gymnasium space


class _Live:
    """The texts that the workers wrote last; a copy of it is a tuple of strings."""

    def __init__(self, space: SharedText, memory: Any, n: int) -> None:
        self._letters = np.array(space.character_list)
        self._codes = np.frombuffer(memory.get_obj(), dtype=np.int32).reshape((n, space.max_length))

    def read(self) -> tuple[str, ...]:
        """What is there now. A code beyond the alphabet fills the rest of a text."""
        return tuple("".join(self._letters[row[row < len(self._letters)]]) for row in self._codes)

    def __deepcopy__(self, memo: dict[int, Any]) -> tuple[str, ...]:
        return self.read()

    def __iter__(self) -> Iterator[str]:
        return iter(self.read())

    def __getitem__(self, k: int) -> str:
        return self.read()[k]

    def __len__(self) -> int:
        return len(self._codes)

    def __repr__(self) -> str:
        return repr(self.read())


read_from_shared_memory.register(SharedText)(_Live)
